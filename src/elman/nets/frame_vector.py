"""Frames as vectors, each by itself."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.nets.attention import at_least_float32
from elman.nets.grid import Encoder

SIDE = 4  # positions per side that are kept of a grid
KEYPOINTS = 32


def pooled(grid: Tensor) -> Tensor:
    """A grid (N, L, D), averaged to at most 4 x 4 positions."""
    side = math.isqrt(grid.shape[1])
    if side <= SIDE:
        return grid
    square = grid.transpose(1, 2).unflatten(2, (side, side))
    return F.adaptive_avg_pool2d(square, SIDE).flatten(2).transpose(1, 2)


class ImageVector(nn.Module):
    """An image encoder whose grid becomes a vector: what there is, by the mean of all positions, projected; and where,
    by keypoints: the expected coordinates under a softmax over the positions of each of some maps (spatial softmax,
    Levine et al. 2016, section 5.1). Of the coordinates a recurrence learns motion quickly: it is their change."""

    def __init__(self, encoder: Encoder, size: int):
        """size: of the projection."""
        super().__init__()
        self.encoder, self.size = encoder, size + 2 * KEYPOINTS
        self.maps = nn.Linear(encoder.size - 2, KEYPOINTS)
        self.projection = nn.Linear(encoder.size - 2, size)

    def forward(self, frames: Tensor) -> Tensor:
        """What the encoder takes (N, ...) gives vectors (N, E)."""
        grid = self.encoder(frames)
        features, coordinates = grid[..., :-2], grid[..., -2:].float()
        weights = at_least_float32(self.maps(features)).softmax(1)  # (N, L, K)
        keypoints = (weights.transpose(1, 2) @ coordinates).flatten(1)
        return torch.cat((torch.relu(self.projection(features.mean(1))), keypoints), -1)


class SinglePosition(nn.Module):
    """An image encoder whose grid has one position."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder, self.size = encoder, encoder.size

    def forward(self, frames: Tensor) -> Tensor:
        """What the encoder takes (N, ...) gives vectors (N, D)."""
        return self.encoder(frames)[:, 0]


class Standardized(nn.Module):
    """Vectors (N, F), standardised by a mean and a deviation (F,)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]):
        super().__init__()
        self.size = len(mean)
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, F) gives (N, F)."""
        return (frames - self.mean) / self.deviation
