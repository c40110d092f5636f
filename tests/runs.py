"""Trainings that are interrupted, what they leave in their run folders, and what they report."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from elman.tasks.capabilities import Images
from elman.training.reporter import Silent, Status
from elman.training.trained_model import TrainedModel

SAVED = ("model.safetensors", *(f"resume/{name}.safetensors" for name in ("model", "optimizer", "state")))
FINAL = ("val_loss", "val_bits", "val_count", "val_metrics", "units", "steps", "epochs", "best_step", "parameters")


class RecordingReporter(Silent):
    """A reporter that keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.statuses: list[Status] = []
        self.previews: list[str | Images] = []

    def log(self, line: str) -> None:
        self.lines.append(line)

    def status(self, status: Status) -> None:
        self.statuses.append(status)

    def preview(self, preview: str | Images, path: Path | None = None) -> None:
        self.previews.append(preview)


@contextmanager
def at_each_update(action: Callable[[int, Any], None]) -> Iterator[None]:
    """Calls `action(number, optimizer)` after every update in this process, the first being 1."""
    numbers = count(1)
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: action(next(numbers), optimizer))
    try:
        yield
    finally:
        handle.remove()


def interrupt_after(update: int, number: int = signal.SIGINT) -> Any:
    """Ctrl-C during an update."""
    return at_each_update(lambda at, _: signal.raise_signal(number) if at == update else None)


def summary(run: Path) -> dict[str, Any]:
    """The content of summary.json."""
    return json.loads((run / "summary.json").read_text())


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_same(run: Path, unbroken: Path, case: str, killed: bool = False) -> None:
    """Asserts that a run that was interrupted, or killed, and resumed left what an unbroken one did."""
    ours, theirs = _content(run), _content(unbroken)
    if killed:  # a line of the log may be lost with the process; none is wrong
        assert set(ours.pop("validations")) <= set(theirs.pop("validations")), case
        ours["random"], theirs["random"] = (found.pop("random")["torch"] for found in (ours, theirs))
    assert [name for name in theirs if ours[name] != theirs[name]] == [], case


def _content(run: Path) -> dict[str, Any]:
    files: dict[str, Any] = {name: (run / name).read_bytes() for name in SAVED}
    files["random"] = json.loads((run / "resume" / "training.json").read_bytes())["random"]
    files["validations"] = [(line["step"], line["val_loss"]) for line in read_log(run) if line["val_loss"] is not None]
    return files | {key: summary(run).get(key) for key in FINAL}


def source(trained: TrainedModel, split: str | None = "valid", *paths: object) -> Any:
    """A split of the data of a run, or all of other data, read again."""
    named = [str(path) for path in paths] or trained.run.data_paths()
    return trained.task.source(trained.spec, named, split)


def measure(trained: TrainedModel, split: str = "valid", limit: int | None = None) -> dict[str, Any]:
    """The metrics of a run on a split of its data."""
    return trained.task.measure(trained.model, source(trained, split), limit)  # type: ignore[attr-defined]
