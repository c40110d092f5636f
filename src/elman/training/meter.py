"""Sums over updates, kept on the device of the model."""

import math

import torch
from torch import Tensor

from elman.recurrent.state import State
from elman.tasks.loss import Loss
from elman.training.diagnostics import saturated
from elman.training.evaluate import Evaluation
from elman.training.progress import Progress
from elman.training.reporter import Status


class Meter:
    """Sums of losses and updates since the last status. Nothing is read back from the device in between.

    - unit: what losses are the mean over
    """

    def __init__(self, unit: str, device: torch.device, progress: Progress, done: float):
        self.unit, self.device, self.began, self.before = unit, device, progress.seconds, done
        self.norm, self.means = self._zero(), self._zero()  # means: of the batches of the next update
        self.first_bad = torch.full((), -1, device=device)
        self.sums = dict[str, Tensor]()
        self._restart(progress)

    def _zero(self) -> Tensor:
        return torch.zeros((), device=self.device)

    def _restart(self, progress: Progress) -> None:
        self.count, self.clipped, self.updates = self._zero(), self._zero(), 0
        self.sums = {name: self._zero() for name in self.sums}
        self.counted, self.uncounted = 0, torch.zeros((), dtype=torch.int64, device=self.device)
        self.since, self.busy, self.waited = progress.seconds, progress.busy, progress.waited

    def add(self, loss: Loss) -> None:
        """Adds the loss of a batch."""
        self.means += loss.mean.detach()
        self.count += loss.count
        self.uncounted += loss.count.long()
        for name, value in loss.sums.items():
            self.sums[name] = self.sums.get(name, self._zero()) + value.detach()

    def update(self, step: int, norm: Tensor, clip: float) -> None:
        """Counts an update with the batches added since the last, whether its gradient was clipped, and whether it is
        the first whose loss or gradient is not finite."""
        self.norm, self.updates = norm, self.updates + 1
        self.clipped += norm > clip
        bad = ~torch.isfinite(norm + self.means) & (self.first_bad < 0)
        self.means = self._zero()
        self.first_bad = torch.where(bad, step, self.first_bad)

    def bad_step(self) -> int | None:
        """The first update whose loss or gradient was not finite, if there was one. Reads from the device."""
        step = int(self.first_bad)
        return None if step < 0 else step

    def count_units(self, progress: Progress) -> None:
        """Adds the units since the last call to the progress. Reads from the device."""
        units = int(self.uncounted)
        self.uncounted = torch.zeros_like(self.uncounted)
        self.counted += units
        progress.units += units

    def seconds(self, progress: Progress) -> float:
        """Seconds since the last status."""
        return progress.seconds - self.since

    def read(
        self, progress: Progress, batches: int, done: float, validation: Evaluation | None, lr: float,
        state: State = None,
    ) -> Status:  # fmt: skip
        """The status; sums restart. Reads from the device."""
        spent, gone = progress.seconds - self.began, done - self.before
        self.count_units(progress)
        count, units, busy = float(self.count), self.counted, max(progress.busy - self.busy, 1e-9)
        status = Status(
            step=progress.step,
            epoch=progress.epoch + progress.index / batches,
            progress=done,
            seconds=progress.seconds,
            seconds_left=spent * (1 - done) / gone if gone > 0 else None,
            means={name: float(value) / (count or math.nan) for name, value in self.sums.items()},
            units_per_s=units / busy,
            grad_norm=float(self.norm),
            clipped=float(self.clipped) / max(1, self.updates),
            saturated=saturated(state),
            lr=lr,
            waiting=(progress.waited - self.waited) / busy,
            val_means={} if validation is None else validation.means,
            unit=self.unit,
        )
        self._restart(progress)
        return status
