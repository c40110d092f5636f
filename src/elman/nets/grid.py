"""Grids of vectors: what every image encoder gives."""

import math

import torch
from torch import Tensor, nn

from elman.nets.attention import layer_norm

SCALE = 4.0  # of the coordinates, from -SCALE to SCALE: with 1, the features would dominate them


class Encoder(nn.Module):
    """Gives a grid (B, L, D): L positions, row by row from the top left, with D features each, of which the last two
    are the coordinates."""

    size: int  # D


def with_coordinates(grid: Tensor) -> Tensor:
    """A grid (B, L, D) of a square image, layer-normalised at each position, with two more features, (B, L, D + 2): the
    horizontal and the vertical coordinate, from -SCALE to SCALE. Without normalisation empty positions would be near 0,
    attention to them would cost nothing, and it would not become sharp."""
    side = math.isqrt(grid.shape[1])
    line = torch.linspace(-SCALE, SCALE, side, device=grid.device, dtype=grid.dtype)
    coordinates = torch.stack((line.repeat(side), line.repeat_interleave(side)), -1)
    return torch.cat((layer_norm(grid), coordinates.expand(len(grid), -1, -1)), -1)


class GridFeatures(Encoder):
    """An encoder that is given a precomputed grid (B, L, D), and adds the coordinates."""

    def __init__(self, features: int):
        """features: D."""
        super().__init__()
        self.size = features + 2

    def forward(self, grid: Tensor) -> Tensor:
        """(B, L, D) gives (B, L, D + 2)."""
        return with_coordinates(grid.float())
