"""The backend of torch's own kernels (oneDNN, cuDNN, MPS), for the cells that torch implements: rnn, lstm, gru."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.cells.cell import Cell
from elman.cells.gru import GRU
from elman.cells.lstm import LSTM
from elman.cells.rnn import RNN
from elman.cells.tap import observed
from elman.cells.trace import redefines
from elman.recurrent.backend import Span, States, StepFunction
from elman.recurrent.decoder import Decoder
from elman.recurrent.transforms import dispatched, half_autocast, jit_traced, transform

# by equation, not by class: a subclass that overrides `step` is another cell, one that overrides `start` is not
KERNELS: dict[Any, Callable[[Any], str | None]] = {
    LSTM.step: lambda cell: "lstm",
    GRU.step: lambda cell: "gru",
    RNN.step: lambda cell: {"tanh": "rnn_tanh", "relu": "rnn_relu"}.get(cell.activation),
}


class Native:
    """One call of torch's kernel for all steps. The gates of these cells are in torch's order."""

    name = "native"

    def refuses(self, cell: Cell, span: Span) -> str | None:
        if kernel_name(cell) is None:
            return "torch has no kernel for its equation"
        if span.reset is not None:
            return "torch's kernels cannot reset a row in the middle"
        if observed():
            return "torch's kernels do not expose the values inside"
        if dispatched() and span.lengths is not None:
            return "torch packs by the values of the lengths, which a recorded program does not have"
        if known := transform():
            return f"torch's kernels have no rule for {known}"
        if span.x.device.type == "cpu" and half_autocast():
            return "torch's kernels on the CPU have no autocast to float16"
        return None

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        if span.reverse:
            return self._reversed(cell, span)
        kernel = getattr(torch, str(kernel_name(cell)))
        # train: stores what the backward pass needs; dropout is not applied here
        options = (True, 1, 0.0, torch.is_grad_enabled() or jit_traced(), False)
        if span.lengths is None:
            output, *state = kernel(span.x, _hidden(span.state), torch_weights(cell), *options, True)
            return output, _states(state, cell)
        return self._packed(cell, span, kernel, options)

    def _packed(self, cell: Cell, span: Span, kernel: Any, options: Any) -> tuple[Tensor, States]:
        assert span.lengths is not None
        rows = span.lengths.nonzero().squeeze(-1)  # torch cannot pack an empty row
        if not len(rows):
            # 0, with a gradient of 0 for every weight
            zero = 0.0 * torch.stack([weight.sum() for weight in cell.weights.values()]).sum()
            return zero.expand(*span.x.shape[:2], cell.hidden_size), span.state
        packed = pack_padded_sequence(span.x[rows], span.lengths[rows].cpu(), batch_first=True, enforce_sorted=False)
        assert packed.sorted_indices is not None
        before = tuple(value[rows][packed.sorted_indices] for value in span.state)
        data, *state = kernel(packed.data, packed.batch_sizes, _hidden(before), torch_weights(cell), *options)
        ran = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        output, _ = pad_packed_sequence(ran, batch_first=True, total_length=span.x.shape[1])
        after = tuple(value[packed.unsorted_indices] for value in _states(state, cell))
        y = output.new_zeros(len(span.x), *output.shape[1:]).index_copy(0, rows, output)
        return y, tuple(old.index_copy(0, rows, new.to(old.dtype)) for old, new in zip(span.state, after, strict=True))

    def _reversed(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        flip = _flip(span)
        forward = Span(flip(span.x), span.state, span.initial, span.lengths)
        y, state = self.unroll(cell, forward)
        return flip(y), state

    def step_function(self, cell: Cell, prefix: str) -> StepFunction:
        kernel, weights = getattr(torch, f"{kernel_name(cell)}_cell"), torch_weights(cell)
        hidden = (lambda state: state) if len(cell.states) > 1 else (lambda state: state[0])

        def advance(x: Tensor, state: States) -> tuple[Tensor, States]:
            new = kernel(x, hidden(state), *(torch_weights(cell) if dispatched() else weights))
            new = new if isinstance(new, tuple) else (new,)
            return new[0], new

        return advance

    def operator(self, cell: Cell) -> tuple[str, bool] | None:
        return None

    def decoder(self, cells: list[Cell], embedding: Tensor, head: nn.Linear, residual: bool) -> Decoder | None:
        return None


def kernel_name(cell: Cell) -> str | None:
    """The name of torch's kernel for this cell's equation, if there is one."""
    find = KERNELS.get(type(cell).step)
    own = redefines(cell) or type(cell).recur is not Cell.recur
    return find(cell) if find and not own and cell.biased == cell.gates else None


def torch_weights(cell: Cell) -> list[Tensor]:
    """The weights as torch has them: W_ih, W_hh, b_ih, b_hh. The second bias is 0 except for the gru, whose vector p_n
    is its last block."""
    (matrix,) = cell.matrices().values()
    W, b, second = cell.weight("W"), cell.weight("b"), torch.zeros_like(cell.weight("b"))
    for vector in cell.vectors().values():
        second = torch.cat((second[: -len(vector)], vector))
    return [W, matrix, b, second]


def _hidden(state: States) -> Any:
    """The states as torch takes them: (1, B, H), in a tuple if there are two."""
    layered = [value.unsqueeze(0) for value in state]
    return tuple(layered) if len(layered) > 1 else layered[0]


def _states(state: list[Tensor], cell: Cell) -> States:
    return tuple(value.squeeze(0).to(cell.dtype) for value in state)


def _flip(span: Span) -> Callable[[Tensor], Tensor]:
    """A function that reverses time, each row within its length; its own inverse."""
    if span.lengths is None:
        return lambda value: value.flip(1)
    times = torch.arange(span.x.shape[1], device=span.x.device)
    back = span.lengths[:, None] - 1 - times
    index = torch.where(back >= 0, back, times)
    return lambda value: value.gather(1, index[..., None].expand(-1, -1, value.shape[-1]))
