"""Tokenizer that are a list of pieces, so that what is not in the list is unknown."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from elman.errors import UserError
from elman.tokenizers.tokenizer import Log, Tokenizer, Unknown, lowered

LEFT_OUT = -2
NAMED = 5  # unknown pieces in a message


class VocabularyTokenizer(Tokenizer):
    """Token i is the i-th piece of the vocabulary."""

    def __init__(self, vocabulary: Sequence[str], lower: bool = False):
        self.vocabulary, self.lower = vocabulary, lower
        self._ids = {piece: i for i, piece in enumerate(vocabulary)}

    @staticmethod
    @abstractmethod
    def pieces(text: str) -> Sequence[str]:
        """A text as the pieces that may be tokens; put together they are the text."""

    @staticmethod
    @abstractmethod
    def named(piece: str) -> str:
        """A piece, for a message."""

    @abstractmethod
    def nearest(self, piece: str, /) -> int:
        """The token that replaces an unknown piece."""

    def __len__(self) -> int:
        return len(self.vocabulary)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "vocabulary": self.vocabulary} | ({"lower": True} if self.lower else {})

    def encode(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> list[int]:
        [ids] = self._encoded([self._split(text)], unknown, log)
        return ids

    def encode_all(
        self, texts: list[str], unknown: Unknown = "error", log: Log = lambda line: None
    ) -> list[np.ndarray]:
        rows = [self._split(self.alone(text)) for text in texts]
        return [np.array(ids, np.int32) for ids in self._encoded(rows, unknown, log, many=True)]

    def array(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> np.ndarray:
        return np.array(self.encode(text, unknown, log), np.int32)

    def decoder(self) -> Callable[[int], str]:
        return self.vocabulary.__getitem__

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.vocabulary[i] for i in ids)

    def put(self, strange: list[str], unknown: Unknown, log: Log, where: str = "") -> dict[str, int]:
        """What is put for each unknown piece, a token or LEFT_OUT; told in a line, or raised."""
        shown = ", ".join(map(self.named, strange[:NAMED]))
        shown += (f" and {len(strange) - NAMED} more" if len(strange) > NAMED else "") + where
        if unknown == "error":
            raise UserError(f"the model never saw {shown}: take it out, or pass --unknown skip or replace")
        log(f"{'left out' if unknown == 'skip' else self._replaced()}: {shown}, which the model never saw")
        return {piece: LEFT_OUT if unknown == "skip" else self.nearest(piece) for piece in strange}

    def _replaced(self) -> str:
        return "replaced" if self.unknown is None else f"replaced by {self.vocabulary[self.unknown]}"

    def _split(self, text: str) -> Sequence[str]:
        return self.pieces(lowered(text) if self.lower else text)

    def _encoded(self, rows: list[Sequence[str]], unknown: Unknown, log: Log, many: bool = False) -> list[list[int]]:
        ids, strange = self._ids, set[str]().union(*rows) - self._ids.keys()
        if strange:
            count = sum(not strange.isdisjoint(row) for row in rows)
            where = f", in {count:,} of {len(rows):,} texts" if many else ""
            ids = ids | self.put(sorted(strange), unknown, log, where)
        return [[ids[piece] for piece in row if ids[piece] != LEFT_OUT] for row in rows]
