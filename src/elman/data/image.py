"""An image as a value of a table: identified by its name, opened only when its pixels are needed."""

from abc import abstractmethod

import numpy as np
from PIL import Image

from elman.data.lazy import Lazy

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of width and height


class LazyImage(Lazy):
    """An image."""

    @property
    def path(self) -> str:
        """What `image_input.open_image` opens it by, from any folder of this machine."""
        return self.name

    @abstractmethod
    def image(self) -> Image.Image:
        """The image, RGB and upright. UserError, which names it, where it cannot be read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels: 1 of a grey image, else 3."""
        image = self.image()
        return image.height, image.width, 3

    def pixels(self, size: int, channels: int = 3) -> np.ndarray:
        """The pixels (channels, size, size) uint8; width and height are scaled separately, and 1 channel is grey."""
        return to_pixels(self.image(), size, channels)

    def thumbnail(self, size: int) -> Image.Image:
        """The image with its longer side at most `size` pixels."""
        image = self.image()
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return image

    def is_true(self, caption: str) -> bool | None:
        """Whether a sentence is true of the image; None where that is unknown."""
        return None

    def boxes(self, caption: str) -> list[tuple[int, Box]] | None:
        """The objects that a caption mentions: the index of the last word of each noun and the box of each object that
        is meant. None where that is unknown."""
        return None


def to_pixels(image: Image.Image, size: int, channels: int = 3) -> np.ndarray:
    """The pixels (channels, size, size) uint8 of an image."""
    small = image.convert("L" if channels == 1 else "RGB")
    if small.size != (size, size):
        small = small.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(small, np.uint8).reshape(size, size, channels).transpose(2, 0, 1))
