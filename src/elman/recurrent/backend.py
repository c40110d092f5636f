"""The contract of a backend: one way to run any cell over time. And the choice among them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from elman.cells.cell import Cell
from elman.errors import UserError, unknown

States = tuple[Tensor, ...]


@dataclass(frozen=True)
class Span:
    """What is run: one cell over the T steps of a batch, in one direction.

    x (B, T, I) the input; state: the cell's states (B, H) before the first step; initial: the states of a row that
    starts anew, (B, H) each; lengths (B,) or None; fresh (B, T) bool or None: True where a row starts anew before the
    step; reverse: from the last step to the first; place: the prefix of recorded names, `1.` or `2.backward.`
    """

    x: Tensor
    state: States
    initial: States
    lengths: Tensor | None = None
    fresh: Tensor | None = None
    reverse: bool = False
    place: str = "1."


class Backend(Protocol):
    """Runs cells. Where a row is past its length its state stands still and its output is 0."""

    name: str

    def refuses(self, cell: Cell, span: Span) -> str | None:
        """Why this backend cannot run this, in words that follow 'refuses because'; None when it can."""
        ...

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        """The outputs (B, T, H) and the states (B, H) after the last step."""
        ...

    def stepper(self, cell: Cell, place: str) -> Callable[[Tensor, States], States]:
        """A function of x (B, I) and the states that takes one step, for loops in which the input depends on the
        output. What is the same at every step is done once, here: do not keep it beyond an update of the weights."""
        ...


@dataclass(frozen=True)
class Choice:
    """The backend that runs, and why the faster ones do not."""

    backend: Backend
    refusals: dict[str, str]

    def __str__(self) -> str:
        why = "; ".join(f"{name} refuses because {reason}" for name, reason in self.refusals.items())
        return self.backend.name + (f" ({why})" if why else "")


def choose(name: str, cell: Cell, span: Span, backends: tuple[Backend, ...]) -> Choice:
    """The backend of that name, or for `auto` the first, they come fastest first, that does not refuse. One that was
    named and refuses is a UserError with its reason."""
    if name == "auto":
        refusals: dict[str, str] = {}
        for backend in backends:
            reason = backend.refuses(cell, span)
            if reason is None:
                return Choice(backend, refusals)
            refusals[backend.name] = reason
        raise UserError(f"no backend runs the cell {cell.name}: {refusals}")
    known = {backend.name: backend for backend in backends}
    if name not in known:
        raise unknown("backend", name, ["auto", *known])
    reason = known[name].refuses(cell, span)
    if reason is not None:
        raise UserError(f"the backend '{name}' refuses the cell {cell.name} because {reason}; 'auto' takes another")
    return Choice(known[name], {})
