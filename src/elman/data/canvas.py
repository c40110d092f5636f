"""Images at random positions of a larger, black canvas, perhaps among pieces of other images (Mnih et al. 2014, section
4.1)."""

from copy import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor

from elman.data.pixels import Pixels
from elman.data.rows import Rows
from elman.data.source import Batch, Source

PIECE = 8  # pixels per side of a piece of another image


class Canvas:
    """A field of images on a canvas of P x P pixels; in a batch (B, C, P, P) uint8, one for each row. Where a row's
    image is, and what clutters it, depends on the seed and on the index of the row alone.

    - clutter: pieces of 8 x 8 pixels, each of a random image at a random position
    """

    def __init__(self, pixels: Pixels, canvas_size: int, clutter: int, seed: int | list[int] = 0):
        self.pixels, self.canvas_size, self.clutter = pixels, canvas_size, clutter
        self._draw(seed)

    def _draw(self, seed: int | list[int]) -> None:
        random, count = np.random.default_rng(seed), len(self.pixels.indices)
        size, piece = self.pixels.image_size, min(PIECE, self.pixels.image_size)
        self.corner = random.integers(0, self.canvas_size - size + 1, (count, 2))
        self.of = self.pixels.indices[random.integers(0, count, (count, self.clutter))]
        self.cut = random.integers(0, size - piece + 1, (count, self.clutter, 2))
        self.pasted = random.integers(0, self.canvas_size - piece + 1, (count, self.clutter, 2))

    def drawn(self, seed: int | list[int]) -> Self:
        """The field with other positions and clutter, of another seed."""
        other = copy(self)
        other._draw(seed)
        return other

    @property
    def workers(self) -> int:
        """See `LazyField`."""
        return self.pixels.workers

    def select(self, chosen: np.ndarray) -> Self:
        """The field of these rows."""
        some = copy(self)
        some.pixels = self.pixels.select(chosen)
        some.corner, some.of, some.cut, some.pasted = (
            drawn[chosen] for drawn in (self.corner, self.of, self.cut, self.pasted)
        )
        return some

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """NAME (B, C, P, P), and NAME_of (B,), the numbers from 0."""
        count, size, piece = len(chosen), self.pixels.image_size, min(PIECE, self.pixels.image_size)
        canvas = np.zeros((count, self.pixels.channels, self.canvas_size, self.canvas_size), np.uint8)
        images = self.pixels.load(self.pixels.indices[chosen])
        canvas[_square(self.corner[chosen], size)] = images.transpose(0, 2, 3, 1)
        for number in range(self.clutter):
            cut, pasted = (_square(each[chosen, number], piece) for each in (self.cut, self.pasted))
            pieces = self.pixels.load(self.of[chosen, number])[cut]
            canvas[pasted] = np.maximum(canvas[pasted], pieces)
        return {name: torch.from_numpy(canvas), f"{name}_of": torch.arange(count)}


def _square(corner: np.ndarray, size: int) -> tuple:
    """The index of a square of arrays (B, C, S, S) that begins at corners (B, 2), which gives (B, size, size, C)."""
    down, across = (corner[:, axis, None] + np.arange(size) for axis in (0, 1))
    return np.arange(len(corner))[:, None, None], slice(None), down[:, :, None], across[:, None]


class RedrawnCanvases(Source):
    """Rows whose canvases, the field `name`, are other ones in every epoch."""

    def __init__(self, rows: Rows, name: str):
        self.rows, self.name, self.key, self.workers = rows, name, rows.key, rows.workers
        self._now: tuple[int, Rows] = (-1, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return str(self.rows)

    def batch(self, epoch: int, index: int) -> Batch:
        if self._now[0] != epoch:
            field = self.rows.fields[self.name]
            assert isinstance(field, Canvas)
            self._now = epoch, self.rows.replaced(self.name, field.drawn([self.rows.seed, epoch]))
        return self._now[1].batch(epoch, index)

    def shard(self, rank: int, world: int) -> "RedrawnCanvases":
        """See `Source`."""
        return RedrawnCanvases(self.rows.shard(rank, world), self.name)
