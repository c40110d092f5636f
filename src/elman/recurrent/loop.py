"""The reference backend: a loop in Python over plain PyTorch. Runs every cell, on every device, with everything."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.tap import Observer, Record, holding, observed, observing, recording, tap
from elman.cells.trace import NotTraceable, trace
from elman.recurrent.backend import Span, States
from elman.recurrent.lengths import padding_mask


class Loop:
    """`cell.step` in a Python loop; the input projection is one product before it."""

    name = "loop"

    def refuses(self, cell: Cell, span: Span) -> str | None:
        return None

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        shares = cell.project(span.x).unbind(1)
        order = range(len(shares))
        times = order[::-1] if span.reverse else order
        alive = None if span.lengths is None else ~padding_mask(span.lengths, len(shares))[..., None]
        fresh = starts(span)
        step, state, outputs = _step(cell), span.state, dict[int, Tensor]()
        with Watch(span.place, observed()) as watch:
            for t in times:
                if fresh is not None:
                    new_here = fresh[:, t, None]
                    state = tuple(torch.where(new_here, a, b) for a, b in zip(span.initial, state, strict=True))
                new = step(cell.split(cell.gates, shares[t]), *state)
                if alive is None:
                    state, outputs[t] = new, new[0]
                else:
                    state = tuple(torch.where(alive[:, t], a, b) for a, b in zip(new, state, strict=True))
                    outputs[t] = torch.where(alive[:, t], new[0], 0.0)
                watch.keep(t, None if alive is None else alive[:, t])
        # under autocast a cell may compute in bf16; what is carried on has the precision of the weights
        return torch.stack([outputs[t] for t in order], 1), tuple(value.to(cell.W.dtype) for value in state)

    def stepper(self, cell: Cell, place: str) -> Callable[[Tensor, States], States]:
        step = _step(cell)

        def advance(x: Tensor, state: States) -> States:
            with Watch(place, observed()) as watch:
                state = step(cell.split(cell.gates, cell.project(x)), *state)
                watch.keep(0)
            return state

        return advance


def starts(span: Span) -> Tensor | None:
    """(B, T): where the state starts anew before the step. Backwards, a sequence is entered at its end: one step
    before the start of the next."""
    if span.fresh is None or not span.reverse:
        return span.fresh
    return torch.cat((span.fresh[:, 1:], torch.zeros_like(span.fresh[:, :1])), 1)


def _step(cell: Cell) -> Callable[..., States]:
    """The cell's step; where someone looks inside, the one that says its named values."""
    if not observed():
        return cell.step
    try:
        graph = trace(cell)
    except NotTraceable:
        return lambda x, *state: _say_states(cell, cell.step(x, *state))
    return lambda x, *state: graph.run(cell, x, *state)


def _say_states(cell: Cell, new: States) -> States:
    """A step that could not be traced says what it taps itself, and its states once it is over."""
    return tuple(tap(name, value) for name, value in zip(cell.states, new, strict=True))


class Watch:
    """Collects what the steps of one span say, and puts it into the record in the order of time."""

    def __init__(self, place: str, active: bool):
        self.place, self.active = place, active
        self.observer = Observer(_held(place) if active else {})
        self.seen: dict[int, Mapping[str, Tensor]] = {}
        self.record: Record | None = recording()
        self.scope: Any = None

    def __enter__(self) -> "Watch":
        if self.active:
            self.scope = observing(self.observer)
            self.scope.__enter__()
        return self

    def keep(self, t: int, alive: Tensor | None = None) -> None:
        """Ends the step at time t. What a row says past its length has no gradient: alive (B, 1)."""
        if self.active and self.record is not None:
            said = self.observer.values
            if alive is not None:
                said = {name: torch.where(alive, value, value.detach()) for name, value in said.items()}
            self.seen[t] = said
        self.observer.values = {}

    def __exit__(self, *error: Any) -> None:
        if self.active:
            self.scope.__exit__(*error)
        if self.record is not None and self.seen and error[0] is None:
            for name in self.seen[0]:
                steps = [self.seen[t][name] for t in range(len(self.seen))]
                self.record.add(self.place + name, torch.stack(steps, 1))


def _held(place: str) -> dict[str, dict[int, float]]:
    """The held units of one place: {"c": {137: 1.0}}."""
    held: dict[str, dict[int, float]] = {}
    for key, number in holding().items():
        if key.startswith(place):
            name, _, unit = key[len(place) :].rpartition(".")
            held.setdefault(name, {})[int(unit)] = number
    return held
