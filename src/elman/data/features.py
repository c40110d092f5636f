"""Images as features of a frozen network: a field of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from elman.data.image import LazyImage
from elman.data.pixels import Pixels
from elman.data.store import Store, cached_store
from elman.log import Log

FEW = 16  # images for which nothing is written: computing their features takes a moment
MAX_FLOAT16 = np.finfo(np.float16).max


@dataclass(frozen=True)
class FeatureExtractor:
    """A network as a function.

    - name: for messages
    - key: identifies it among networks that compute something else
    - image_size: S
    - shape: (L, D), a grid of vectors
    - extract: pixels (3, S, S) uint8 to features (L, D)
    """

    name: str
    key: str
    image_size: int
    shape: tuple[int, int]
    extract: Callable[[np.ndarray], np.ndarray]


class Features(Pixels):
    """A field of images; in a batch (N, L, D) float16. The features of an image are computed once and kept, also for
    later runs where the image is a file."""

    def __init__(self, images: Sequence[LazyImage], extractor: FeatureExtractor, log: Log):
        self.extractor = extractor
        super().__init__(images, extractor.image_size, log)

    @property
    def workers(self) -> int:
        """See `LazyField`. The network uses the whole machine already."""
        return 0

    def compute(self, indices: np.ndarray) -> np.ndarray:
        """The features (N, L, D) of these images, one at a time: they do not depend on the rest of the batch."""
        found = np.empty((len(indices), *self.extractor.shape), np.float16)
        for position, index in enumerate(indices):
            pixels = super().compute(np.array([index]))[0]
            found[position] = self.extractor.extract(pixels).clip(-MAX_FLOAT16, MAX_FLOAT16)
        return found

    def _create_store(self, origins: list[str | None], log: Log) -> Store | None:
        count, shape = len(origins), self.extractor.shape
        if None in origins or count <= FEW:
            return Store(count, shape, np.float16)
        what, otherwise = f"the features of {count:,} images by {self.extractor.name}", "each is computed every time"
        return cached_store("features", [self.extractor.key, *origins], count, shape, np.float16, what, otherwise, log)
