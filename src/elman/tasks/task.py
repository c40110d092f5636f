"""The contract of a task, and of the data it trains on."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

import elman.tasks
from elman import errors
from elman.data.source import Batch as Batch
from elman.data.source import to as to
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tokenizers.tokenizer import Unknown

Answer = dict[str, Any]  # the answer itself first, then what belongs to it


class Source(Protocol):
    """Batches that can be asked for in any order, so that a run can go on where it stopped. `str` tells its sizes;
    `workers` is how many processes are worth having to make batches: 0 where that takes next to no time."""

    @property
    def workers(self) -> int: ...

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def batch(self, epoch: int, index: int) -> Batch:
        """One batch. No state is carried into index 0."""
        ...


@dataclass
class Data:
    """What a task trains on. `key` names the content: a run goes on only with the same. `config` is what is needed to
    read an input when the model is used; `notes` are lines to log the user; `floor` is the loss, nats a token, of
    knowing nothing but how often each target comes."""

    train: Source
    valid: Source | None
    test: Source | None
    key: str
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    floor: float | None = None


def entropy(targets: np.ndarray) -> float:
    """Nats a target (N,), of knowing how often each comes."""
    shares = np.bincount(targets) / len(targets)
    return -float((shares * np.log(shares, where=shares > 0, out=np.zeros_like(shares))).sum())


class Stepper(Protocol):
    """All that decoding knows of a generative task."""

    device: torch.device

    def begin(self, batch: Batch) -> State:
        """The state before the first token."""
        ...

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """token (B,) int64, or a distribution (B, V), gives the logits (B, V) of the next token, and the state."""
        ...

    # A stepper may also have `block(token (B,), state, uniforms (n, B), how: Sampling)`: the next n tokens (n, B) and
    # the state, the same as `step` and `how` would give one after another; or None, to be asked step by step.


class Task(nn.Module, ABC):
    """A model and its loss.

    A subclass has a `kind`, its word on the command line, and `Options`, a dataclass. Its constructor takes keyword
    arguments that JSON can hold; `config` returns them.
    """

    kind: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    unit: ClassVar[str] = "token"  # of what the loss is the mean over
    lr: ClassVar[float] = 0.01  # learning rate where none is given
    clip: ClassVar[float] = 1.0  # where the gradient is clipped if nothing is said
    next_step: ClassVar[str] = "let it write: elman sample"  # what to do with a trained model
    asks: ClassVar[tuple[str, ...]] = ()  # what `elman predict` needs of each row: text, source, image, ...
    Options: ClassVar[type]

    @classmethod
    @abstractmethod
    def prepare(
        cls, paths: list[str], options: Any, seconds: float | None = None, key: str | None = None, seed: int = 0
    ) -> tuple[Any, Data]:
        """The options with every size chosen, and the data. `seconds`: how long training may take, where that is
        known; `key`: the content a run was begun with, when it is read again; `seed`: of the order of examples."""

    @classmethod
    @abstractmethod
    def new(cls, options: Any, data: Data) -> "Task":
        """The model, its weights fresh."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON."""

    @abstractmethod
    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """The mean loss; the state to carry to the next batch, or None; and sums: `nats` and `tokens` at least, `right`
        where a prediction is right or wrong. In training the batch has `progress` (), from 0 to 1."""

    def forward(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """`loss`, so that what wraps a module (DistributedDataParallel) wraps a task."""
        return self.loss(batch, state)

    @abstractmethod
    def source(
        self, config: dict[str, Any], split: str, path: str | None, reset: int | None, unknown: Unknown = "error",
        log: Log = lambda line: None,
    ) -> Source | None:  # fmt: skip
        """What the loss is taken over after training: a part of the run's own data, or all of another `path`; cut every
        `reset` tokens where the state shall begin anew. `config` is the run's; what was cut or left out goes to
        `log`. None when there is no such part."""

    def judge(self, source: Any, config: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
        """Figures beside the loss that need what the model says itself: F1, BLEU; over the first `limit` rows. `config`
        is that of the data."""
        return {}

    def describe(self) -> str:
        """The sizes of the model in a few words."""
        return ", ".join(layer.sizes for layer in self.layers())

    def stepper(self) -> Stepper:
        """The task as a generator of tokens. Make a new one after the weights have changed."""
        raise NotImplementedError(f"a {self.kind} model does not generate")

    def opening(
        self,
        config: dict[str, Any],
        prompt: str,
        labels: tuple[str, ...],
        unknown: Unknown,
        log: Callable[[str], None],
    ) -> tuple[Batch, list[int], int | None]:
        """How writing begins: what the stepper is given for one row, the tokens that are read before the first is
        chosen, and the token that ends a text, if there is one. `config` is that of the data."""
        raise UserError(f"a {self.kind} model writes nothing of itself: elman predict RUN")

    def predict(self, rows: Table, config: dict[str, Any], log: Log, **how: Any) -> list[Answer]:
        """What the model says of each row of a table, whose columns are those that the task asks for."""
        raise UserError(f"a {self.kind} model answers nothing: elman sample RUN")

    @property
    def sees(self) -> bool:
        """Whether it is asked about pictures."""
        return False

    def line(self, answer: Answer) -> str:
        """An answer in a line of text."""
        return str(next(iter(answer.values())))

    def told(self, answer: Answer) -> str:
        """An answer in more lines than one, where it is the only one and there is more to say."""
        return self.line(answer)

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str] | None:
        """A function that writes that many tokens, to be shown while training; None where nothing is generated.
        `config` is that of the data."""
        return None

    def layers(self) -> list[Recurrent]:
        """The recurrent layers of the model."""
        return [module for module in self.modules() if isinstance(module, Recurrent)]


def kinds() -> dict[str, type[Task]]:
    """The tasks of this package by kind."""
    found: dict[str, type[Task]] = {}
    for info in pkgutil.iter_modules(elman.tasks.__path__):
        module = importlib.import_module(f"elman.tasks.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Task) and value.kind:
                found[value.kind] = value
    return found


def find(kind: str) -> type[Task]:
    """The task of that kind."""
    if kind not in kinds():
        raise errors.unknown("kind of task", kind, kinds())
    return kinds()[kind]
