"""A trained model, ready to be used: the task with its weights, and what it needs to read and write text."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.cells.tap import watched
from elman.data.table import Table
from elman.decode.sampling import Sampling, sample
from elman.tasks.task import Answer, Task, find
from elman.tokenizers import registry
from elman.tokenizers.tokenizer import Tokenizer, Unknown
from elman.training.device import find_device
from elman.training.run import Run, Which


@dataclass
class Model:
    """What `elman.load` and `elman.train` return. `task` is the network, `config` that of its run."""

    task: Task
    config: dict[str, Any]
    path: Path

    @property
    def tokens(self) -> Tokenizer:
        """How the text that it writes is tokens."""
        return registry.from_json(self.config["data"]["tokens"])

    @property
    def run(self) -> Run:
        """Its folder."""
        return Run(self.path, self.config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.task.parameters()).device

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        how: Sampling | None = None,
        seed: int | None = None,
        stop: str | None = None,
        unknown: Unknown = "error",
        num_samples: int = 1,
        log: Callable[[str], None] = lambda line: None,
        labels: tuple[str, ...] = (),
    ) -> Iterator[list[str]]:
        """What each of `num_samples` streams writes next, "" for one that has ended, until `length` tokens are written or
        every stream has ended or written `stop`. Without a prompt the model begins as its texts do; `labels` say what
        to write, where it was trained with some."""
        batch, given, end = self.task.opening(self.config["data"], prompt, labels, unknown, log)
        batch = {name: value.expand(num_samples, *value.shape[1:]) for name, value in batch.items()}
        generator = torch.Generator()
        generator.manual_seed(seed) if seed is not None else generator.seed()
        self.task.eval()
        if watched():
            log("written step by step, not in blocks, which takes many times as long: units are recorded or held")
        drawn = sample(self.task.stepper(), given, length, how or Sampling(), generator, num_samples, batch)
        lead = "" if prompt or end is None else self.tokens.lead  # of a text of its own, which is not part of it
        return _written(drawn, self.tokens, stop, end, num_samples, lead)

    def sample(self, prompt: str = "", length: int = 500, **options: Any) -> str:
        """The text of one stream; `options` are those of `stream`."""
        return "".join(pieces[0] for pieces in self.stream(prompt, length, **options))

    def predict(
        self, rows: Iterable[Any] | Table, log: Callable[[str], None] = lambda line: None, **how: Any
    ) -> list[Answer]:
        """What the model says of each row: of texts, paths of pictures, arrays (T, F) or lists of words, or of a table
        whose columns are what the task asks for. `how`: for a translator `search=Search(beam=5)`, see `decode`."""
        if not isinstance(rows, Table):
            values = [rows] if isinstance(rows, str | Path) else list(rows)
            rows = Table("the input", {(self.task.asks or ("input",))[0]: values}, list(range(1, len(values) + 1)))
        return self.task.predict(rows, self.config["data"], log, **how)


def _written(
    drawn: Iterator[torch.Tensor], tokens: Tokenizer, stop: str | None, end: int | None, rows: int, lead: str = ""
) -> Iterator[list[str]]:
    streams = [Stream(tokens.decoder(), stop, end, lead) for _ in range(rows)]
    for ids in drawn:
        yield [stream.add(token) for token, stream in zip(ids.tolist(), streams, strict=True)]
        if all(stream.ended for stream in streams):
            return


class Stream:
    """What one stream writes, up to the token that ends it, or to its stop text, which stays in what was written."""

    def __init__(self, decode: Callable[[int], str], stop: str | None, end: int | None, lead: str = ""):
        self.decode, self.stop, self.end, self.lead, self.tail, self.ended = decode, stop, end, lead, "", False

    def add(self, token: int) -> str:
        """Takes the next token; returns its text, "" once it has ended."""
        self.ended = self.ended or token == self.end
        if self.ended:
            return ""
        piece = self.decode(token)
        if piece:
            piece, self.lead = piece.removeprefix(self.lead), ""
        if self.stop:
            self.tail = (self.tail + piece)[-len(self.stop) - len(piece) :]
            self.ended = self.stop in self.tail
        return piece


def load(path: str | Path, device: str = "cpu", weights: Which = "best") -> Model:
    """The model in a run folder, on any device. Needs config.json and model.safetensors only; runs no code from it."""
    run = Run.open(Path(path), weights)
    task = find(run.config["kind"])(**run.config["task"])
    run.put_model(task, weights)
    return Model(task.to(find_device(device)).eval(), run.config, run.path)
