"""Small trainings of a language model."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from elman.tasks.lm import LM, LMModel, LMOptions
from elman.tasks.task import Dataset
from elman.training import loop
from elman.training.api import train
from elman.training.device import Precision
from elman.training.trained_model import TrainedModel
from runs import at_each_update

FLOAT = Precision(torch.float32, "in a test")
SIZES = {"hidden": 8, "embedding": 8, "batch_size": 4, "seq_len": 8, "valid": 0.25}
TINY = SIZES | {"steps": 20, "eval_every": 6, "precision": "float32", "device": "cpu", "preview": False}
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


def learning_rates(action: Callable[[], object]) -> list[float]:
    """The learning rates of the updates of an action."""
    found = []
    with at_each_update(lambda _, optimizer: found.append(optimizer.param_groups[0]["lr"])):
        action()
    return found


class Clock:
    """A clock that advances by `tick` seconds each time it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tick: float):
        reads = itertools.count()
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: tick * next(reads)))


def assert_equal_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(dict(a), dict(b), rtol=0, atol=0)
