"""The progress of training: a progress bar with samples above it in a terminal, plain lines elsewhere."""

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from elman.cli.half_blocks import half_blocks
from elman.cli.output import metric
from elman.cli.parameters import flags
from elman.printable import printable
from elman.tasks.capabilities import Images
from elman.training.reporter import Status

WAITING = 0.1  # fraction of the time without a batch from which on it is shown
EVERY = 10.0  # seconds between plain lines
LINES = 5  # of a preview
COLUMNS, IMAGE_LINES = 112, 28  # of one of images


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


def means(values: Mapping[str, float]) -> str:
    """Every mean by name, the loss first: `loss 1.234 · correct 91.2%`."""
    others = [metric(name, value) for name, value in values.items() if name != "loss"]
    return " · ".join([f"loss {values['loss']:.3f}", *others])


class Screen:
    """A reporter for people."""

    def __init__(self):
        self.console = Console(highlight=False, markup=False)
        self.bar: Progress | None = None
        self.validation = ""
        self.step = 0
        self.printed = -math.inf

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            columns = BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("starting", total=1.0)
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def log(self, line: str) -> None:
        """One line."""
        self.console.print(Text(printable(flags(line)), "dim"), soft_wrap=True)

    def status(self, status: Status) -> None:
        """Updates the progress bar; elsewhere prints a line after a validation, and at most every 10 seconds."""
        new, self.step = bool(status.val_means), status.step
        self.validation = f" · validation {means(status.val_means)}" if new else self.validation
        waiting = f" · {status.waiting:.0%} waiting for data" if status.waiting >= WAITING else ""
        line = (
            f"step {status.step:,} · {means(status.means)}{self.validation} · {status.units_per_s:,.0f} "
            f"{status.unit}s/s{waiting} · {span(status.seconds_left)} left"
        )
        if self.bar is not None:
            self.bar.update(self.task, completed=status.progress, description=line)
        elif new or time.monotonic() - self.printed >= EVERY:
            print(line, flush=True)
            self.printed = time.monotonic()

    def preview(self, preview: str | Images, path: Path | None) -> None:
        """The first lines of a sample; of images, where they were saved, and in a terminal with enough colours the
        images."""
        if isinstance(preview, Images):
            self.log(f"sample at step {self.step:,}: {path}")
            if self.console.is_terminal and self.console.color_system == "truecolor":
                for line in half_blocks(preview.sheet(), min(self.console.width, COLUMNS), IMAGE_LINES):
                    self.console.print(line)
            return
        lines = [line for line in printable(preview).split("\n") if line.strip()][:LINES]
        self.log(f"sample at step {self.step:,}:")
        for line in lines or [""]:
            if self.bar is not None:
                self.console.print(
                    Text("  | ", "blue") + Text(line), soft_wrap=True, crop=True, overflow="ellipsis", no_wrap=True
                )
            else:
                print("  | " + line)
        sys.stdout.flush()
