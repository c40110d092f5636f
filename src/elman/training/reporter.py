"""Reports of a training while it runs, for the command line or a program."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from elman.tasks.capabilities import Images


@dataclass(frozen=True)
class Status:
    """The position of a training, and its means since the last status.

    - means: of every sum of the loss since the last status; val_means: over the validation split, empty if it was not
      evaluated
    - units_per_s: units trained on per second, without validation; unit: what the loss is the mean over
    - grad_norm: of the last update, before clipping; clipped: fraction of the updates that were clipped
    - saturated: fraction of the units whose state is the same in all rows
    - lr: learning rate; waiting: fraction of the time spent waiting for a batch
    """

    step: int
    epoch: float
    progress: float
    seconds: float
    seconds_left: float | None
    means: Mapping[str, float]
    units_per_s: float
    grad_norm: float
    clipped: float
    saturated: float
    lr: float
    waiting: float
    val_means: Mapping[str, float] = field(default_factory=dict)
    unit: str = "row"

    @property
    def loss(self) -> float:
        """The mean loss since the last status."""
        return self.means.get("loss", math.nan)

    @property
    def val_loss(self) -> float | None:
        """The validation loss, if it was evaluated."""
        return self.val_means.get("loss")

    def line(self) -> dict[str, Any]:
        """The line of log.jsonl: every mean under its own name, validation means with the prefix `val_`."""
        names = ("step", "epoch", "progress", "seconds", "seconds_left")
        more = ("units_per_s", "grad_norm", "clipped", "saturated", "lr", "waiting")
        values: dict[str, Any] = {name: getattr(self, name) for name in names} | {"loss": None, "val_loss": None}
        values |= self.means
        values |= {f"val_{name}": value for name, value in self.val_means.items()}
        values |= {name: getattr(self, name) for name in more}
        # JSON has no NaN
        return {name: None if value is None or not math.isfinite(value) else value for name, value in values.items()}


class Reporter(Protocol):
    """Receives the reports of a training."""

    def log(self, line: str) -> None:
        """One line for the user."""
        ...

    def status(self, status: Status) -> None:
        """The status, about once a second."""
        ...

    def preview(self, preview: str | Images, path: Path | None) -> None:
        """A sample of the model; `path`: where images were saved."""
        ...


class Silent:
    """A reporter that drops everything."""

    def log(self, line: str) -> None:
        """Drops the line."""

    def status(self, status: Status) -> None:
        """Drops the status."""

    def preview(self, preview: str | Images, path: Path | None) -> None:
        """Drops the preview."""
