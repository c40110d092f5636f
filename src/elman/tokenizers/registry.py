"""Tokenizer: text as numbers and back."""

import codecs
import sys
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np

from elman.options import PositiveInt
from elman.tokenizers.bpe import BPETokenizer
from elman.tokenizers.tokenizer import Log, Tokenizer, lowered
from elman.tokenizers.tokenizer import Unknown as Unknown
from elman.tokenizers.vocabulary_tokenizer import LEFT_OUT, VocabularyTokenizer
from elman.tokenizers.word import WordTokenizer

Unit = Literal["char", "byte", "word", "bpe"]


@dataclass(frozen=True)
class TokenizerOptions:
    """What a text is cut into. A task may have another default of its own."""

    tokens: Unit | None = None
    """What a token is: a character, a raw byte, a word, or a piece of a word that comes often (bpe). If not given what
    suits the task: words to classify, for captions and for questions, pieces to translate (characters where the
    targets have no spaces), else characters."""
    vocab_size: PositiveInt | None = None
    """How many words, or pieces, are tokens: the words that come twice, or 4,000 pieces, when not given."""
    lower: bool = False
    """Read and write in lower case."""


class CharTokenizer(VocabularyTokenizer):
    """Characters (Unicode code points): token i is the i-th character of the vocabulary."""

    kind: ClassVar[str] = "char"
    unit: ClassVar[str] = "character"

    @classmethod
    def of_parts(cls, parts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """All characters of the text, in the order of their code points."""
        cls.check(size, lower)
        seen = np.zeros(sys.maxunicode + 1, bool)
        for text in parts:
            points = _points(lowered(text) if lower else text)
            seen[points] = True
        return cls("".join(map(chr, seen.nonzero()[0])), lower)

    @staticmethod
    def pieces(text: str) -> str:
        return text

    @staticmethod
    def named(piece: str) -> str:
        return f"{piece!r} (U+{ord(piece):04X})"

    def array(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> np.ndarray:
        points, table = _points(lowered(text) if self.lower else text), self._table
        strange = np.unique(points[table[points] < 0])
        if len(strange):
            table = table.copy()
            for char, token in self.put(list(map(chr, strange)), unknown, log).items():
                table[ord(char)] = token
        ids = table[points]
        return ids[ids != LEFT_OUT]

    def nearest(self, char: str, /) -> int:
        """Without its accent, in the other case, a space."""
        bare = unicodedata.normalize("NFKD", char)[0]
        candidates = (bare, char.swapcase(), bare.swapcase(), "\ufffd", " ")
        return next((self._ids[near] for near in candidates if near in self._ids), 0)

    @cached_property
    def _table(self) -> np.ndarray:
        """The token of every code point; -1 where there is none."""
        table = np.full(sys.maxunicode + 1, -1, np.int32)
        table[[ord(char) for char in self.vocabulary]] = np.arange(len(self))
        return table


class ByteTokenizer(Tokenizer):
    """Raw bytes: 256 tokens, so nothing is ever unknown."""

    kind: ClassVar[str] = "byte"
    unit: ClassVar[str] = "byte"
    lowers: ClassVar[bool] = False

    @classmethod
    def of_parts(cls, parts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The same for all texts."""
        cls.check(size, lower)
        return cls()

    @staticmethod
    def reads(encoding: str) -> str:
        """Latin-1: its characters are the bytes themselves."""
        return "latin-1"

    def __len__(self) -> int:
        return 256

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def encode(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> list[int]:
        """The UTF-8 bytes of a text."""
        return list(text.encode("utf-8", "surrogateescape"))

    def encode_all(
        self, texts: list[str], unknown: Unknown = "error", log: Log = lambda line: None
    ) -> list[np.ndarray]:
        return [np.array(self.encode(text), np.int32) for text in texts]

    def array(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> np.ndarray:
        return np.frombuffer(text.encode("latin-1"), np.uint8).astype(np.int32)

    def decoder(self) -> Callable[[int], str]:
        """A function that turns one token after another into text; a character comes out with its last byte."""
        partial = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: partial.decode(bytes([token]))

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")


KINDS: dict[str, type[Tokenizer]] = {
    kind.kind: kind for kind in (CharTokenizer, ByteTokenizer, WordTokenizer, BPETokenizer)
}


def from_json(config: dict[str, Any]) -> Tokenizer:
    """The tokens that a run was trained with."""
    return KINDS[config["kind"]](**{key: value for key, value in config.items() if key != "kind"})


def narrowest(vocabulary: int) -> np.dtype:
    """The smallest unsigned type that holds the tokens."""
    return np.min_scalar_type(max(vocabulary - 1, 0))


def _points(text: str) -> np.ndarray:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
