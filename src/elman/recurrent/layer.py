"""The recurrent layer: cells stacked in depth, run over time, in one or two directions."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elman.cells.cell import Cell
from elman.cells.registry import CellSpec, find
from elman.cells.replaced_weights import weights_replaced
from elman.cells.tap import holding, observed_anywhere
from elman.cells.variational_dropout import with_variational_dropout
from elman.cells.zoneout import with_zoneout
from elman.errors import unknown
from elman.recurrent import arguments
from elman.recurrent.backend import Backend, Choice, Span, States, StepFunction, choose
from elman.recurrent.decoder import Decoder
from elman.recurrent.dropout import dropout
from elman.recurrent.fused import Fused
from elman.recurrent.fused_operator import run_operator
from elman.recurrent.lengths import padding_mask
from elman.recurrent.loop import Loop
from elman.recurrent.native import Native
from elman.recurrent.packed import run_packed
from elman.recurrent.state import State
from elman.recurrent.stepper import LayerStepper
from elman.recurrent.torch_modules import from_torch, to_torch

BACKENDS: tuple[Backend, ...] = (Fused(), Native(), Loop())  # fastest first


class Recurrent(nn.Module):
    """A recurrent layer: cells over time, stacked in depth.

    x (B, T, I) gives y (B, T, D H), D being 2 when bidirectional; a `PackedSequence` gives a `PackedSequence`. The
    state is a tuple with, for each layer and each of its directions (forward first), the cell's states, each (B, H).

    - cell: a name with options (`lstm:forget_bias=0`), a class, `"file.py:Class"`, or a `StoredCell`
    - dropout: probability with which an output of a layer is set to 0 in training, between layers
    - residual: from the second layer on, the input of a layer is added to its output
    - learn_initial_state: the state before the first step is a parameter; otherwise it is 0
    - backend: `auto` takes the fastest that does not refuse; a named one that refuses is a UserError
    - batch_first: x and y are (B, T, ...); otherwise x, y and `reset` are (T, B, ...)
    - name: prefix of the addresses of its values, `encoder.1.h`, in a model of several layers
    - zoneout: probability with which a unit of a state keeps its value (Krueger et al. 2017)
    - variational_dropout: dropout of the input of each layer and of what the recurrent matrices are multiplied by, with
      one mask for all steps of a call (Gal & Ghahramani 2016)
    - weight_drop: dropout of the recurrent matrices themselves, once a call (Merity et al. 2018)

    The last three, too, apply in training alone.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: CellSpec = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
        learn_initial_state: bool = False,
        name: str = "",
        zoneout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        batch_first: bool = True,
    ):
        super().__init__()
        arguments.check_sizes(input_size=input_size, hidden_size=hidden_size, layers=layers)
        arguments.check_probabilities(
            dropout=dropout, zoneout=zoneout, variational_dropout=variational_dropout, weight_drop=weight_drop
        )
        if backend not in ("auto", *(known.name for known in BACKENDS)):
            raise unknown("backend", backend, ["auto", *(known.name for known in BACKENDS)])
        self.input_size, self.hidden_size, self.layers = input_size, hidden_size, layers
        self.directions = 2 if bidirectional else 1
        self.dropout, self.residual, self.backend = dropout, residual, backend
        self.variational_dropout, self.weight_drop = variational_dropout, weight_drop
        self.batch_first = batch_first
        self.name = name and f"{name}."
        kind, options = find(cell)
        kind = with_zoneout(kind, zoneout) if zoneout else kind
        kind = with_variational_dropout(kind, variational_dropout) if variational_dropout else kind
        self.cells = nn.ModuleList()
        for _ in range(layers):
            size = self.output_size if len(self.cells) else input_size
            self.cells.extend(kind(size, hidden_size, **options) for _ in range(self.directions))
        self.learned = nn.ParameterList(
            nn.Parameter(torch.zeros(sum(self._cell(0).state_sizes)))
            for _ in range(len(self.cells) if learn_initial_state else 0)
        )

    @property
    def output_size(self) -> int:
        """The size of an output: D H, for most cells."""
        return self.directions * self._cell(0).output_size

    @property
    def state_sizes(self) -> list[int]:
        """The sizes of the states of a layer in one direction."""
        return self._cell(0).state_sizes

    @property
    def cell_name(self) -> str:
        """The name of its cells."""
        return self._cell(0).name

    @property
    def sizes(self) -> str:
        """Its layers, units and cell in a line."""
        both = ", bidirectional" if self.directions == 2 else ""
        return f"{self.layers} x {self.hidden_size} {self.cell_name}{both}"

    def initial(self, batch_size: int) -> tuple[States, ...]:
        """The state before the first step, learned or 0."""
        if not len(self.learned):
            return (self._cell(0).zero_state(batch_size),) * len(self.cells)
        parts = [learned.split(self.state_sizes) for learned in self.learned]
        return tuple(tuple(part.expand(batch_size, -1) for part in of) for of in parts)

    def initial_output(self, batch_size: int) -> Tensor:
        """What stands for the output before the first step: the last layer's first state, or 0 where the output is no
        state."""
        cell = self._cell(0)
        if not cell.output:
            return self.initial(batch_size)[-1][0]
        return torch.zeros(batch_size, cell.output_size, dtype=cell.dtype, device=cell.device)

    def reset_state(self, state: State, mask: Tensor) -> State:
        """The state with the rows where the mask (B,) bool is True reset to the initial state."""
        self.check_state(state, len(mask))
        mask, pairs = mask[:, None].to(state[0][0].device), zip(self.initial(len(mask)), state, strict=True)
        return tuple(tuple(map(torch.where, itertools.repeat(mask), *each)) for each in pairs)

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: State = None,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Any, State]:
        """The outputs (B, T, D H) and the state after the last step.

        lengths (B,), from 0 to T, in any order: past its length a row keeps its state, and its output is 0. reset
        (B, T) bool: where True the row is reset to the initial state before the step.
        """
        if torch.compiler.is_dynamo_compiling() and not self._has_operators():
            from elman.recurrent.uncompiled import uncompiled  # torch._dynamo is imported by now

            return uncompiled(self, x, state, lengths, reset)
        if isinstance(x, PackedSequence):
            return run_packed(self._run, x, state, lengths, reset if reset is None or self.batch_first else reset.t())
        lengths = lengths if lengths is None or isinstance(lengths, Tensor) else torch.tensor(lengths)
        if self.batch_first or not isinstance(x, Tensor) or x.dim() != 3:
            return self._run(x, state, lengths, reset)
        y, state = self._run(x.transpose(0, 1), state, lengths, None if reset is None else reset.t())
        return y.transpose(0, 1), state

    def _run(self, x: Tensor, state: State, lengths: Tensor | None, reset: Tensor | None) -> tuple[Tensor, State]:
        self._check(x, state, lengths, reset)
        reset = None if reset is None else reset.to(x.device)
        if lengths is not None:
            lengths = lengths.to(x.device, torch.int64)
            padding = padding_mask(lengths, x.shape[1])
            x = x.masked_fill(padding[..., None], 0.0)  # values in the padding, NaN too, must reach no gradient
            reset = None if reset is None else reset & ~padding
        initial = self.initial(x.shape[0])
        state = initial if state is None else state
        after: list[States] = []
        for layer in range(self.layers):
            outputs, given = [], x * self.input_mask(x[:, :1]) if self.variational_dropout else x
            for direction in range(self.directions):
                index = len(after)
                span = Span(given, state[index], initial[index], lengths, reset, direction == 1, self.prefix(index))
                y, new = self._cell(index)(given, state[index], functools.partial(self._unroll, index, span))
                outputs.append(y)
                after.append(new)
            y = outputs[0] if self.directions == 1 else torch.cat(outputs, -1)
            x = self.between(layer, x, y)
        return x, tuple(after)

    def _unroll(self, index: int, span: Span, x: Tensor, state: States) -> tuple[Tensor, States]:
        """One direction of one layer; x and state, where a hook has replaced them, instead of those of the span."""
        cell, span = self._cell(index), replace(span, x=x, state=state)
        weights = cell.weights | self.dropped_weights(index)
        if torch.compiler.is_dynamo_compiling():
            text, random = self._operator(index, self.training)
            return run_operator(text, [*weights.values()], span, random)
        with weights_replaced(cell, weights):
            return self.choose(index, span).backend.unroll(cell, span)

    def _has_operators(self) -> bool:
        """Whether `torch.compile` can take each cell as one operator: where `fused` runs and no value is observed."""
        if observed_anywhere():
            return False
        operators = [self._operator(index, self.training)[0] for index in range(len(self.cells))]
        return all(operators)

    def _operator(self, index: int, training: bool) -> tuple[str, bool]:
        """The operator of a cell, computed once by `torch.compile`; empty where another backend runs. training: as the
        layer has it, so that what is compiled depends on it."""
        return self.choose(index).backend.operator(self._cell(index)) or ("", False)

    # as torch.compiler.assume_constant_result marks it, which would import torch._dynamo, for a second, everywhere
    _operator._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def load_torch_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Copies the weights of an `nn.RNN`, `nn.LSTM` or `nn.GRU` with the same sizes, layers and directions.

        The two biases of a gate are added, except those of a GRU's new gate, the second of which is `p_n`.

        Args:
            state_dict: the module's `state_dict()`

        Raises:
            UserError: if the cell is not that of the module, or a weight is missing, unknown or of another shape.

        Example::

            >>> lstm = nn.LSTM(10, 20, num_layers=2, bidirectional=True)
            >>> layer = Recurrent(10, 20, "lstm", layers=2, bidirectional=True)
            >>> layer.load_torch_state_dict(lstm.state_dict())
        """
        weights = from_torch(state_dict, [*self.cells], self.directions)  # type: ignore[list-item]
        own = {f"cells.{index}.{name}": value for index, of in enumerate(weights) for name, value in of.items()}
        self.load_state_dict(self.state_dict() | own)

    def torch_state_dict(self) -> dict[str, Tensor]:
        """The weights by the names of `nn.RNN`, `nn.LSTM` or `nn.GRU`; the inverse of :meth:`load_torch_state_dict`.

        `bias_hh` is 0 except for the new gate of a GRU, since the two biases of any other gate are only ever added.

        Raises:
            UserError: if torch has no module with the equation of the cell.

        Example::

            >>> layer = Recurrent(10, 20, "gru")
            >>> gru = nn.GRU(10, 20, batch_first=True)
            >>> gru.load_state_dict(layer.torch_state_dict())
        """
        return to_torch([*self.cells], self.directions)  # type: ignore[list-item]

    def step(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        """One step: x (B, I) gives the output (B, H) and the state. For many steps take `stepper`."""
        stepper = self.stepper()
        return stepper.step(x, stepper.begin(x) if state is None else state)

    def stepper(self) -> LayerStepper:
        """The layer one step at a time, for loops in which an input depends on an output. Make a new one after the
        weights have changed."""
        return LayerStepper(self)

    def step_functions(self) -> list[StepFunction]:
        """The step of each layer by its backend, as it is now; see `LayerStepper`."""
        return [self._step_function(index) for index in range(self.layers)]

    def _step_function(self, index: int) -> StepFunction:
        cell, weights, masks = self._cell(index), self.dropped_weights(index), dict[int, Tensor | float]()

        def prepare(x: Tensor, state: States) -> StepFunction:
            with weights_replaced(cell, cell.weights | weights):
                return self.choose(index).backend.step_function(cell, self.prefix(index))

        step = cell(torch.empty(0), (), prepare)

        def advance(x: Tensor, state: States) -> tuple[Tensor, States]:
            if len(x) not in masks:
                masks[len(x)] = self.input_mask(x)  # the same in all steps
            with weights_replaced(cell, weights):
                return step(x * masks[len(x)], state)

        return advance if self.training and (self.variational_dropout or weights) else step

    def input_mask(self, x: Tensor) -> Tensor | float:
        """What the input of a layer is multiplied by in all steps, of the size of x; 1 without variational dropout."""
        return dropout(torch.ones_like(x), self.variational_dropout, self.training) if self.variational_dropout else 1.0

    def dropped_weights(self, index: int) -> dict[str, Tensor]:
        """The recurrent matrices of a cell with some entries set to 0; none without weight dropout."""
        if not self.weight_drop or not self.training:
            return {}
        matrices = self._cell(index).recurrent_matrices()
        return {name: dropout(matrix, self.weight_drop, True) for name, matrix in matrices.items()}

    def decoder(self, embedding: Tensor, head: nn.Linear) -> Decoder | None:
        """A decoder that samples blocks of tokens, for an embedding (V, I) and a head (H to V); None where the backend
        that runs has none."""
        chosen = [self.choose(index).backend for index in range(self.layers)]
        if self.directions == 2 or any(backend is not chosen[0] for backend in chosen):
            return None
        return chosen[0].decoder([self._cell(index) for index in range(self.layers)], embedding, head, self.residual)

    def choose(self, index: int = 0, span: Span | None = None) -> Choice:
        """The backend that runs a cell, with the reasons of those that refuse."""
        cell = self._cell(index)
        if holding():
            arguments.check_holds({self.prefix(index): self._cell(index) for index in range(len(self.cells))})
        span = span or Span(torch.zeros(1, 1, cell.input_size, device=cell.device), (), ())
        return choose(self.backend, cell, span, BACKENDS)

    def _cell(self, index: int) -> Cell:
        cell = self.cells[index]
        assert isinstance(cell, Cell)
        return cell

    def prefix(self, index: int) -> str:
        """The prefix of the addresses of a cell's values: `1.`, `2.backward.`, `encoder.1.`."""
        layer, direction = divmod(index, self.directions)
        return f"{self.name}{layer + 1}." + ("backward." if direction else "")

    def between(self, layer: int, x: Tensor, y: Tensor) -> Tensor:
        """The input of the next layer, from the input and the output of this one."""
        if self.residual and layer > 0:
            y = x + y
        return dropout(y, self.dropout, self.training) if self.dropout and layer < self.layers - 1 else y

    def _check(self, x: Tensor, state: State, lengths: Tensor | None, reset: Tensor | None) -> None:
        arguments.check_input(x, self.input_size, self.batch_first)
        arguments.check_dtype("x", x, self._cell(0).dtype)
        if state is not None:
            self.check_state(state, x.shape[0])
        if lengths is not None:
            arguments.check_lengths(lengths, x)
        if reset is not None:
            arguments.check_reset(reset, x)

    def check_state(self, state: State, rows: int) -> None:
        """Raises UserError for a state of other sizes or another dtype, which would be broadcast, or crash a kernel."""
        arguments.check_state(state, rows, len(self.cells), self._cell(0))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, layers={self.layers}, directions={self.directions}"
