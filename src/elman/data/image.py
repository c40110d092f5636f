"""An image as a value of a table: identified by its name, opened only when its pixels are needed."""

from abc import ABC, abstractmethod

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of width and height


class LazyImage(ABC):
    """An image. Two with the same `name` are the same image; the name has no folder of the machine in it, so that a
    split by its hash is the same everywhere."""

    name: str

    @property
    def origin(self) -> str | None:
        """Identifies its pixels among those of all images on this machine; None where computing them costs no more than
        keeping them."""
        return None

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

    @property
    def stamp(self) -> str:
        """The name, and what changes with the image."""
        return self.name

    def __str__(self) -> str:
        return self.name


def to_pixels(image: Image.Image, size: int, channels: int = 3) -> np.ndarray:
    """The pixels (channels, size, size) uint8 of an image."""
    small = image.convert("L" if channels == 1 else "RGB")
    if small.size != (size, size):
        small = small.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(small, np.uint8).reshape(size, size, channels).transpose(2, 0, 1))
