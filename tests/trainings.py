"""Small trainings of a language model, and what they leave."""

import itertools
import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from elman.tasks.capabilities import Images
from elman.tasks.lm import LM, LMModel, LMOptions
from elman.tasks.task import Dataset
from elman.training import loop
from elman.training.api import train
from elman.training.device import Precision
from elman.training.reporter import Silent, Status
from elman.training.trained_model import TrainedModel

FLOAT = Precision(torch.float32, "in a test")
SIZES = {"hidden": 8, "embedding": 8, "batch_size": 4, "seq_len": 8, "valid": 0.25}
TINY = SIZES | {"steps": 20, "eval_every": 6, "precision": "float32", "device": "cpu", "preview": False}
SAVED = ("model.safetensors", *(f"resume/{name}.safetensors" for name in ("model", "optimizer", "state")))
FINAL = ("val_loss", "val_bits", "val_count", "val_metrics", "units", "steps", "epochs", "best_step", "parameters")
OWN_CELLS = """
import random
import numpy as np
import torch
import elman

class Own(elman.Cell):
    gates = ("z", "n")
    start = {"z": 1.0, "p_n": 0.5}

    def step(self, x, h):
        z = torch.sigmoid(x.z + self.recur("z", of=h).z)
        n = torch.tanh(x.n + self.recur("n", of=z * h).n + self.p_n * h)
        return ((1 - z) * h + z * n,)

class Noisy(elman.Cell):  # `roll` cannot be traced
    gates = ("n",)

    def step(self, x, h):
        noise = random.random() + np.random.random() + torch.rand(())
        return (torch.tanh(x.n + torch.roll(h, 1, -1) + 0.1 * noise),)
"""


def prose(length: int, seed: int = 0) -> str:
    """A text of that many characters."""
    words = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs", "run", "by")
    draw = random.Random(seed)
    return " ".join(draw.choice(words) for _ in range(length))[:length]


def fit(text: Path, out: Path, **options: Any) -> TrainedModel:
    """A small training. The states of Python's and NumPy's generators, which a user's cell may draw from, are set."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    return train("lm", text, out=out, **(TINY | options))


def untrained(text: Path, **sizes: Any) -> tuple[LMModel, Dataset]:
    """The model and the data with which `fit` starts."""
    data = LM().prepare([str(text)], LMOptions(**(SIZES | sizes)))
    torch.manual_seed(0)
    return LMModel(data.spec), data


def split(trained: TrainedModel, name: str) -> Any:
    """A split of the data of a run."""
    return trained.task.source(trained.spec, trained.run.data_paths(), name)


@contextmanager
def at_each_update(action: Callable[[int, torch.optim.Optimizer], object]) -> Iterator[None]:
    """Calls `action(number, optimizer)` after every update in this process, the first being 1."""
    numbers = itertools.count(1)
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: action(next(numbers), optimizer))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def before_each_update(action: Callable[[list[torch.Tensor]], object]) -> Iterator[None]:
    """Calls `action(gradients)` with the gradients that the optimizer takes."""
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: action([w.grad.clone() for w in optimizer.param_groups[0]["params"]])
    )
    try:
        yield
    finally:
        handle.remove()


def interrupt_after(update: int, number: int = signal.SIGINT) -> Any:
    """Ctrl-C during that update."""
    return at_each_update(lambda count, _: signal.raise_signal(number) if count == update else None)


def learning_rates(action: Callable[[], object]) -> list[float]:
    """The learning rates of the updates of an action."""
    found = []
    with at_each_update(lambda _, optimizer: found.append(optimizer.param_groups[0]["lr"])):
        action()
    return found


class Recorder(Silent):
    """Records the reports of a training."""

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


class Clock:
    """A clock that advances by `tick` seconds each time it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tick: float):
        reads = itertools.count()
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: tick * next(reads)))


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def results(run: Path) -> dict[str, Any]:
    """All that must be equal whether a training was stopped or not."""
    files: dict[str, Any] = {name: (run / name).read_bytes() for name in SAVED}
    files["random"] = json.loads((run / "resume" / "training.json").read_bytes())["random"]
    files["validations"] = [(line["step"], line["val_loss"]) for line in log(run) if line["val_loss"] is not None]
    return files | {key: summary(run).get(key) for key in FINAL}


def assert_same(run: Path, unbroken: Path, case: str, killed: bool = False) -> None:
    """The two runs are equal, bit for bit."""
    ours, theirs = results(run), results(unbroken)
    if killed:  # a line of the log may be lost with the process; none is wrong
        assert set(ours.pop("validations")) <= set(theirs.pop("validations")), case
        ours["random"], theirs["random"] = (found.pop("random")["torch"] for found in (ours, theirs))
    assert [name for name in theirs if ours[name] != theirs[name]] == [], case


def assert_equal_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(dict(a), dict(b), rtol=0, atol=0)
