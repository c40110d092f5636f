"""Operations of equations that torch has under other names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

log_sigmoid = F.logsigmoid


def _traceable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function of tensors one that symbolic values may be given to."""

    def call(*args: Any) -> Any:
        if torch.overrides.has_torch_function(args):
            return torch.overrides.handle_torch_function(call, args, *args)
        return function(*args)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


@_traceable
def normalize(value: Tensor) -> Tensor:
    """(v - mean) / sqrt(variance + 1e-5) over the units, the last axis: layer normalization without gain and bias."""
    centred = value - value.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5)


@_traceable
def sum_groups(value: Tensor, size: int) -> Tensor:
    """The sums over every `size` consecutive units: (B, H) to (B, H / size). `repeat_interleave` goes the other way."""
    return value.unflatten(-1, (-1, size)).sum(-1)


@_traceable
def outer(v: Tensor, k: Tensor, heads: int = 1) -> Tensor:
    """The outer products v k^T of the parts of two vectors (B, H), a part for each of the heads: (B, H H / heads), a
    matrix (H / heads, H / heads) a head, row by row."""
    left, right = v.unflatten(-1, (heads, -1, 1)), k.unflatten(-1, (heads, 1, -1))
    return (left * right).flatten(-3)


@_traceable
def matvec(matrix: Tensor, q: Tensor, heads: int = 1) -> Tensor:
    """The products of the matrices of a state (B, H H / heads), as `outer` makes them, with the parts of a vector
    (B, H): (B, H)."""
    part = q.shape[-1] // heads
    return (matrix.unflatten(-1, (heads, part, part)) * q.unflatten(-1, (heads, 1, part))).sum(-1).flatten(-2)


@_traceable
def matvec_transposed(matrix: Tensor, q: Tensor, heads: int = 1) -> Tensor:
    """`matvec` with every matrix transposed."""
    part = q.shape[-1] // heads
    return (matrix.unflatten(-1, (heads, part, part)) * q.unflatten(-1, (heads, part, 1))).sum(-2).flatten(-2)
