"""Zoneout over any cell."""

import functools
from typing import Any

import torch

from elman.cells.cell import Cell
from elman.cells.made_class import subclass


@functools.cache
def with_zoneout(kind: type[Cell], p: float) -> type[Cell]:
    """A cell whose states each keep, in training, the value of every unit with probability `p`.

    Krueger et al. 2017, arXiv 1606.01305, equation 2; in evaluation the expectation of it, p s + (1 - p) s'. An output
    that is no state is unaffected.
    """

    def step(self: Cell, x: Any, *state: Any) -> tuple[Any, ...]:
        new = kind.step(self, x, *state)
        own = len(new) - len(state)  # an output that is no state
        if self.training:
            pairs = zip(state, new[own:], strict=True)
            return (*new[:own], *(torch.where(self.rand_like(old) < p, old, value) for old, value in pairs))
        return (*new[:own], *(p * old + (1 - p) * value for old, value in zip(state, new[own:], strict=True)))

    return subclass(kind, (with_zoneout, kind, p), step=step)
