"""Characters (Unicode code points) as tokens."""

import sys
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from elman.errors import UserError
from elman.log import Log, discard
from elman.tokenizers.tokenizer import Unknown, lowercase
from elman.tokenizers.vocabulary_tokenizer import SKIPPED, VocabularyTokenizer


class CharTokenizer(VocabularyTokenizer, kind="char"):
    """Token i is the i-th character of the vocabulary, a string of distinct characters."""

    unit: ClassVar[str] = "character"

    @classmethod
    def of_chunks(cls, chunks: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """All characters of the text, in the order of their code points."""
        cls.check(size, lower)
        present = np.zeros(sys.maxunicode + 1, bool)
        for text in chunks:
            present[_code_points(lowercase(text) if lower else text)] = True
        return cls("".join(map(chr, present.nonzero()[0])), lower)

    @classmethod
    def stored_vocabulary(cls, value: Any) -> str:
        if not isinstance(value, str) or len(set(value)) != len(value):
            raise UserError("vocabulary of a stored tokenizer of characters must be a string without repetition")
        return value

    @staticmethod
    def split(text: str) -> str:
        return text

    @staticmethod
    def quote(symbol: str) -> str:
        return f"{symbol!r} (U+{ord(symbol):04X})"

    def array(self, text: str, unknown: Unknown = "error", log: Log = discard) -> np.ndarray:
        points, table = _code_points(lowercase(text) if self.lower else text), self._table
        missing = np.unique(points[table[points] < 0])
        if len(missing):
            table = table.copy()
            for char, token in self.substitutes(list(map(chr, missing)), unknown, log).items():
                table[ord(char)] = token
        ids = table[points]
        return ids[ids != SKIPPED]

    def nearest(self, symbol: str, /) -> int:
        """The character without its accent, in the other case, or a space."""
        base = unicodedata.normalize("NFKD", symbol)[0]
        candidates = (base, symbol.swapcase(), base.swapcase(), "\ufffd", " ")
        return next((self._ids[near] for near in candidates if near in self._ids), 0)

    @cached_property
    def _table(self) -> np.ndarray:
        """The token of every code point; -1 where there is none."""
        table = np.full(sys.maxunicode + 1, -1, np.int32)
        table[[ord(char) for char in self.vocabulary]] = np.arange(len(self))
        return table


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
