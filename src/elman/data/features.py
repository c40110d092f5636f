"""Images as what a network that does not change finds in them: a field of rows whose values are pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from elman.data.image import LazyImage
from elman.data.pixels import Pixels
from elman.data.store import Store, kept
from elman.tokenizers.registry import Log

FEW = 16  # pictures for which nothing is written: finding their features takes a moment
LARGEST = np.finfo(np.float16).max


@dataclass(frozen=True)
class Finder:
    """A network as a function: pixels (3, S, S) uint8 give a grid of vectors `shape` = (L, D). `name` is for the user;
    `key` tells it from any other that finds something else."""

    name: str
    key: str
    size: int  # S
    shape: tuple[int, int]
    find: Callable[[np.ndarray], np.ndarray]


class Features(Pixels):
    """A field of pictures; in a batch (N, L, D) float16. A picture's features are found once, then kept: in the cache
    for later runs, too, where the picture is a file."""

    def __init__(self, pictures: Sequence[LazyImage], finder: Finder, log: Log):
        self.finder = finder
        super().__init__(pictures, finder.size, log)

    @property
    def workers(self) -> int:
        """See `FieldMaker`. The network takes all of the machine already."""
        return 0

    def made(self, numbers: np.ndarray) -> np.ndarray:
        """(N, L, D) of these pictures. Each is seen by itself: what is found does not depend on what else is asked."""
        found = np.empty((len(numbers), *self.finder.shape), np.float16)
        for place, number in enumerate(numbers):
            seen = super().made(np.array([number]))[0]
            found[place] = self.finder.find(seen).clip(-LARGEST, LARGEST)
        return found

    def _store(self, origins: list[str | None], log: Log) -> Store | None:
        count, shape = len(origins), self.finder.shape
        if None in origins or count <= FEW:
            return Store(count, shape, np.float16)
        what, otherwise = f"the features of {count:,} pictures by {self.finder.name}", "each is seen anew every time"
        return kept("features", [self.finder.key, *origins], count, shape, np.float16, what, otherwise, log)
