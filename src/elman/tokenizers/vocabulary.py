"""A list of known symbols; number 0 stands for every other."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np


class Vocabulary:
    """Symbols, words or letters, by number: the first is 1, 0 is one that is not known."""

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        self._numbers = {symbol: number + 1 for number, symbol in enumerate(self.symbols)}

    @staticmethod
    def of(texts: Iterable[Iterable[str]], least: int) -> "Vocabulary":
        """What comes at least so often in some texts."""
        counts = Counter(symbol for text in texts for symbol in text)
        return Vocabulary(sorted(symbol for symbol, count in counts.items() if count >= least))

    def to_json(self) -> list[str]:
        """See `from_json`."""
        return self.symbols

    @staticmethod
    def from_json(value: object) -> "Vocabulary":
        """What `to_json` returned."""
        assert isinstance(value, list)
        return Vocabulary(value)

    def __len__(self) -> int:
        """The unknown one counted."""
        return len(self.symbols) + 1

    def numbers(self, text: Iterable[str]) -> np.ndarray:
        """The numbers (T,) of the symbols of a text."""
        return np.array([self._numbers.get(symbol, 0) for symbol in text], np.int64)
