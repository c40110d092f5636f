"""Rows of different lengths in one batch."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, steps: int) -> Tensor:
    """(B, T) bool: which of so many steps are past the end of a row, by the lengths (B,)."""
    return torch.arange(steps, device=lengths.device) >= lengths[:, None]
