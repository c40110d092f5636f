"""Labels as class indices."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from elman.errors import UserError, unknown

NAMED = 10  # labels in an error message


@dataclass(frozen=True)
class LabelEncoder:
    """The distinct labels of a column; a label is encoded as its index."""

    labels: tuple[str, ...]

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        """All distinct values, sorted."""
        return cls(tuple(sorted(set(values))))

    @classmethod
    def of_classes(cls, values: Iterable[str], name: str) -> Self:
        """The classes of a classifier. A UserError, which names the data, where there is one only."""
        found = cls.of(values)
        if len(found) < 2:
            raise UserError(f"{name} has one class only, '{found.labels[0]}': a classifier needs at least two")
        return found

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def indices(self) -> dict[str, int]:
        """The index of each label."""
        return {label: index for index, label in enumerate(self.labels)}

    def encode(self, values: Sequence[str], where: Callable[[int], str], name: str) -> np.ndarray:
        """Indices (N,) of labels. One that training did not have is a UserError; `where` describes a row by its number
        and `name` is the column's."""
        for row, value in enumerate(values):
            if value not in self.indices:
                some = ", ".join(self.labels[:NAMED])
                raise UserError(f"{where(row)} has the {name} '{value}', which no training row has: {some}")
        return np.array([self.indices[value] for value in values])

    def values(self, probabilities: Sequence[float]) -> dict[str, Any]:
        """label, probability, probabilities: the values of an answer, from the probabilities (K,) of the labels."""
        best = max(range(len(self)), key=probabilities.__getitem__)
        return {"label": self.labels[best], "probability": probabilities[best],
                "probabilities": dict(zip(self.labels, probabilities, strict=True))}  # fmt: skip

    def index(self, value: str, name: str) -> int:
        """The index of a label typed by the user; one that is unknown is a UserError with the nearest."""
        if value not in self.indices:
            raise unknown(name, value, self.labels)
        return self.indices[value]
