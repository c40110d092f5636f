"""An image of a file that holds many, in memory as an array."""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from elman.data.image import LazyImage


@dataclass(frozen=True, eq=False)
class ArrayImage(LazyImage):
    """values: (H, W) grey or (H, W, 3), uint8."""

    name: str
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, *channels = self.values.shape
        return height, width, channels[0] if channels else 1

    def image(self) -> Image.Image:
        return Image.fromarray(self.values).convert("RGB")

    def pixels(self, size: int, channels: int = 3) -> np.ndarray:
        if self.shape != (size, size, channels):
            return super().pixels(size, channels)
        return self.values.reshape(size, size, channels).transpose(2, 0, 1)

    @property
    def stamp(self) -> str:
        return f"{self.name} {hashlib.blake2b(self.values.tobytes(), digest_size=8).hexdigest()}"


def are_images(values: np.ndarray) -> bool:
    """Whether an array is of images (N, H, W) or (N, H, W, 3)."""
    return values.ndim in (3, 4) and values.shape[3:] in ((), (3,))


def array_images(name: str, values: np.ndarray) -> list[ArrayImage]:
    """Images (N, H, W) or (N, H, W, 3) uint8, named by their number from 1."""
    return [ArrayImage(f"{name} {number}", each) for number, each in enumerate(values, 1)]
