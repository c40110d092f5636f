"""Dropout with few random numbers."""

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 1 << 16  # a random number of 64 bits decides on four elements


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """x with that share of its elements set to 0 and the others scaled by 1 / (1 - share); in training only.

    On the CPU torch draws its masks one element after another, which takes a seventh of the training of a language
    model; here the share is rounded to 1 / 65536 instead.
    """
    if not training or not share or x.device.type != "cpu":
        return F.dropout(x, share, training)
    numbers = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    draws = numbers.view(torch.int16)[: x.numel()].view(x.shape)
    least = min(max(round(share * LEVELS), 1), LEVELS - 1)
    return x * (draws >= least - LEVELS // 2).to(x.dtype).mul_(LEVELS / (LEVELS - least))
