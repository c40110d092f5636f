"""The size and the channels in which a network takes images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elman.data.image import LazyImage

SIZE = 64  # pixels per side of images that are not all of one size
OPENED = 1_000  # images whose own shapes decide


@dataclass(frozen=True)
class ImageShape:
    """image_size: pixels per side; channels: 1 for grey images, else 3; note: a line for the user where images are
    resized, else None."""

    image_size: int
    channels: int
    note: str | None


def choose_shape(images: Sequence[LazyImage], image_size: int | None, largest: int | None = None) -> ImageShape:
    """The size that is given, or else that of the images where all are squares of one size, at most `largest`. Of many
    images, some that are evenly spaced decide."""
    chosen = np.unique(np.linspace(0, len(images) - 1, OPENED).astype(int))
    shapes = sorted({images[index].shape for index in chosen})
    sizes = sorted({(height, width) for height, width, _ in shapes})
    channels = max(channels for *_, channels in shapes)
    first, last = (f"{width} x {height}" for height, width in (sizes[0], sizes[-1]))
    if image_size is None and len(sizes) == 1 and sizes[0][0] == sizes[0][1]:
        image_size = min(sizes[0][0], largest or sizes[0][0])
    size = image_size or SIZE
    if sizes == [(size, size)]:
        return ImageShape(size, channels, None)
    found = f"of {first} pixels" if len(sizes) == 1 else f"of {len(sizes):,} sizes, {first} to {last} pixels"
    return ImageShape(size, channels, f"images {found} are resized to {size} x {size}")
