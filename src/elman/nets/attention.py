"""Attention: a query is scored against every position of a memory; the context is the weighted mean of the memory.

Shapes: B rows, T queries, S positions of the memory, Q features of a query, M features of a position.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.tap import keep
from elman.recurrent.lengths import padding_mask

LOWEST = torch.finfo(torch.float32).min  # and not minus infinity: a row of length 0 has a gradient, of 0


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32, or wider where it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def layer_norm(x: Tensor) -> Tensor:
    """Layer normalisation over the last axis, without gain and bias (Ba, Kiros & Hinton 2016)."""
    return F.layer_norm(x, x.shape[-1:])


def unit_variance(layer: nn.Linear) -> nn.Linear:
    """The layer with weights whose outputs vary as much as its inputs, instead of a third as much, so that products of
    them differ from the first step on."""
    nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return layer


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """The softmax over the last axis, 0 where the mask is True; at least float32."""
    return at_least_float32(scores).masked_fill(mask, LOWEST).softmax(-1).masked_fill(mask, 0.0)


class Attention(nn.Module):
    """A score for each position. `keys` is the part of it that does not depend on the query, computed once a
    sequence."""

    def keys(self, memory: Tensor) -> Tensor:
        """The memory (B, S, M), prepared to be scored."""
        return memory

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """query (B, T, Q) against keys (B, S, ...): (B, T, S)."""
        raise NotImplementedError

    def forward(self, query: Tensor, keys: Tensor, memory: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The context (B, T, M) and the weights (B, T, S), 0 past the `lengths` (B,) of the memory. Recorded as
        `attention`."""
        weights = masked_softmax(self.scores(query, keys), padding_mask(lengths, memory.shape[1])[:, None])
        keep("attention", weights)
        return weights.to(memory.dtype) @ memory, weights


class Additive(Attention):
    """v . tanh(W q + U m) (Bahdanau, Cho & Bengio 2015, appendix A.1.2)."""

    def __init__(self, query: int, memory: int, size: int):
        super().__init__()
        self.W, self.U = nn.Linear(query, size), nn.Linear(memory, size, bias=False)
        self.v = nn.Linear(size, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.U(memory)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.v(torch.tanh(self.W(query)[:, :, None] + keys[:, None])).squeeze(-1)


class General(Attention):
    """q . W m (Luong, Pham & Manning 2015, equation 8)."""

    def __init__(self, query: int, memory: int, size: int):
        super().__init__()
        self.W = nn.Linear(memory, query, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.W(memory)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class Dot(Attention):
    """q . m (Luong, Pham & Manning 2015, equation 8); both must have one size."""

    def __init__(self, query: int, memory: int, size: int):
        super().__init__()
        if query != memory:
            raise ValueError(f"dot takes a query and a memory of one size, not {query} and {memory}")

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class Scaled(Attention):
    """W q . U n(m) / sqrt(size) (Vaswani et al. 2017, equation 1); n is layer normalisation, without which the mean
    over positions would dominate their differences."""

    def __init__(self, query: int, memory: int, size: int):
        super().__init__()
        self.W, self.U = unit_variance(nn.Linear(query, size)), unit_variance(nn.Linear(memory, size, bias=False))

    def keys(self, memory: Tensor) -> Tensor:
        return self.U(layer_norm(memory))

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.W(query) @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5


ATTENTION: dict[str, type[Attention]] = {"additive": Additive, "general": General, "dot": Dot, "scaled": Scaled}
