"""Tokens: text as numbers and back."""

import codecs
import sys
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import numpy as np

from elman.errors import UserError

Unknown = Literal["error", "skip", "replace"]


class CharTokens:
    """Characters (Unicode code points): token i is the i-th character of the vocabulary."""

    kind: ClassVar[str] = "char"
    unit: ClassVar[str] = "character"

    def __init__(self, vocabulary: str):
        self.vocabulary = vocabulary
        self._ids = {char: i for i, char in enumerate(vocabulary)}

    def __len__(self) -> int:
        return len(self.vocabulary)

    @staticmethod
    def of(points: np.ndarray) -> "CharTokens":
        """The tokens of a text in which these code points stand, in their order."""
        return CharTokens("".join(map(chr, points)))

    @staticmethod
    def reads(encoding: str) -> str:
        """The encoding in which a file gives these tokens as code points."""
        return encoding

    def table(self) -> np.ndarray:
        """The token of every code point; -1 where there is none."""
        return _table(np.array([ord(char) for char in self.vocabulary]))

    def to_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"kind": self.kind, "vocabulary": self.vocabulary}

    def encode(
        self, text: str, unknown: Unknown = "error", tell: Callable[[str], None] = lambda line: None
    ) -> list[int]:
        """The tokens of a text. A character that training never saw is an error that names it, is left out (`skip`),
        or is put as the nearest known one (`replace`): without its accent, in the other case, a space. The last two
        are told in one line."""
        strange = sorted(set(text) - self._ids.keys())
        if strange and unknown == "error":
            raise UserError(f"the model never saw {_named(strange)}: take it out, or pass --unknown skip or replace")
        put = {char: "" if unknown == "skip" else self._nearest(char) for char in strange}
        if strange:
            tell(f"{'left out' if unknown == 'skip' else 'replaced'}: {_named(strange)}, which the model never saw")
        return [self._ids[char] for old in text for char in put.get(old, old)]

    def decoder(self) -> "Callable[[int], str]":
        """A function that turns one token after another into text."""
        return self.vocabulary.__getitem__

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens."""
        return "".join(self.vocabulary[i] for i in ids)

    def _nearest(self, char: str) -> str:
        bare = unicodedata.normalize("NFKD", char)[0]
        candidates = (bare, char.swapcase(), bare.swapcase(), "\ufffd", " ")
        return next((near for near in candidates if near in self._ids), self.vocabulary[0])


class ByteTokens:
    """Raw bytes: 256 tokens, so nothing is ever unknown."""

    kind: ClassVar[str] = "byte"
    unit: ClassVar[str] = "byte"

    def __len__(self) -> int:
        return 256

    @staticmethod
    def of(points: np.ndarray) -> "ByteTokens":
        """The same for every text."""
        return ByteTokens()

    @staticmethod
    def reads(encoding: str) -> str:
        """The encoding in which a file gives these tokens as code points: Latin-1 is the bytes themselves."""
        return "latin-1"

    def table(self) -> np.ndarray:
        """The token of every code point; -1 where there is none."""
        return _table(np.arange(256))

    def to_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"kind": self.kind}

    def encode(
        self, text: str, unknown: Unknown = "error", tell: Callable[[str], None] = lambda line: None
    ) -> list[int]:
        """The UTF-8 bytes of a text."""
        return list(text.encode("utf-8", "surrogateescape"))

    def decoder(self) -> "Callable[[int], str]":
        """A function that turns one token after another into text; a character comes out with its last byte."""
        partial = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: partial.decode(bytes([token]))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens."""
        return bytes(ids).decode("utf-8", "replace")


Tokens = CharTokens | ByteTokens
KINDS: dict[str, type[Tokens]] = {kind.kind: kind for kind in (CharTokens, ByteTokens)}


def from_config(config: dict[str, Any]) -> Tokens:
    """The tokens that a run was trained with."""
    return KINDS[config["kind"]](**{key: value for key, value in config.items() if key != "kind"})


def narrowest(vocabulary: int) -> np.dtype:
    """The smallest unsigned type that holds the tokens."""
    return np.min_scalar_type(max(vocabulary - 1, 0))


def _table(points: np.ndarray) -> np.ndarray:
    table = np.full(sys.maxunicode + 1, -1, np.int32)
    table[points] = np.arange(len(points))
    return table


def _named(chars: list[str]) -> str:
    shown = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in chars[:5])
    return shown + (f" and {len(chars) - 5} more" if len(chars) > 5 else "")
