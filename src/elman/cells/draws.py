"""Random numbers inside a step, by a seed, the number of the step and that of the draw."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from elman.cells.philox import EVERY_STEP, uniform


class Draws:
    """The random numbers of the steps of a sequence. `first` is the number of its first step; the seed is drawn when it
    is needed first."""

    def __init__(self, seed: int | None = None, first: int = 0):
        self._seed, self.first = seed, first
        self._step, self._drawn = first, 0

    def begin(self, t: int) -> None:
        """The next numbers are those of step t, from the first one on."""
        self._step, self._drawn = self.first + t, 0

    def at(self, step: int) -> "Draws":
        """The numbers of the steps from this one on."""
        return Draws(self.seed, step)

    def next_draw(self) -> int:
        """The number of the next draw of the step."""
        self._drawn += 1
        return self._drawn - 1

    @property
    def seed(self) -> int:
        """The seed, drawn from torch's generator of the CPU if it was not yet."""
        if self._seed is None:
            self._seed = int(torch.randint(1 << 62, (1,)))
        return self._seed

    def numbers(self, rows: int, units: int, per: str, draw: int, device: torch.device) -> Tensor:
        """The numbers (rows, units) of a draw."""
        return uniform(self.seed, self._step if per == "step" else EVERY_STEP, draw, rows, units, device)


_draws: ContextVar[Draws | None] = ContextVar("draws", default=None)


@contextmanager
def drawing(draws: Draws) -> Iterator[None]:
    """Within it, steps draw their random numbers from there."""
    token = _draws.set(draws)
    try:
        yield
    finally:
        _draws.reset(token)


def rand_like(value: Tensor, per: str) -> Tensor:
    """The numbers for a value (B, H), the next ones of the step. Outside of `drawing` they are those of torch. For a
    value of bfloat16 they are float32: rounded they could be 1, and a comparison with a probability would be another
    one."""
    draws, dtype = _draws.get(), torch.promote_types(value.dtype, torch.float32)
    if draws is None:
        return torch.rand_like(value, dtype=dtype)
    return draws.numbers(len(value), value.shape[-1], per, draws.next_draw(), value.device).to(dtype)
