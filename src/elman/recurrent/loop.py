"""The reference backend: a Python loop over plain PyTorch. It runs every cell, on every device, and refuses nothing."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from elman.cells.cell import Cell
from elman.cells.draws import Draws, drawing
from elman.cells.tap import Observer, Record, holding, observed, observing, recording, tap
from elman.cells.trace import NotTraceable, trace
from elman.recurrent.backend import Span, States, StepFunction
from elman.recurrent.decoder import Decoder
from elman.recurrent.lengths import padding_mask


class Loop:
    """`cell.step` in a Python loop; the input projection of all steps is one product before it."""

    name = "loop"

    def refuses(self, cell: Cell, span: Span) -> str | None:
        return None

    def unroll(self, cell: Cell, span: Span, draws: Draws | None = None) -> tuple[Tensor, States]:
        inputs, projected = span.x.unbind(1), cell.input_projection(span.x).unbind(1)
        order = range(len(projected))
        times = order[::-1] if span.reverse else order
        inside = None if span.lengths is None else ~padding_mask(span.lengths, len(projected))[..., None]
        reset = reset_steps(span)
        step, state, outputs = _step(cell), span.state, dict[int, Tensor]()
        draws = Draws() if draws is None else draws
        with StepRecorder(span.prefix, observed()) as recorder, drawing(draws):
            for t in times:
                draws.begin(t)
                if reset is not None:
                    here = reset[:, t, None]
                    state = tuple(torch.where(here, a, b) for a, b in zip(span.initial, state, strict=True))
                output, new = cell.result(step(cell.inputs(inputs[t], projected[t]), *state))
                if inside is None:
                    state, outputs[t] = new, output
                else:
                    state = tuple(torch.where(inside[:, t], a, b) for a, b in zip(new, state, strict=True))
                    outputs[t] = torch.where(inside[:, t], output, 0.0)
                recorder.end_step(t, None if inside is None else inside[:, t])
        # under autocast a cell may compute in bfloat16; the state that is carried has the dtype of the weights
        return torch.stack([outputs[t] for t in order], 1), tuple(value.to(cell.dtype) for value in state)

    def step_function(self, cell: Cell, prefix: str) -> StepFunction:
        step, draws, steps = _step(cell), Draws(), itertools.count()

        def advance(x: Tensor, state: States) -> tuple[Tensor, States]:
            with StepRecorder(prefix, observed()) as recorder, drawing(draws):
                draws.begin(next(steps))
                output, state = cell.result(step(cell.inputs(x), *state))
                recorder.end_step(0)
            return output, state

        return advance

    def operator(self, cell: Cell) -> tuple[str, bool] | None:
        return None

    def decoder(self, cells: list[Cell], embedding: Tensor, head: nn.Linear, residual: bool) -> Decoder | None:
        return None


def reset_steps(span: Span) -> Tensor | None:
    """(B, T): True where the state is reset before the step. In reverse a sequence is entered at its end, which is one
    step before the start of the next."""
    if span.reset is None or not span.reverse:
        return span.reset
    return torch.cat((span.reset[:, 1:], torch.zeros_like(span.reset[:, :1])), 1)


def _step(cell: Cell) -> Callable[..., States]:
    """The cell's step; where values are recorded or held, the one that taps all that have a name."""
    if not observed():
        return cell.step
    try:
        graph = trace(cell)
    except NotTraceable:
        return lambda x, *state: _tap_states(cell, cell.step(x, *state))
    return lambda x, *state: graph.run(cell, x, *state)


def _tap_states(cell: Cell, new: States) -> States:
    """The results of a step that could not be traced, tapped once it is over."""
    names = (*((cell.output,) if cell.output else ()), *cell.states)
    return tuple(tap(name, value) for name, value in zip(names, new, strict=True))


class StepRecorder:
    """Collects the tapped values of the steps of one span, and adds them to the record in the order of time."""

    def __init__(self, prefix: str, active: bool):
        self.prefix, self.active = prefix, active
        self.observer = Observer(_held(prefix) if active else {})
        self.steps: dict[int, Mapping[str, Tensor]] = {}
        self.record: Record | None = recording()
        self.scope: Any = None

    def __enter__(self) -> "StepRecorder":
        if self.active:
            self.scope = observing(self.observer)
            self.scope.__enter__()
        return self

    def end_step(self, t: int, inside: Tensor | None = None) -> None:
        """Ends the step at time t. The values of a row past its length, where `inside` (B, 1) is False, have no
        gradient."""
        if self.active and self.record is not None:
            values = self.observer.values
            if inside is not None:
                values = {name: torch.where(inside, value, value.detach()) for name, value in values.items()}
            self.steps[t] = values
        self.observer.values = {}

    def __exit__(self, *error: Any) -> None:
        if self.active:
            self.scope.__exit__(*error)
        if self.record is not None and self.steps and error[0] is None:
            for name in self.steps[0]:
                steps = [self.steps[t][name] for t in range(len(self.steps))]
                self.record.add(self.prefix + name, torch.stack(steps, 1))


def _held(prefix: str) -> dict[str, dict[int, float]]:
    """The held units of one cell: {"c": {137: 1.0}}."""
    held: dict[str, dict[int, float]] = {}
    for address, number in holding().items():
        if address.startswith(prefix):
            name, _, unit = address[len(prefix) :].rpartition(".")
            held.setdefault(name, {})[int(unit)] = number
    return held
