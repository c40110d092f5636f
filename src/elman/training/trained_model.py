"""A trained model, ready to be used."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from elman.cells.registry import CellSpec, resolve
from elman.cells.tap import observed
from elman.data.source import Source
from elman.data.table import Table
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError
from elman.options import without_files
from elman.tasks.answer import Answer
from elman.tasks.capabilities import Generates, GeneratesImages, Painting, Predicts, Prompt
from elman.tasks.model import Model
from elman.tasks.network import NetworkOptions
from elman.tasks.task import Reading, Task, find, kinds
from elman.tokenizers.tokenizer import Tokenizer, Unknown
from elman.training.device import find_device
from elman.training.run import Run, Which


@dataclass
class Generation:
    """Text while it is generated: an iterator over the next piece of each stream, "" for one that has ended.

    - prompt: what was read before the first piece
    """

    prompt: Prompt
    pieces: Iterator[list[str]]

    def __iter__(self) -> Iterator[list[str]]:
        return self.pieces

    def __next__(self) -> list[str]:
        return next(self.pieces)


@dataclass
class TrainedModel:
    """The result of `elman.load` and `elman.train`.

    - task: the kind of task
    - model: the network
    - run: the run folder
    """

    task: Task
    model: Model
    run: Run

    @property
    def spec(self) -> Any:
        """The specification that the network is built from."""
        return self.model.spec

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.run.path

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the generated text."""
        return self._generates().tokenizer(self.spec)

    def source(
        self, split: str, paths: Iterable[str] = (), reading: Reading = Reading(), option: str = "PATH"
    ) -> Source | None:
        """A split of the data of the run, read again. `paths` names the data of a run that was made on another machine;
        `option` is how, for the error. Lines are logged once the content is known to be the same."""
        named, lines = list(paths) or self.run.data_paths(option), list[str]()
        found = self.task.source(self.spec, named, split, replace(reading, log=lines.append))
        if found is not None and found.key != self.run.config.key:
            raise UserError(f"{', '.join(named)} is not the data that {self.path} was trained on, or has changed since "
                            "then: name other data with `text`")  # fmt: skip
        for line in lines:
            reading.log(line)
        return found

    def _generates(self) -> Generates:
        if not isinstance(self.task, Generates):
            verb = "sample" if isinstance(self.model, GeneratesImages) else "predict"
            raise UserError(f"a {self.task.kind} model generates no text: elman {verb} {self.path}")
        return self.task

    def paint(self, num_samples: int = 1, seed: int | None = None) -> Painting:
        """Images that the model generates, with their canvases over time; a random seed when not given."""
        if not isinstance(self.model, GeneratesImages):
            raise UserError(f"a {self.task.kind} model generates no images")
        return self.model.paint(num_samples, seeded(seed))

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        sampling: Sampling | None = None,
        seed: int | None = None,
        stop: str | None = None,
        unknown: Unknown = "error",
        num_samples: int = 1,
        log: Callable[[str], None] = lambda line: None,
        labels: tuple[str, ...] = (),
    ) -> Generation:
        """Yields the next piece of text of each of `num_samples` streams, "" for one that has ended.

        Ends after `length` tokens, or when every stream has ended or contains `stop`. Without a prompt, generation
        starts like the texts of training; `labels` condition it, where the model was trained with labels."""
        task = self._generates()
        given = task.prompt(self.spec, prompt, labels, Reading(unknown=unknown, log=log))
        batch = {name: value.expand(num_samples, *value.shape[1:]) for name, value in given.batch.items()}
        generator = seeded(seed)
        self.model.eval()
        if observed():
            log("generated step by step instead of in blocks, which is many times slower: units are recorded or held")
        drawn = sample(
            task.stepper(self.model), given.tokens, length, sampling or Sampling(), generator, num_samples, batch
        )
        lead = "" if prompt or given.end is None else self.tokenizer.lead  # begins a text without being part of it
        return Generation(given, _decoded(drawn, self.tokenizer, stop, given.end, num_samples, lead))

    def sample(self, prompt: str = "", length: int = 500, **options: Any) -> str:
        """The text of one stream; `options` are those of `stream`."""
        return "".join(pieces[0] for pieces in self.stream(prompt, length, **options))

    def predict(
        self, rows: Iterable[Any] | Table, log: Callable[[str], None] = lambda line: None, **decoding: Any
    ) -> Iterator[Answer]:
        """The answer to each row: of texts, paths of images, arrays (T, F) or lists of words, or of a table whose
        columns are the task's `inputs`. `decoding`: for a translator `search=Search(beam=5)`, see `elman.decode`."""
        if not isinstance(self.task, Predicts):
            raise UserError(f"a {self.task.kind} model predicts nothing for rows: elman sample {self.path}")
        if decoding and not self.task.decodes:
            raise UserError(f"a {self.task.kind} model does not decode token by token: leave out {', '.join(decoding)}")
        if not isinstance(rows, Table):
            values = [rows] if isinstance(rows, str | Path) else list(rows)
            rows = Table("the input", {self.task.inputs[0]: values}, list(range(1, len(values) + 1)))
        return self.task.predict(self.model, rows, log, **decoding)


def seeded(seed: int | None) -> torch.Generator:
    """A generator with this seed, a random one for None."""
    generator = torch.Generator()
    generator.manual_seed(seed) if seed is not None else generator.seed()
    return generator


def _decoded(
    drawn: Iterator[torch.Tensor], tokenizer: Tokenizer, stop: str | None, end: int | None, num_samples: int, lead: str
) -> Iterator[list[str]]:
    streams = [Stream(tokenizer.decoder(), stop, end, lead) for _ in range(num_samples)]
    for ids in drawn:
        yield [stream.add(token) for token, stream in zip(ids.tolist(), streams, strict=True)]
        if all(stream.ended for stream in streams):
            return


class Stream:
    """Decodes one stream, up to its end token, or to its stop text, which is part of it."""

    def __init__(self, decode: Callable[[int], str], stop: str | None, end: int | None, lead: str = ""):
        self.decode, self.stop, self.end, self.lead, self.tail, self.ended = decode, stop, end, lead, "", False

    def add(self, token: int) -> str:
        """The text of the next token, "" once the stream has ended."""
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


def load(path: str | Path, device: str = "cpu", weights: Which = "best", cell: CellSpec | None = None) -> TrainedModel:
    """The model in a run folder, on any device. Needs config.json and model.safetensors only; no
    code of the folder is run.

    - cell: the class, or FILE.py:NAME, of a cell that could not be traced into an equation
    """
    run = Run.open(Path(path), weights)
    if run.config.kind not in kinds():
        raise UserError(
            f"{path} is a run of '{run.config.kind}', no task of elman: import the file that defines it first"
        )
    task = find(run.config.kind)
    spec = read_spec(task, run, cell)
    model = run.build(lambda: task.build(spec), weights)
    return TrainedModel(task, model.to(find_device(device)).eval(), run)


def read_spec(task: Task, run: Run, cell: CellSpec | None = None) -> Any:
    """The specification that config.json holds, every field checked. The options of a run that was made elsewhere name
    no files."""
    spec = run.spec(task.Spec)
    if not run.trusted():
        spec = replace(spec, options=without_files(spec.options))
    if isinstance(spec.options, NetworkOptions):
        return replace(spec, options=replace(spec.options, cell=resolve(spec.options.cell, cell)))
    if cell is not None:
        raise UserError(f"`cell` {cell} has no effect: a {task.kind} model has no cell to choose")
    return spec
