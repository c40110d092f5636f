"""What training tells while it goes on; the command line shows it, a program may listen."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Status:
    """Where training is. Losses in nats a token, or whatever the task counts in."""

    step: int
    epoch: float
    progress: float
    seconds: float
    seconds_left: float | None
    loss: float
    val_loss: float | None
    tokens_per_s: float
    grad_norm: float
    clipped: float
    stuck: float
    lr: float
    waiting: float
    val_accuracy: float | None = None  # share of the predictions that are right, where one can be
    unit: str = "token"

    def line(self) -> dict[str, Any]:
        """As a line of log.jsonl. `bits` are bits a token; `grad_norm` is taken before clipping;
        `clipped` is the share of the updates since the last line that it was above --clip, `stuck` the share of
        the units whose state is the same in every row, `waiting` the share of the time in which there was no batch
        to train on."""
        figures = asdict(self) | {"bits": self.loss / math.log(2)}
        del figures["unit"]
        # JSON has no NaN
        return {name: None if value is None or not math.isfinite(value) else value for name, value in figures.items()}


class Reporter(Protocol):
    """Listens to a training."""

    def log(self, line: str) -> None:
        """One line that the user should read."""
        ...

    def status(self, status: Status) -> None:
        """Where training is, about once a second."""
        ...

    def sample(self, text: str) -> None:
        """What the model writes now."""
        ...


class Silent:
    """Says nothing."""

    def log(self, line: str) -> None:
        """Drops the line."""

    def status(self, status: Status) -> None:
        """Drops the status."""

    def sample(self, text: str) -> None:
        """Drops the sample."""
