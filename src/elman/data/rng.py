"""Random numbers that are the same in every version of Python."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Rng:
    """A random number generator. All draws are made with `Random.random`, the one method for which Python guarantees
    the same numbers in every version."""

    def __init__(self, seed: int):
        self._random = Random(seed)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def below(self, end: int) -> int:
        """One of 0, 1, ..., end - 1."""
        return int(self.uniform() * end)

    def between(self, first: int, last: int) -> int:
        """One of first, ..., last."""
        return first + self.below(last - first + 1)

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order (Fisher and Yates)."""
        order = list(items)
        for i in range(len(order) - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order
