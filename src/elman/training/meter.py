"""What a training tells of itself."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from elman.training.progress import Progress
from elman.training.reporter import Status


class Meter:
    """The figures of training since they were last read."""

    def __init__(self, unit: str, device: torch.device, progress: Progress, share: float):
        self.unit, self.device, self.began, self.share = unit, device, progress.seconds, share
        self._restart(progress)

    def _restart(self, progress: Progress) -> None:
        self.nats = torch.zeros((), device=self.device)
        self.count = torch.zeros((), device=self.device)
        self.clipped, self.updates = torch.zeros((), device=self.device), 0
        self.since, self.tokens = progress.seconds, progress.tokens
        self.busy, self.waited = progress.busy, progress.waited

    def add(self, counts: dict[str, Tensor]) -> None:
        """Adds what a batch's `loss` counted; nothing is read back from the device."""
        self.nats += counts["nats"]
        self.count += counts["tokens"]

    def clip(self, clipped: Tensor) -> None:
        """Counts an update, and whether the norm of its gradient was above the bound."""
        self.clipped += clipped
        self.updates += 1

    def seconds(self, progress: Progress) -> float:
        """Since the last reading."""
        return progress.seconds - self.since

    def read(
        self,
        progress: Progress,
        batches: int,
        share: float,
        seen: Mapping[str, float],
        norm: Tensor,
        lr: float,
        stuck: float = 0.0,
    ) -> Status:
        """The status; the next reading begins here."""
        spent, gone = progress.seconds - self.began, share - self.share
        status = Status(
            step=progress.step,
            epoch=progress.epoch + progress.index / batches,
            progress=share,
            seconds=progress.seconds,
            seconds_left=spent * (1 - share) / gone if gone > 0 else None,
            loss=float(self.nats / self.count) if float(self.count) else math.nan,
            val_loss=seen.get("loss"),
            tokens_per_s=(progress.tokens - self.tokens) / max(progress.busy - self.busy, 1e-9),
            grad_norm=float(norm),
            clipped=float(self.clipped) / max(1, self.updates),
            stuck=stuck,
            lr=lr,
            waiting=(progress.waited - self.waited) / max(progress.busy - self.busy, 1e-9),
            val_accuracy=seen.get("accuracy"),
            unit=self.unit,
        )
        self._restart(progress)
        return status
