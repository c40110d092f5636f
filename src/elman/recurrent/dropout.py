"""Dropout with few random numbers."""

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 1 << 16  # a random number of 64 bits decides on four elements


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x with each element set to 0 with probability p and the others scaled by 1 / (1 - p); in training only.

    On the CPU torch draws a random number for every element, which takes a seventh of the training time of a language
    model; here p is rounded to a multiple of 1 / 65536 instead.
    """
    if not training or not p or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p, training)
    numbers = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    draws = numbers.view(torch.int16)[: x.numel()].view(x.shape)
    least = min(max(round(p * LEVELS), 1), LEVELS - 1)
    return x * (draws >= least - LEVELS // 2).to(x.dtype).mul_(LEVELS / (LEVELS - least))
