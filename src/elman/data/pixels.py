"""Images as pixels: a field of rows whose images are resized to one size."""

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor

from elman.data.image import LazyImage
from elman.data.store import Store, cached_store
from elman.log import Log

MAX_MEMORY = 32 * 2**20  # bytes of pixels of a split that are kept in memory


class Pixels:
    """A field of images; in a batch (N, C, S, S) uint8, see `take`. Width and height are scaled to S separately. An
    image is decoded once and kept, unless it is drawn as quickly.

    - channels: C, 3 or, for grey images, 1
    """

    def __init__(self, images: Sequence[LazyImage], image_size: int, log: Log, channels: int = 3):
        self.image_size, self.channels = image_size, channels
        distinct = {image.name: image for image in images}
        indices = {name: index for index, name in enumerate(distinct)}
        self.images = list(distinct.values())
        self.indices = np.array([indices[image.name] for image in images])
        self.store = self._create_store([image.origin for image in self.images], log)

    @property
    def workers(self) -> int:
        """See `LazyField`."""
        return 1 if self.store is not None else 0

    def select(self, chosen: np.ndarray) -> Self:
        """The field of these rows."""
        some = copy(self)
        some.indices = self.indices[chosen]
        return some

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """NAME (N, ...), the distinct images of these rows; and NAME_of (B,), the index of each row's image in them."""
        indices, inverse = np.unique(self.indices[chosen], return_inverse=True)
        return {name: torch.from_numpy(self.load(indices)), f"{name}_of": torch.from_numpy(inverse)}

    def load(self, indices: np.ndarray) -> np.ndarray:
        """The pixels (N, C, S, S) of these images."""
        return self.store.take(indices, self.compute) if self.store else self.compute(indices)

    def compute(self, indices: np.ndarray) -> np.ndarray:
        """The pixels (N, C, S, S) of these images, decoded."""
        found = np.empty((len(indices), self.channels, self.image_size, self.image_size), np.uint8)
        for position, index in enumerate(indices):
            found[position] = self.images[index].pixels(self.image_size, self.channels)
        return found

    def _create_store(self, origins: list[str | None], log: Log) -> Store | None:
        count, shape = len(origins), (self.channels, self.image_size, self.image_size)
        if None in origins:
            return None
        if count * int(np.prod(shape)) <= MAX_MEMORY:
            return Store(count, shape, np.uint8)
        what, otherwise = f"the pixels of {count:,} images", "each is decoded every time"
        return cached_store("pixels", origins, count, shape, np.uint8, what, otherwise, log)
