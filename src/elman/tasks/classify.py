"""Classification: a sequence in, one label out (many to one)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.data.image import LazyImage
from elman.data.image_input import open_image
from elman.data.rows import Field, Ragged, Rows
from elman.data.scanlines import Scanlines
from elman.data.split_names import SPLIT
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.nets.embedding import lookup
from elman.nets.pooling import POOLING
from elman.options import PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks import tables
from elman.tasks.tables import TableTask, TableTaskOptions, cut, encoded
from elman.tasks.task import Answer, Batch, Data, entropy
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions

TOKENS = "word"  # unless said


@Parameter(name="*")
@dataclass(frozen=True)
class ClassifyOptions(TokenizerOptions, TableTaskOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    text_column: str | None = None
    """The column that is read; the longest text when not given, or the pictures where there is no text."""
    label_column: str | None = None
    """The column that is to be said; the one with the fewest different values when not given."""
    bidirectional: bool = True
    """Read each row backwards too."""
    pooling: Literal["last", "mean", "max", "attention"] = "max"
    """What of the outputs at every step the label is said from."""
    class_weights: bool = False
    """Weigh each class as if all were equally frequent."""
    image_size: PositiveInt = 64
    """Pixels to a side to which pictures are brought: each is read line by line, from the top."""


class Classify(TableTask):
    """Lookup, `Recurrent`, pooling, linear head, cross-entropy."""

    kind: ClassVar[str] = "classify"
    summary: ClassVar[str] = "a classifier of texts, pictures or other sequences: one label a row"
    roles: ClassVar[tuple[str, ...]] = ("text", "label")
    takes: ClassVar[dict[str, tuple[type, ...]]] = {"text": (str, np.ndarray, LazyImage)}
    asks: ClassVar[tuple[str, ...]] = ("text",)
    by: ClassVar[str | None] = "input"
    Options: ClassVar[type[TableTaskOptions]] = ClassifyOptions

    def __init__(
        self,
        classes: int,
        hidden: int,
        vocabulary: int | None = None,
        embedding: int | None = None,
        features: int | None = None,
        cell: Any = "lstm",
        layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "max",
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
        weights: list[float] | None = None,
    ):
        """vocabulary and embedding for tokens, or features for arrays (T, F); weights of the classes in the loss."""
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.lookup = nn.Identity() if vocabulary is None else lookup(vocabulary, embedding or hidden)
        size = features if vocabulary is None else embedding or hidden
        assert size is not None
        self.recurrent = Recurrent(
            size, hidden, cell, layers, bidirectional, dropout=dropout, residual=residual, backend=backend
        )
        self.pool = POOLING[pooling](self.recurrent.output_size, self.recurrent.directions)
        self.head = nn.Linear(self.recurrent.output_size, classes)
        self.dropout = dropout
        self.weights = None if weights is None else torch.tensor(weights)

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{super().describe()}, {self._config['pooling']} pooling, dropout {self.dropout:g}"

    @classmethod
    def wanted(cls, read: Table, options: ClassifyOptions) -> dict[str, str | None]:
        """The pictures are read where all else there is may be the label."""
        found = super().wanted(read, options)
        seen = [name for name, values in read.columns.items() if any(isinstance(value, LazyImage) for value in values)]
        others = {name for name in read.columns if name not in (SPLIT, options.split, *seen)}
        return found | ({"text": seen[0]} if found["text"] is None and len(seen) == 1 >= len(others) else {})

    @classmethod
    def learn(cls, train: Table, options: ClassifyOptions) -> dict[str, Any]:
        labels = sorted(set(train.columns["label"]))
        if len(labels) < 2:
            raise UserError(f"{train.name} has one class only, '{labels[0]}': a classifier needs at least two")
        known: dict[str, Any] = {"labels": labels}
        values = train.columns["text"]
        if isinstance(values[0], LazyImage):
            return known | {"size": options.image_size}
        if isinstance(values[0], np.ndarray):
            steps = np.concatenate(_steps(train, values[0].shape[1:])).astype(np.float64)
            deviation = steps.std(0)
            deviation[deviation < 1e-3 * max(deviation.max(), 1e-30)] = max(deviation.max(), 1e-30)
            return known | {"mean": steps.mean(0).tolist(), "deviation": deviation.tolist()}
        tokens = registry.find(options.tokens or TOKENS).of_texts(values, options.vocab_size, options.lower)
        return known | {"tokens": tokens.to_json()}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        values, known = rows.columns["text"], LazyImage if "size" in config else np.ndarray if "mean" in config else str
        for row, value in enumerate(values):
            if not isinstance(value, known):
                found = next(name for kind, name in tables.KINDS.items() if isinstance(value, kind))
                trained = tables.KINDS[known].split()[-1]
                raise UserError(f"{rows.where(row)} is {found}: the model was trained on {trained}s")
        if known is LazyImage:
            return {"input": Scanlines(values, config["size"], log)}
        if known is str:
            return {"input": Ragged(encoded(values, config["tokens"], config["max_length"], log))}
        mean, deviation = np.array(config["mean"]), np.array(config["deviation"])
        made = [((steps - mean) / deviation).astype(np.float32) for steps in _steps(rows, mean.shape)]
        return {"input": Ragged(cut(made, config["max_length"], log))}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        numbers = {label: number for number, label in enumerate(config["labels"])}
        for row, label in enumerate(rows.columns["label"]):
            if label not in numbers:
                some = ", ".join(config["labels"][:10])
                raise UserError(f"{rows.where(row)} has the label '{label}', which no training row has: {some}")
        return {"target": np.array([numbers[label] for label in rows.columns["label"]])}

    @classmethod
    def floor(cls, train: Rows) -> float | None:
        return entropy(_targets(train))

    @classmethod
    def sizes(cls, train: Rows, options: ClassifyOptions, seconds: float | None) -> ClassifyOptions:
        hidden = options.hidden or 128
        dropout = options.dropout
        return replace(options, tokens=options.tokens or TOKENS, hidden=hidden, embedding=options.embedding or hidden,
                       dropout=0.5 if dropout is None else dropout)  # fmt: skip

    @classmethod
    def new(cls, options: ClassifyOptions, data: Data) -> "Classify":
        config, train = data.config, data.train
        assert isinstance(train, Rows)
        assert options.hidden is not None
        assert options.dropout is not None
        tokens = "tokens" in config
        targets = _targets(train)
        weights = len(targets) / (np.bincount(targets) * len(config["labels"]))
        return cls(
            len(config["labels"]), options.hidden,
            vocabulary=len(registry.from_json(config["tokens"])) if tokens else None,
            embedding=options.embedding if tokens else None,
            features=None if tokens else 3 * config["size"] if "size" in config else len(config["mean"]),
            cell=options.cell, layers=options.layers, bidirectional=options.bidirectional, pooling=options.pooling,
            dropout=options.dropout, residual=options.residual, backend=options.backend,
            weights=weights.tolist() if options.class_weights else None,
        )  # fmt: skip

    def logits(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """inputs (B, T) tokens, or (B, T, F), with their lengths (B,), give the logits (B, K) of the classes."""
        x = drop(self.lookup(inputs), self.dropout, self.training)
        y, _ = self.recurrent(x, lengths=lengths)
        return self.head(drop(self.pool(y, lengths), self.dropout, self.training)).float()

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """input (B, T) or (B, T, F), input_lengths, target (B,). Weights of classes count in the loss, not in what is
        logged."""
        logits, target = self.logits(batch["input"], batch["input_lengths"]), batch["target"]
        nats = F.cross_entropy(logits, target, reduction="none")
        loss = nats.mean() if self.weights is None else (nats * self.weights.to(nats)[target]).mean()
        right = (logits.argmax(-1) == target).sum()
        return loss, None, {"nats": nats.detach().sum(), "tokens": torch.tensor(len(target)), "right": right}

    def answers(self, batch: Batch, config: dict[str, Any], **how: Any) -> list[Answer]:
        labels = config["labels"]
        return [
            {"label": labels[int(chances.argmax())], "probability": float(chances.max()),
             "probabilities": dict(zip(labels, chances.tolist(), strict=True))}
            for chances in self.logits(batch["input"], batch["input_lengths"]).softmax(-1)
        ]  # fmt: skip

    def predict(self, rows: Table, config: dict[str, Any], log: Log, **how: Any) -> list[Answer]:
        """See `TableTask`. Where pictures are read, a text is the name of one."""
        if "size" in config:
            named = rows.columns["text"]
            opened = [open_image(each) if isinstance(each, str) and each.strip() else each for each in named]
            rows = replace(rows, columns=rows.columns | {"text": opened})
        return super().predict(rows, config, log, **how)

    def line(self, answer: Answer) -> str:
        return f"{answer['label']}\t{answer['probability']:.3f}"

    @torch.inference_mode()
    def running(self, inputs: Tensor) -> Tensor:
        """The probabilities (T, K) of the classes after each step of one row (T,) or (T, F): what the model would say
        had the row ended there."""
        steps = len(inputs)
        lengths = torch.arange(1, steps + 1, device=inputs.device)
        prefixes = inputs.expand(steps, *inputs.shape)
        return self.eval().logits(prefixes, lengths).softmax(-1)

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """accuracy; macro_f1, the mean of the classes' F1 over those that occur or are said; confusion, rows the truth
        and columns what was said, in the order of `labels`."""
        labels = [rows.columns["label"][row] for row in answers]
        return evaluate(self.kind, [answer["label"] for answer in answers.values()], labels, config["labels"])


def _steps(rows: Table, features: tuple[int, ...]) -> list[np.ndarray]:
    """The arrays as (T, F), F being that of all others; one of shape (T,) has one feature."""
    width, found = features[0] if features else 1, []
    for row, value in enumerate(rows.columns["text"]):
        steps = value[:, None] if value.ndim == 1 else value
        if steps.ndim != 2 or steps.shape[1] != width:
            raise UserError(f"{rows.where(row)} has shape {value.shape}: the others have (steps, {width})")
        found.append(steps)
    return found


def _targets(train: Rows) -> np.ndarray:
    """The number of each row's class."""
    target = train.fields["target"]
    assert isinstance(target, np.ndarray)
    return target
