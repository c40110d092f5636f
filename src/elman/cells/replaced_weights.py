"""Other weights instead of a cell's own, for a call."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_replaced: ContextVar[Mapping[int, Mapping[str, Tensor]] | None] = ContextVar("weights", default=None)


def replacements(cell: object) -> Mapping[str, Tensor]:
    """The weights that a cell has at present instead of its own, by name."""
    if torch.compiler.is_dynamo_compiling():  # which knows no ContextVar; weights are arguments there
        return {}
    return (_replaced.get() or {}).get(id(cell), {})


@contextmanager
def weights_replaced(cell: object, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, the cell has these weights instead of its own of the same names."""
    others = _replaced.get() or {}
    token = _replaced.set({**others, id(cell): {**others.get(id(cell), {}), **weights}})
    try:
        yield
    finally:
        _replaced.reset(token)
