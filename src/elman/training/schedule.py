"""The length of a training, and the learning rate over it."""

import math
from dataclasses import dataclass
from typing import Literal

from elman.options import CountFloat, CountInt, PositiveFloat

Unit = Literal["for", "epochs", "steps"]
FINAL = 0.02  # of the learning rate, at the end


@dataclass(frozen=True)
class Schedule:
    """The length of one training: a span of time, epochs, or updates.

    - unit: for (seconds), epochs or steps; amount: in this unit
    - start: the amount that was reached before, start_step the updates: further training of a finished run has a
      schedule of its own, with its own warm-up
    """

    unit: Unit
    amount: PositiveFloat
    start: CountFloat = 0.0
    start_step: CountInt = 0

    def progress(self, seconds: float, epochs: float, steps: int) -> float:
        """The fraction that is done, from 0 to 1."""
        reached = {"for": seconds, "epochs": epochs, "steps": float(steps)}[self.unit]
        return min(1.0, round((reached - self.start) / self.amount, 12))  # epochs are sums of fractions

    def factor(self, progress: float, step: int, warmup: int) -> float:
        """The factor of the learning rate: linear warm-up over `warmup` updates, at most a tenth of the schedule, then
        half a cosine down to 2 %."""
        warm = min(1.0, max((step - self.start_step + 1) / max(warmup, 1), progress / 0.1))
        return warm * (FINAL + (1 - FINAL) * (1 + math.cos(math.pi * progress)) / 2)
