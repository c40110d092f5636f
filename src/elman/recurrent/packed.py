"""Sequences of different lengths, packed as PyTorch packs them."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.errors import UserError
from elman.recurrent.state import State


def run_packed(
    run: Callable[..., Any], packed: PackedSequence, state: State, lengths: object, reset: Tensor | None
) -> tuple[PackedSequence, State]:
    """`run(x, state, lengths, reset)` over padded sequences (B, T, ...); the outputs are packed as the input is. A
    packed sequence has its lengths, so `lengths` must be None."""
    if lengths is not None:
        raise UserError("a PackedSequence has its lengths: leave out lengths")
    x, own = pad_packed_sequence(packed, batch_first=True)
    y, state = run(x, state, own, reset)
    order = packed.sorted_indices
    y, own = (y, own) if order is None else (y[order], own[order.cpu()])
    return packed._replace(data=pack_padded_sequence(y, own, batch_first=True).data), state
