"""The learning rate over a stretch of training."""

import math
from dataclasses import dataclass

FLOOR = 0.02  # of the highest rate, at the end


@dataclass(frozen=True)
class Stretch:
    """What one command trains: so much time, so many epochs, or so many updates, from where it began.

    `unit` is for (seconds), epochs or steps; `start` is what had been reached of it, and `start_step` the updates,
    before: more training on a finished run is a new stretch with its own warm-up.
    """

    unit: str
    amount: float
    start: float = 0.0
    start_step: int = 0

    def progress(self, seconds: float, epochs: float, steps: int) -> float:
        """How much of the stretch is done, 0 to 1."""
        reached = {"for": seconds, "epochs": epochs, "steps": float(steps)}[self.unit]
        return min(1.0, round((reached - self.start) / self.amount, 12))  # epochs are sums of fractions

    def rate(self, progress: float, step: int, warmup: int) -> float:
        """The factor of the highest rate: linear warm-up over `warmup` updates, at most a tenth of the stretch, then
        half a cosine down to 2 %."""
        warm = min(1.0, max((step - self.start_step + 1) / max(warmup, 1), progress / 0.1))
        return warm * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * progress)) / 2)
