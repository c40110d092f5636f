"""The contract of a task: how a user's data becomes a model's batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from elman.data.source import Source
from elman.registry import Registry
from elman.tasks.model import Model as Network
from elman.tasks.spec import Spec
from elman.tokenizers.tokenizer import Unknown


@dataclass(frozen=True)
class Dataset:
    """What a task trains on.

    - key: names the content; a run resumes only with the same
    - paths: where it is read from again
    - notes: lines for the user
    - unigram_entropy: nats per unit of predicting nothing but how often each target occurs; None where that is unknown
    """

    train: Source
    valid: Source | None
    test: Source | None
    spec: Spec
    key: str
    paths: list[str]
    notes: list[str] = field(default_factory=list)
    unigram_entropy: float | None = None


@dataclass(frozen=True)
class Reading:
    """How data is read again, by evaluation and inspection.

    - unknown: what to do with a character that the model does not know
    - reset: steps after which the state is reset, for streams
    - log: where lines for the user go
    """

    unknown: Unknown = "error"
    reset: int | None = None
    log: Callable[[str], None] = lambda line: None


TASKS: "Registry[type[Task]]" = Registry("kind of task", "elman.tasks")


class Task(ABC):
    """One kind of task. It has no state: its methods take what they need.

        class Draw(Task, kind="draw", summary="images, painted in steps (DRAW)"):
            Options, Spec, Model = DrawOptions, DrawSpec, DrawModel

    - Options: a frozen dataclass, the home of every hyper-parameter and its default
    - Spec: what a model is built from
    - Model: the network, built as `Model(spec)`
    - unit: what the loss is the mean over
    - lr, clip: learning rate and bound of the gradient where none is given
    - nats: whether the loss is in nats per unit, so that bits have a meaning
    """

    kind: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    Options: ClassVar[type]
    Spec: ClassVar[Any]
    Model: ClassVar[Any]
    unit: ClassVar[str] = "row"
    lr: ClassVar[float] = 0.002
    clip: ClassVar[float] = 1.0
    nats: ClassVar[bool] = False

    def __init_subclass__(cls, kind: str = "", summary: str = "", **keywords: Any):
        super().__init_subclass__(**keywords)
        cls.kind, cls.summary = kind, summary
        if kind:
            TASKS.add(kind, cls)

    @abstractmethod
    def prepare(self, paths: list[str], options: Any, budget: float | None = None, seed: int = 0) -> Dataset:
        """Reads the data and chooses what the options leave open. `budget`: seconds that training may take, where that
        is known; `seed`: of the order of rows."""

    @abstractmethod
    def source(self, spec: Any, paths: list[str], split: str | None, reading: Reading = Reading()) -> Source | None:
        """A split (train, valid, test) of the data that a model was trained on, read again; with `split=None` all of
        other data, encoded in the same way. None where there is no such split."""

    def build(self, spec: Any) -> Network:
        """The network, its weights random."""
        return self.Model(spec)


def kinds() -> dict[str, type[Task]]:
    """All tasks by kind: those of this package, and those whose files were imported."""
    return TASKS.all()


def find(kind: str | Task | type[Task]) -> Task:
    """The task of that kind."""
    if isinstance(kind, Task):
        return kind
    if isinstance(kind, type):
        return kind()
    return TASKS.find(kind)()


def entropy(targets: np.ndarray) -> float:
    """The unigram entropy of targets (N,), in nats."""
    probabilities = np.bincount(targets) / len(targets)
    logs = np.log(probabilities, where=probabilities > 0, out=np.zeros_like(probabilities))
    return -float((probabilities * logs).sum())
