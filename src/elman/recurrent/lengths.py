"""Rows of different lengths in one batch."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, steps: int) -> Tensor:
    """(B, T) bool: True at the steps past the end of a row, for lengths (B,)."""
    return torch.arange(steps, device=lengths.device) >= lengths[:, None]
