"""The recurrent layer: cells stacked in depth, run over time, in one or two directions."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.cells.cell import Cell
from elman.cells.registry import CellSpec, make
from elman.cells.tap import holding, observed
from elman.cells.trace import value_names
from elman.errors import UserError, unknown
from elman.recurrent.backend import Backend, Choice, Span, States, choose
from elman.recurrent.decoder import Decoder
from elman.recurrent.dropout import dropout
from elman.recurrent.fused import Fused
from elman.recurrent.lengths import padding_mask
from elman.recurrent.loop import Loop
from elman.recurrent.native import Native
from elman.recurrent.state import State, over

BACKENDS: tuple[Backend, ...] = (Fused(), Native(), Loop())  # fastest first


class Recurrent(nn.Module):
    """Cells over time.

    x (B, T, I) gives y (B, T, D H), D being 2 when bidirectional. The state is a tuple with, for each layer and each of
    its directions (forward first), the cell's states, each (B, H).

    - cell: a name with options (`lstm:forget_bias=0`), a class, or `"file.py:Class"`
    - dropout: the share of a layer's outputs set to 0 in training, between layers
    - residual: from the second layer on, a layer's input is added to its output
    - learn_initial_state: the state before the first step is learned; otherwise it is 0
    - backend: `auto` takes the fastest that does not refuse; one that is named and refuses is an error
    - name: stands before the names of its values, `encoder.1.h`, where a model has several layers
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
    ):
        super().__init__()
        if min(input_size, hidden_size, layers) < 1 or not 0 <= dropout < 1:
            raise UserError(
                f"sizes and layers must be above 0 and dropout in [0, 1), not input_size={input_size}, "
                f"hidden_size={hidden_size}, layers={layers}, dropout={dropout}"
            )
        if backend not in ("auto", *(known.name for known in BACKENDS)):
            raise unknown("backend", backend, ["auto", *(known.name for known in BACKENDS)])
        self.input_size, self.hidden_size, self.layers = input_size, hidden_size, layers
        self.directions = 2 if bidirectional else 1
        self.dropout, self.residual, self.backend = dropout, residual, backend
        self.name = name and f"{name}."
        inputs = [input_size] + [self.directions * hidden_size] * (layers - 1)
        self.cells = nn.ModuleList(make(cell, size, hidden_size) for size in inputs for _ in range(self.directions))
        states = len(self._cell(0).states)
        self.learned = nn.ParameterList(
            nn.Parameter(torch.zeros(states, hidden_size)) for _ in range(len(self.cells) if learn_initial_state else 0)
        )

    @property
    def output_size(self) -> int:
        """D H, the size of an output."""
        return self.directions * self.hidden_size

    @property
    def cell_name(self) -> str:
        """The name of its cells."""
        return self._cell(0).name

    @property
    def sizes(self) -> str:
        """Its layers, units and cell in a few words."""
        both = ", bidirectional" if self.directions == 2 else ""
        return f"{self.layers} x {self.hidden_size} {self.cell_name}{both}"

    def initial(self, batch_size: int) -> tuple[States, ...]:
        """The state before the first step, learned or 0."""
        if len(self.learned):
            return tuple(tuple(row.expand(batch_size, -1) for row in learned) for learned in self.learned)
        zero = self._cell(0).W.new_zeros(batch_size, self.hidden_size)
        return tuple(tuple(zero for _ in self._cell(0).states) for _ in self.cells)

    def reset_state(self, state: State, rows: Tensor) -> State:
        """The state with these rows, (B,) bool, begun anew."""
        self._check_state(state, len(rows))
        rows, pairs = rows[:, None].to(state[0][0].device), zip(self.initial(len(rows)), state, strict=True)
        return tuple(tuple(map(torch.where, itertools.repeat(rows), *each)) for each in pairs)

    def forward(
        self, x: Tensor, state: State = None, lengths: Tensor | None = None, fresh: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """The outputs (B, T, D H) and the state after the last step.

        lengths (B,): where a row is past its length its state stands still and its output is 0; 0 is allowed, and the
        rows need no order. fresh (B, T) bool: where True the row starts anew, from the initial state, before the step.
        """
        self._check(x, state, lengths, fresh)
        fresh = None if fresh is None else fresh.to(x.device)
        if lengths is not None:
            lengths = lengths.to(x.device, torch.int64)
            ended = padding_mask(lengths, x.shape[1])
            x = x.masked_fill(ended[..., None], 0.0)  # what stands in the padding, NaN too, must reach no gradient
            fresh = None if fresh is None else fresh & ~ended
        initial = self.initial(len(x))
        state = initial if state is None else state
        after: list[States] = []
        for layer in range(self.layers):
            outputs = []
            for direction in range(self.directions):
                index = len(after)
                span = Span(x, state[index], initial[index], lengths, fresh, direction == 1, self.place(index))
                y, new = self.choose(index, span).backend.unroll(self._cell(index), span)
                outputs.append(y)
                after.append(new)
            y = outputs[0] if self.directions == 1 else torch.cat(outputs, -1)
            x = self._between(layer, x, y)
        return x, tuple(after)

    def step(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        """One step: x (B, I) gives the output (B, H) and the state. For many steps take `unrolled`."""
        return self.unrolled()(x, state)

    def stepper(self):
        from elman.recurrent.stepper import LayerStepper

        return LayerStepper(self)

    def unrolled(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """The step as a function of x (B, I) and the state, for a loop in which an input depends on an output. What is
        the same at every step is done once, here: make a new one after the weights have changed."""
        if self.directions == 2:
            raise UserError("a bidirectional layer cannot go step by step: its backward direction begins at the end")

        def prepare() -> list[Callable[[Tensor, States], States]]:
            cells = enumerate(self._cell(index) for index in range(self.layers))
            return [self.choose(index).backend.stepper(cell, self.place(index)) for index, cell in cells]

        steps, seen, ours = prepare(), observed(), None

        def advance(x: Tensor, state: State = None) -> tuple[Tensor, State]:
            nonlocal steps, seen, ours
            if observed() != seen:  # someone began, or ceased, to look inside
                steps, seen, ours = prepare(), observed(), None
            state = self.initial(len(x)) if state is None else state
            if state is not ours:  # what came out of here is right
                self._check_state(state, len(x))
            after = []
            for layer, step in enumerate(steps):
                after.append(step(x, state[layer]))
                x = self._between(layer, x, after[-1][0])
            ours = tuple(after)
            return x, ours

        return advance

    def decoder(self, lookup: Tensor, head: nn.Linear) -> Decoder | None:
        """What writes tokens without coming back to Python after each, for a lookup (V, I) and a head (H to V); None
        where the backend that runs has none."""
        chosen = [self.choose(index).backend for index in range(self.layers)]
        make = getattr(chosen[0], "decoder", None)
        if make is None or self.directions == 2 or any(backend is not chosen[0] for backend in chosen):
            return None
        return make([self._cell(index) for index in range(self.layers)], lookup, head, self.residual)

    def choose(self, index: int = 0, span: Span | None = None) -> Choice:
        """The backend that runs a cell, and why."""
        cell = self._cell(index)
        if holding():
            self._check_holds()
        return choose(self.backend, cell, span or Span(cell.W.new_zeros(1, 1, cell.input_size), (), ()), BACKENDS)

    def _cell(self, index: int) -> Cell:
        cell = self.cells[index]
        assert isinstance(cell, Cell)
        return cell

    def place(self, index: int) -> str:
        """Before the names of a cell's values: `1.`, `2.backward.`, `encoder.1.`."""
        layer, direction = divmod(index, self.directions)
        return f"{self.name}{layer + 1}." + ("backward." if direction else "")

    def _between(self, layer: int, x: Tensor, y: Tensor) -> Tensor:
        """What the next layer gets."""
        if self.residual and layer > 0:
            y = x + y
        return dropout(y, self.dropout, self.training) if self.dropout and layer < self.layers - 1 else y

    def _check(self, x: Tensor, state: State, lengths: Tensor | None, fresh: Tensor | None) -> None:
        if x.dim() != 3 or x.shape[-1] != self.input_size or not x.shape[1]:
            raise UserError(f"x must be (B, T, {self.input_size}) with T above 0, not {tuple(x.shape)}")
        if state is not None:
            self._check_state(state, len(x))
        if lengths is not None:
            if lengths.shape != x.shape[:1] or lengths.is_floating_point():
                raise UserError(
                    f"lengths must be {len(x)} integers, one a row, not {lengths.dtype} {tuple(lengths.shape)}"
                )
            if len(x) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= x.shape[1]:
                raise UserError(f"lengths must be from 0 to {x.shape[1]}, not {lengths.min()} to {lengths.max()}")
        if fresh is not None and (fresh.shape != x.shape[:2] or fresh.dtype != torch.bool):
            raise UserError(f"fresh must be bool {tuple(x.shape[:2])}, not {fresh.dtype} {tuple(fresh.shape)}")

    def _check_state(self, state: State, rows: int) -> None:
        """A state of other sizes would be broadcast, or crash a kernel."""
        count, right = len(self._cell(0).states), (rows, self.hidden_size)
        if len(state) != len(self.cells) or any(len(of) != count or any(v.shape != right for v in of) for of in state):
            raise UserError(
                f"the state must be a tuple of {len(self.cells)}, one for each layer and direction, of {count} tensors "
                f"{right} ({', '.join(self._cell(0).states)}), not {over(state, lambda value: tuple(value.shape))}"
            )

    def _check_holds(self) -> None:
        names = {}
        for index in range(len(self.cells)):
            names |= {self.place(index) + name: None for name in value_names(self._cell(index))}
        for key in holding():
            place, _, unit = key.rpartition(".")
            if place not in names:
                raise unknown("named value", place, names)
            if int(unit) >= self.hidden_size:
                raise UserError(f"there is no unit {unit}: {place} has the units 0 to {self.hidden_size - 1}")

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, layers={self.layers}, directions={self.directions}"
