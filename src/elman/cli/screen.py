"""What training shows: one line that moves and samples above it in a terminal, plain lines elsewhere."""

import math
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from elman.printable import printable
from elman.training.reporter import Status

WAITING = 0.1  # of the time, from which on it is shown that the network has nothing to do
EVERY = 10.0  # seconds between plain lines


def span(seconds: float | None) -> str:
    """A span of time: 45s, 3m20s, 1h05m."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def shown(value: Any) -> str:
    """A figure in a few characters; "" for what is no single figure."""
    return f"{value:.4g}" if isinstance(value, float) else str(value) if isinstance(value, int | str) else ""


def _validation(status: Status) -> str:
    """The loss of the validation part, and how often it was right; where that cannot be said, in bits."""
    if status.val_loss is None:
        return ""
    bits = f"{status.val_loss / math.log(2):.2f} bits"
    right = bits if status.val_accuracy is None else f"{status.val_accuracy:.1%} right"
    return f" · validation {status.val_loss:.3f} ({right})"


class Screen:
    """A reporter for people."""

    def __init__(self):
        self.console = Console(highlight=False)
        self.bar: Progress | None = None
        self.validation = ""
        self.step = 0
        self.spoke = -math.inf

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            columns = BarColumn(bar_width=20), TextColumn("{task.description}")
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("starting", total=1.0)
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def log(self, line: str) -> None:
        """One line."""
        self.console.print(Text(line, "dim"), soft_wrap=True)

    def status(self, status: Status) -> None:
        """The line that moves; elsewhere a line when the validation loss is new, and now and then."""
        new, self.step = status.val_loss is not None, status.step
        self.validation = _validation(status) if new else self.validation
        waiting = f" · {status.waiting:.0%} waiting for data" if status.waiting >= WAITING else ""
        line = (
            f"step {status.step:,} · loss {status.loss:.3f}{self.validation} · {status.tokens_per_s:,.0f} "
            f"{status.unit}s/s{waiting} · {span(status.seconds_left)} left"
        )
        if self.bar is not None:
            self.bar.update(self.task, completed=status.progress, description=line)
        elif new or time.monotonic() - self.spoke >= EVERY:
            print(line, flush=True)
            self.spoke = time.monotonic()

    def sample(self, text: str) -> None:
        """A few lines of what the model writes."""
        lines = [line for line in printable(text).split("\n") if line.strip()][:5]
        self.log(f"it writes, at step {self.step:,}:")
        for line in lines or [""]:
            if self.bar is not None:
                self.console.print(
                    Text("  | ", "blue") + Text(line), soft_wrap=True, crop=True, overflow="ellipsis", no_wrap=True
                )
            else:
                print("  | " + line)
        sys.stdout.flush()
