"""Grids of vectors: what every encoder gives of a picture, and where the places of one are."""

import math

import torch
from torch import Tensor, nn

from elman.nets.attention import even

FAR = 4.0  # from the middle of a picture to its sides: were it 1, all other numbers would drown the two that say where


class Encoder(nn.Module):
    """Gives a grid (B, L, D): L places, row by row from the top left, and at each D numbers, of which the last two say
    where it is."""

    size: int  # D


def placed(grid: Tensor) -> Tensor:
    """A grid (B, L, D) of a square picture, row by row from the top left, `even` at each place, and with two numbers
    more, (B, L, D + 2): where it is, across and down, from -FAR to FAR. Were what is empty near 0, it would cost
    nothing to look there as well, and attention would stay spread."""
    side = math.isqrt(grid.shape[1])
    line = torch.linspace(-FAR, FAR, side, device=grid.device, dtype=grid.dtype)
    where = torch.stack((line.repeat(side), line.repeat_interleave(side)), -1)
    return torch.cat((even(grid), where.expand(len(grid), -1, -1)), -1)


class Placed(Encoder):
    """An encoder that is given the grid itself (B, L, D), found beforehand; it says where each place is."""

    def __init__(self, numbers: int):
        """numbers: D."""
        super().__init__()
        self.size = numbers + 2

    def forward(self, grid: Tensor) -> Tensor:
        """(B, L, D) gives (B, L, D + 2)."""
        return placed(grid.float())
