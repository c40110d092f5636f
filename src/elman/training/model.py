"""A trained model, ready to be used: the task with its weights, and what it needs to read and write text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.cells.tap import watched
from elman.data.tokens import Tokens, Unknown, from_config
from elman.decode.sampling import Sampling, sample
from elman.tasks.task import Task, find
from elman.training.device import find_device
from elman.training.run import Run, Which


@dataclass
class Model:
    """What `elman.load` and `elman.train` return. `task` is the network, `config` that of its run."""

    task: Task
    config: dict[str, Any]
    path: Path

    @property
    def tokens(self) -> Tokens:
        """How text becomes tokens."""
        return from_config(self.config["data"]["tokens"])

    @property
    def run(self) -> Run:
        """Its folder."""
        return Run(self.path, self.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.task.parameters()).device

    def given(
        self, prompt: str, unknown: Unknown = "error", tell: Callable[[str], None] = lambda line: None
    ) -> list[int]:
        """The tokens that are read before the first is drawn."""
        return self.tokens.encode(prompt, unknown, tell) or self.tokens.encode(self.config["data"]["seed_text"])

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        how: Sampling | None = None,
        seed: int | None = None,
        stop: str | None = None,
        unknown: Unknown = "error",
        rows: int = 1,
        tell: Callable[[str], None] = lambda line: None,
    ) -> Iterator[list[str]]:
        """What each of `rows` streams writes next, "" for one that has ended, until `length` tokens are written or
        every stream has written `stop`. Without a prompt the model goes on from the text's first token."""
        tokens, given = self.tokens, self.given(prompt, unknown, tell)
        generator = torch.Generator()
        generator.manual_seed(seed) if seed is not None else generator.seed()
        self.task.eval()
        if watched():
            tell("written step by step, not in blocks, which takes many times as long: units are recorded or held")
        drawn = sample(self.task.stepper(), given, length, how or Sampling(), generator, rows)
        return _written(drawn, tokens, stop, rows)

    def sample(self, prompt: str = "", length: int = 500, **options: Any) -> str:
        """The text of one stream; `options` are those of `stream`."""
        return "".join(pieces[0] for pieces in self.stream(prompt, length, **options))


def _written(drawn: Iterator[torch.Tensor], tokens: Tokens, stop: str | None, rows: int) -> Iterator[list[str]]:
    decoders = [tokens.decoder() for _ in range(rows)]
    ends = [Ending(stop) for _ in range(rows)]
    for ids in drawn:
        yield [
            "" if end.reached else end.add(decode(token))
            for token, decode, end in zip(ids.tolist(), decoders, ends, strict=True)
        ]
        if stop and all(end.reached for end in ends):
            return


class Ending:
    """Notices when a stream has written its stop text, which stays in what was written."""

    def __init__(self, stop: str | None):
        self.stop, self.tail, self.reached = stop, "", False

    def add(self, piece: str) -> str:
        """Takes what was written; returns it."""
        if self.stop:
            self.tail = (self.tail + piece)[-len(self.stop) - len(piece) :]
            self.reached = self.stop in self.tail
        return piece


def load(path: str | Path, device: str = "cpu", weights: Which = "best") -> Model:
    """The model in a run folder, on any device. Needs config.json and model.safetensors only; runs no code from it."""
    run = Run.open(Path(path), weights)
    task = find(run.config["kind"])(**run.config["task"])
    run.put_model(task, weights)
    return Model(task.to(find_device(device)).eval(), run.config, run.path)
