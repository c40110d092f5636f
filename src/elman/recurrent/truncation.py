"""Truncated back-propagation through time: the steps of a window, with the graph cut inside it where that is wanted."""

from collections.abc import Collection
from itertools import pairwise

import torch
from torch import Tensor

from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State, detach


def unroll(
    layer: Recurrent, x: Tensor, state: State, cuts: Collection[int], carry: int, reset: Tensor | None = None
) -> tuple[Tensor, State]:
    """The outputs (B, T, D H) of a layer over x (B, T, I), and the state for the next window, detached.

    - cuts: the steps before which the state is detached
    - carry: the number of steps after which the state is that of the next window
    - reset: see `Recurrent`
    """
    carried, outputs = detach(state) if carry == 0 else None, []
    for begin, end in pairwise(sorted({0, carry, x.shape[1]} | set(cuts))):
        if begin in cuts:
            state = detach(state)
        y, state = layer(x[:, begin:end], state, reset=None if reset is None else reset[:, begin:end])
        outputs.append(y)
        if end == carry:
            carried = detach(state)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1), carried
