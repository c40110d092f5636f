"""Masks over logits: tokens that must not come next."""

import torch
from torch import Tensor


def exclude(logits: Tensor, mask: Tensor) -> Tensor:
    """The logits (B, V) with -inf where `mask`, broadcast to (B, V), is True. A row in which no token would remain is
    returned as it is."""
    remaining = logits.masked_fill(mask, -torch.inf)
    return torch.where((remaining > -torch.inf).any(-1, keepdim=True), remaining, logits)


def repeated_ngrams(generated: Tensor, n: int, vocabulary: int) -> Tensor:
    """A mask (B, vocabulary) of the tokens that would complete an n-gram which `generated` (B, T) already holds."""
    rows, length = generated.shape
    if length < n:
        return torch.zeros(rows, vocabulary, dtype=torch.bool, device=generated.device)
    ngrams = generated.unfold(1, n, 1)  # (B, T - n + 1, n)
    matches = (ngrams[..., :-1] == generated[:, None, length - n + 1 :]).all(-1)
    last = torch.where(matches, ngrams[..., -1], vocabulary)  # one column more takes the n-grams that do not match
    mask = torch.zeros(rows, vocabulary + 1, dtype=torch.bool, device=generated.device)
    return mask.scatter(1, last, True)[:, :vocabulary]
