"""The contract of a backend, which runs any cell over time, and the choice among them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from elman.cells.cell import Cell
from elman.errors import UserError, unknown
from elman.recurrent.decoder import Decoder

States = tuple[Tensor, ...]
StepFunction = Callable[[Tensor, States], tuple[Tensor, States]]


@dataclass(frozen=True)
class Span:
    """What is run: one cell over the T steps of a batch, in one direction.

    - x (B, T, I): the input
    - state: the states (B, H) before the first step
    - initial: the states (B, H) of a row that is reset
    - lengths (B,): steps of each row
    - reset (B, T) bool: True where a row is reset to `initial` before the step
    - reverse: from the last step to the first
    - prefix: of the addresses of recorded values, `1.` or `2.backward.`
    """

    x: Tensor
    state: States
    initial: States
    lengths: Tensor | None = None
    reset: Tensor | None = None
    reverse: bool = False
    prefix: str = "1."


class Backend(Protocol):
    """Runs cells. Past its length a row keeps its state, and its output is 0."""

    name: str

    def refuses(self, cell: Cell, span: Span) -> str | None:
        """The reason why this backend cannot run this, worded to follow "refuses because"; None if it can."""
        ...

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        """The outputs (B, T, H) and the states (B, H) after the last step."""
        ...

    def step_function(self, cell: Cell, prefix: str) -> StepFunction:
        """A function of x (B, I) and the states that takes one step, to the output and the new states. What is the same
        at every step is prepared once, so a step function is invalid after the weights have changed."""
        ...

    def operator(self, cell: Cell) -> tuple[str, bool] | None:
        """The first argument of `torch.ops.elman.unroll` that computes the same, and whether the step draws random
        numbers; None if this backend is no such operator."""
        ...

    def decoder(self, cells: list[Cell], embedding: Tensor, head: nn.Linear, residual: bool) -> Decoder | None:
        """A decoder that samples blocks of tokens from stacked cells of one kind, for an embedding (V, I) and a linear
        head (H to V); None if this backend has none for them."""
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
    """The backend of that name, or for `auto` the first, fastest first, that does not refuse. A named backend that
    refuses is a UserError with its reason."""
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
