"""Bans: tokens that may not come next, whatever the model says of them."""

import torch
from torch import Tensor


def ban(logits: Tensor, banned: Tensor) -> Tensor:
    """The logits (B, V) without the tokens for which `banned`, of a shape that fits, is true. A row of which nothing
    would be left stays as it is."""
    left = logits.masked_fill(banned, -torch.inf)
    return torch.where((left > -torch.inf).any(-1, keepdim=True), left, logits)


def repeats(written: Tensor, run: int, tokens: int) -> Tensor:
    """Which of that many tokens (B, tokens) would end a run of `run` tokens that the row of `written` (B, T) already
    holds."""
    rows, length = written.shape
    if length < run:
        return torch.zeros(rows, tokens, dtype=torch.bool, device=written.device)
    runs = written.unfold(1, run, 1)  # (B, T - run + 1, run)
    begun = (runs[..., :-1] == written[:, None, length - run + 1 :]).all(-1)
    ends = torch.where(begun, runs[..., -1], tokens)  # one column more takes the runs that are not begun again
    return torch.zeros(rows, tokens + 1, dtype=torch.bool, device=written.device).scatter(1, ends, True)[:, :tokens]
