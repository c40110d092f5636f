"""A list of known symbols; index 0 stands for every other."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from elman.tokenizers import stored


class Vocabulary:
    """Symbols (words, characters) by index: the first is 1, and 0 is an unknown symbol."""

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        self._indices = {symbol: index + 1 for index, symbol in enumerate(self.symbols)}

    @staticmethod
    def of(texts: Iterable[Iterable[str]], min_count: int) -> "Vocabulary":
        """The symbols that occur at least `min_count` times."""
        counts = Counter(symbol for text in texts for symbol in text)
        return Vocabulary(sorted(symbol for symbol, count in counts.items() if count >= min_count))

    def to_json(self) -> list[str]:
        """The symbols."""
        return self.symbols

    @classmethod
    def from_json(cls, value: Any) -> "Vocabulary":
        """The vocabulary that `to_json` stored. UserError for any other value."""
        return cls(stored.symbols(value, "the vocabulary"))

    def __len__(self) -> int:
        """The number of symbols, the unknown one included."""
        return len(self.symbols) + 1

    def indices(self, text: Iterable[str]) -> np.ndarray:
        """The indices (T,) int64 of the symbols of a text."""
        return np.array([self._indices.get(symbol, 0) for symbol in text], np.int64)
