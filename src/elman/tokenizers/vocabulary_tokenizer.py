"""Tokenizers with a list of symbols: what is not in the list is unknown."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np

from elman.errors import UserError
from elman.log import Log, discard
from elman.tokenizers import stored
from elman.tokenizers.tokenizer import Tokenizer, Unknown, lowercase

SKIPPED = -2
MAX_SHOWN = 5  # unknown symbols in a message


class VocabularyTokenizer(Tokenizer):
    """Token i is the i-th symbol of the vocabulary."""

    def __init__(self, vocabulary: Sequence[str], lower: bool = False):
        self.vocabulary, self.lower = vocabulary, lower
        self._ids = {symbol: i for i, symbol in enumerate(vocabulary)}

    @staticmethod
    @abstractmethod
    def split(text: str) -> Sequence[str]:
        """A text as symbols that may be tokens; joined they are the text."""

    @staticmethod
    @abstractmethod
    def quote(symbol: str) -> str:
        """A symbol as it is shown in a message."""

    @abstractmethod
    def nearest(self, symbol: str, /) -> int:
        """The token that replaces an unknown symbol."""

    def __len__(self) -> int:
        return len(self.vocabulary)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "vocabulary": self.vocabulary} | ({"lower": True} if self.lower else {})

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Self:
        stored.check_fields(fields, ["vocabulary"], ["lower"])
        lower = stored.boolean(fields.get("lower", False), "lower")
        return cls(cls.stored_vocabulary(fields["vocabulary"]), lower)

    @classmethod
    def stored_vocabulary(cls, value: Any) -> Sequence[str]:
        """The stored vocabulary, checked."""
        return stored.symbols(value, "vocabulary")

    def encode(self, text: str, unknown: Unknown = "error", log: Log = discard) -> list[int]:
        [ids] = self._encode([self._split(text)], unknown, log)
        return ids

    def encode_all(self, texts: list[str], unknown: Unknown = "error", log: Log = discard) -> list[np.ndarray]:
        rows = [self._split(self.with_lead(text)) for text in texts]
        return [np.array(ids, np.int32) for ids in self._encode(rows, unknown, log, many=True)]

    def array(self, text: str, unknown: Unknown = "error", log: Log = discard) -> np.ndarray:
        return np.array(self.encode(text, unknown, log), np.int32)

    def decoder(self) -> Callable[[int], str]:
        return self.vocabulary.__getitem__

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.vocabulary[i] for i in ids)

    def substitutes(self, symbols: list[str], unknown: Unknown, log: Log, where: str = "") -> dict[str, int]:
        """The token that each unknown symbol is encoded as, or SKIPPED. Logs one line, or raises."""
        shown = ", ".join(map(self.quote, symbols[:MAX_SHOWN]))
        shown += (f" and {len(symbols) - MAX_SHOWN} more" if len(symbols) > MAX_SHOWN else "") + where
        if unknown == "error":
            raise UserError(
                f"not in the vocabulary of the model: {shown}; remove it, or pass `unknown` skip or replace"
            )
        log(f"{'skipped' if unknown == 'skip' else self._replaced()}: {shown}, not in the vocabulary of the model")
        return {symbol: SKIPPED if unknown == "skip" else self.nearest(symbol) for symbol in symbols}

    def _replaced(self) -> str:
        return "replaced" if self.unknown is None else f"replaced by {self.vocabulary[self.unknown]}"

    def _split(self, text: str) -> Sequence[str]:
        return self.split(lowercase(text) if self.lower else text)

    def _encode(self, rows: list[Sequence[str]], unknown: Unknown, log: Log, many: bool = False) -> list[list[int]]:
        ids, missing = self._ids, set[str]().union(*rows) - self._ids.keys()
        if missing:
            count = sum(not missing.isdisjoint(row) for row in rows)
            where = f", in {count:,} of {len(rows):,} texts" if many else ""
            ids = ids | self.substitutes(sorted(missing), unknown, log, where)
        return [[ids[symbol] for symbol in row if ids[symbol] != SKIPPED] for row in rows]
