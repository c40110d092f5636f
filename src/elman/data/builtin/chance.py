"""Chance that is the same everywhere."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Draws that depend on nothing but the seed. All are made of `Random.random`, the one method of which Python
    promises that it gives the same numbers in every version."""

    def __init__(self, seed: int):
        self._random = Random(seed)

    def share(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self._random.random()

    def below(self, end: int) -> int:
        """One of 0, 1, ..., end - 1."""
        return int(self.share() * end)

    def between(self, first: int, last: int) -> int:
        """One of first, ..., last."""
        return first + self.below(last - first + 1)

    def one_of(self, things: Sequence[T]) -> T:
        """One of some things."""
        return things[self.below(len(things))]

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """The things in another order (Fisher and Yates)."""
        order = list(things)
        for i in range(len(order) - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order
