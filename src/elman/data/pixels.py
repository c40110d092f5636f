"""Images as numbers: a field of rows whose values are pictures, all brought to one size."""

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elman.data.image import LazyImage
from elman.data.store import Store, kept
from elman.tokenizers.registry import Log

SMALL = 32 * 2**20  # bytes of pixels of a part that memory may hold


class Pixels:
    """A field of pictures; in a batch (N, 3, S, S) uint8, see `take`. A picture is made S by S, its sides each on its
    own, so that all of it is seen. It is decoded once, then kept, unless it is as quickly drawn."""

    def __init__(self, pictures: Sequence[LazyImage], size: int, log: Log):
        self.size = size
        distinct = {picture.name: picture for picture in pictures}
        numbers = {name: number for number, name in enumerate(distinct)}
        self.pictures = list(distinct.values())
        self.numbers = np.array([numbers[picture.name] for picture in pictures])
        self.store = self._store([picture.origin for picture in self.pictures], log)

    @property
    def workers(self) -> int:
        """See `FieldMaker`."""
        return 1 if self.store is not None else 0

    def select(self, chosen: np.ndarray) -> Self:
        """Those of some rows."""
        some = copy(self)
        some.numbers = self.numbers[chosen]
        return some

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """NAME (N, ...), what is made of the pictures of these rows, each once; and NAME_of (B,), which is whose."""
        numbers, whose = np.unique(self.numbers[chosen], return_inverse=True)
        found = self.store.take(numbers, self.made) if self.store else self.made(numbers)
        return {name: torch.from_numpy(found), f"{name}_of": torch.from_numpy(whose)}

    def made(self, numbers: np.ndarray) -> np.ndarray:
        """(N, 3, S, S) of these pictures, made anew."""
        return np.stack([pixels(self.pictures[number].image(), self.size) for number in numbers])

    def _store(self, origins: list[str | None], log: Log) -> Store | None:
        count, shape = len(origins), (3, self.size, self.size)
        if None in origins:
            return None
        if count * int(np.prod(shape)) <= SMALL:
            return Store(count, shape, np.uint8)
        what, otherwise = f"the pixels of {count:,} pictures", "each is decoded anew every time"
        return kept("pixels", origins, count, shape, np.uint8, what, otherwise, log)


def pixels(image: Image.Image, size: int) -> np.ndarray:
    """(3, size, size) uint8 of a picture."""
    small = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(small, np.uint8).transpose(2, 0, 1))
