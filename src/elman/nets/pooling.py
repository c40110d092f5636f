"""Pooling over time: from the outputs of every step to one vector per row. Steps past a row's length are ignored.

Shapes: y (B, T, D H), lengths (B,); the pooled vectors are (B, D H).
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import masked_softmax
from elman.recurrent.lengths import padding_mask


class Pooling(nn.Module, ABC):
    """Pooling of outputs of `size` features in `directions` directions.

    - meaning: what `weights` are, for a reader; "" where all rows have the same
    """

    meaning: ClassVar[str] = ""

    def __init__(self, size: int, directions: int):
        super().__init__()
        self.size, self.directions = size, directions

    @abstractmethod
    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The pooled vectors."""

    def weights(self, y: Tensor, lengths: Tensor) -> Tensor | None:
        """What each step contributes to the pooled vector, (B, T), each row summing to 1; None where that is the same
        in all rows."""
        return None


class Last(Pooling):
    """The output of the last step; of the backward direction that of the first."""

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """See `Pooling`."""
        ends = (lengths - 1).clamp(min=0).to(y.device)
        forward, *backward = y.chunk(self.directions, -1)
        return torch.cat([forward[torch.arange(len(y), device=y.device), ends], *(each[:, 0] for each in backward)], -1)


class Mean(Pooling):
    """The mean of the outputs."""

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """See `Pooling`."""
        return y.sum(1) / lengths.clamp(min=1)[:, None].to(y)  # an output past the length is 0


class Max(Pooling):
    """The maximum of every unit over time; 0 for a row of length 0."""

    meaning = "of the units have their maximum here"

    def _masked(self, y: Tensor, lengths: Tensor) -> Tensor:
        return y.masked_fill(padding_mask(lengths.to(y.device), y.shape[1])[..., None], -torch.inf)

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """See `Pooling`."""
        return self._masked(y, lengths).amax(1).masked_fill((lengths == 0)[:, None].to(y.device), 0.0)

    def weights(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The fraction of the units that have their maximum at each step."""
        steps = self._masked(y, lengths).argmax(1)
        return torch.zeros(y.shape[:2], device=y.device).scatter_add_(
            1, steps, torch.full_like(steps, 1 / y.shape[-1], dtype=torch.float32)
        )


class Weighted(Pooling):
    """A mean weighted by attention: softmax over time of v . tanh(W y) (Yang et al. 2016, equations 5 to 7). Recorded
    as `attention`."""

    meaning = "of the attention"

    def __init__(self, size: int, directions: int):
        super().__init__(size, directions)
        self.W, self.v = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def weights(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The attention weights."""
        scores = self.v(torch.tanh(self.W(y))).squeeze(-1)
        return masked_softmax(scores, padding_mask(lengths.to(y.device), y.shape[1]))

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """See `Pooling`."""
        weights = self.weights(y, lengths)
        keep("attention", weights)
        return (weights.to(y.dtype)[:, None] @ y).squeeze(1)


POOLING: dict[str, type[Pooling]] = {"last": Last, "mean": Mean, "max": Max, "attention": Weighted}
