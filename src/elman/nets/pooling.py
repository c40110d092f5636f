"""Pooling: from the outputs at every step to one vector a row. What is past a row's length has no part in it."""

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import shares
from elman.recurrent.lengths import padding_mask


class Last(nn.Module):
    """The output of the last step; backwards that is the one at the beginning."""

    def __init__(self, size: int, directions: int):
        super().__init__()
        self.directions = directions

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """y (B, T, D H) gives (B, D H)."""
        ends = (lengths - 1).clamp(min=0).to(y.device)
        forward, *backward = y.chunk(self.directions, -1)
        return torch.cat([forward[torch.arange(len(y), device=y.device), ends], *(each[:, 0] for each in backward)], -1)


class Mean(nn.Module):
    """The mean of the outputs."""

    def __init__(self, size: int, directions: int):
        super().__init__()

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """y (B, T, D H) gives (B, D H)."""
        return y.sum(1) / lengths.clamp(min=1)[:, None].to(y)  # an output past the length is 0


class Max(nn.Module):
    """The largest output of every unit."""

    def __init__(self, size: int, directions: int):
        super().__init__()

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """y (B, T, D H) gives (B, D H); 0 for a row of length 0."""
        ended = padding_mask(lengths.to(y.device), y.shape[1])
        highest = y.masked_fill(ended[..., None], -torch.inf).amax(1)
        return highest.masked_fill((lengths == 0)[:, None].to(y.device), 0.0)


class Weighted(nn.Module):
    """A mean weighted by attention: softmax over time of v . tanh(W y) (Yang et al. 2016, equations 5 to 7). Recorded
    as `attention`."""

    def __init__(self, size: int, directions: int):
        super().__init__()
        self.W, self.v = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """y (B, T, D H) gives (B, D H)."""
        weights = shares(self.v(torch.tanh(self.W(y))).squeeze(-1), padding_mask(lengths.to(y.device), y.shape[1]))
        keep("attention", weights)
        return (weights.to(y.dtype)[:, None] @ y).squeeze(1)


POOLING: dict[str, type[nn.Module]] = {"last": Last, "mean": Mean, "max": Max, "attention": Weighted}
