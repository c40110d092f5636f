"""What tasks on tables share: from rows of a file to batches, and from a batch to answers."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor

from elman.cells.registry import stored
from elman.data import split, table, table_reader
from elman.data.column_inference import infer_columns
from elman.data.image import LazyImage
from elman.data.image_input import open_image
from elman.data.rows import Field, Ragged, Rows
from elman.data.table import Table
from elman.data.table_reader import TableOptions
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.log import Log
from elman.metrics.grouping import grouping_columns
from elman.metrics.unknown_words import unknown_words, with_suggestions
from elman.options import PositiveInt, restore
from elman.tasks.network import NetworkOptions
from elman.tasks.task import Answer, Batch, Data, Source, Task, to
from elman.tokenizers import registry
from elman.tokenizers.tokenizer import Unknown

FEW = 5  # texts whose unknown words are named
KINDS = {str: "a text", list: "a list of words", np.ndarray: "an array", LazyImage: "a picture"}


@Parameter(name="*")
@dataclass(frozen=True)
class TableTaskOptions(NetworkOptions, TableOptions):
    """What is read and what is built."""

    max_length: PositiveInt = 400
    """Steps of a row; what is longer is cut, and counted."""


class TableTask(Task):
    """A task whose examples are the rows of a table.

    A subclass names the `roles` that columns play, the first being the input by which rows are split, and says how a
    row becomes numbers: `learn`, `inputs`, `targets`. What it says of a batch are its `answers`.
    """

    unit: ClassVar[str] = "row"
    lr: ClassVar[float] = 0.002
    next_step: ClassVar[str] = "let it answer: elman predict"
    roles: ClassVar[tuple[str, ...]]
    takes: ClassVar[dict[str, tuple[type, ...]]] = {}  # what a value of a role may be, where it is not just a text
    besides: ClassVar[tuple[str, ...]] = ()  # columns that are no roles, by whose values figures are given apart
    by: ClassVar[str | None]  # the field by whose lengths rows are put together
    Options: ClassVar[type[TableTaskOptions]]

    @classmethod
    @abstractmethod
    def learn(cls, train: Table, options: Any) -> dict[str, Any]:
        """What must be known to make numbers of rows, from the training part alone: tokens, labels."""

    @classmethod
    @abstractmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        """What the model is given of each row."""

    @classmethod
    @abstractmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        """What it shall say of each row."""

    @classmethod
    @abstractmethod
    def sizes(cls, train: Rows, options: Any, seconds: float | None) -> Any:
        """The options with the sizes that were not given."""

    @abstractmethod
    def answers(self, batch: Batch, config: dict[str, Any], **how: Any) -> list[Answer]:
        """What the model says of each row of a batch."""

    @classmethod
    def floor(cls, train: Rows) -> float | None:
        """The loss of knowing only how often each target comes; see `Data`."""
        return None

    @classmethod
    def prepare(
        cls, paths: list[str], options: Any, seconds: float | None = None, key: str | None = None, seed: int = 0
    ) -> tuple[Any, Data]:
        parts, columns, notes = cls.parts(paths, options)
        config = cls.learn(parts["train"], options) | {"columns": columns, "max_length": options.max_length}
        made = {name: cls._rows(part, name, config, options, notes, seed) for name, part in parts.items()}
        train = made["train"]
        assert train is not None
        own = table.key(*parts.values())
        data = Data(train, made["valid"], made["test"], own, config, notes, cls.floor(train))
        chosen = cls.sizes(train, replace(options, cell=stored(options.cell)), seconds)
        return chosen, data

    @classmethod
    def parts(cls, paths: list[str], options: Any) -> tuple[dict[str, Table], dict[str, str], list[str]]:
        """The training, validation and test parts of what was given, its columns named by their roles; the names that
        they have in the file; and lines to log."""
        read = table_reader.read(paths, options)
        wanted = cls.wanted(read, options) | ({"split": options.split} if options.split else {})
        columns = infer_columns(read, wanted, f"elman train {cls.kind} {' '.join(paths)}")
        columns.pop("split", None)
        names = list(columns.values())
        whole = table.complete(read, names, options.skip_bad)
        whole = table.deduplicated(whole, names) if options.deduplicate else whole
        parts = split.split(whole, columns[cls.roles[0]], options, names)
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in parts.items())
        notes = [
            *parts["train"].notes,
            "; ".join(f"{role} is the column {column}" for role, column in columns.items()) + f"; rows: {sizes}",
        ]
        roles = {column: role for role, column in columns.items()}
        return {name: cls._fit(part.renamed(roles)) for name, part in parts.items()}, columns, notes

    @classmethod
    def wanted(cls, read: Table, options: Any) -> dict[str, str | None]:
        """The column of each role, None where it is to be guessed; and those of `besides` that there are."""
        roles = {role: getattr(options, f"{role}_column") for role in cls.roles}
        return roles | grouping_columns(read, roles.values(), *cls.besides)

    @classmethod
    def _fit(cls, rows: Table) -> Table:
        """The rows, if every value is of a kind that its role may have. One that is missing is not looked at."""
        for role, values in rows.columns.items():
            kinds = cls.takes.get(role, (str,))
            for row, value in enumerate(values):
                if value is not None and not isinstance(value, kinds):
                    wanted = " or ".join(KINDS[kind] for kind in kinds)
                    found = next((name for kind, name in KINDS.items() if isinstance(value, kind)), f"'{value}'")
                    raise UserError(f"the {role} of {rows.where(row)} is {found}: it must be {wanted}")
        return rows

    @classmethod
    def _rows(
        cls, part: Table, name: str, config: dict[str, Any], options: Any, notes: list[str], seed: int
    ) -> Rows | None:
        def log(line: str) -> None:
            notes.append(f"{name} part: {line}")

        if not len(part):
            return None
        numbers = cls.inputs(part, config, log) | cls.targets(part, config, log)
        return Rows(part, numbers, options.batch_size, cls.by, seed)

    def source(
        self, config: dict[str, Any], split: str, path: str | None, reset: int | None, unknown: Unknown = "error",
        log: Log = lambda line: None,
    ) -> Source | None:  # fmt: skip
        if reset is not None:
            raise UserError(f"--reset is for language models: a {self.kind} model begins each row anew")
        options = restore(self.Options, config["options"])
        data, notes = config["data"], list[str]()
        if path is not None:
            whole = table_reader.read([path], options)
            roles = {column: role for role, column in data["columns"].items()
                     if role not in self.besides or column in whole.columns}  # fmt: skip
            rows = table.complete(whole, roles, options.skip_bad)
            rows = self._fit(rows.renamed(roles))
            found = self._rows(rows, path, data, options, notes, 0)
            for line in [*rows.notes, *notes]:
                log(line)
            return found
        parts, _, _ = self.parts(data["paths"], options)
        if table.key(*parts.values()) != data["key"]:
            raise UserError(f"{', '.join(data['paths'])} is not what the run was trained on any more")
        return self._rows(parts[split], split, data, options, notes, 0)

    def predict(self, rows: Table, config: dict[str, Any], log: Log, **how: Any) -> list[Answer]:
        """The answers to the rows of a table, in their order; `config` is that of the data, `how` goes to
        `answers`."""
        rows = table.complete(self._fit(self.opened(rows)), self.asks, skip_bad=False)
        source = Rows(rows, self.inputs(rows, config, log), 64, self.by)
        found = dict(self.answered(source, config, **how))
        return [found[number] for number in range(len(rows))]

    @property
    def sees(self) -> bool:
        return any(LazyImage in self.takes.get(role, ()) for role in self.asks)

    def opened(self, rows: Table) -> Table:
        """The rows with pictures where their names stand and nothing but pictures can be taken."""
        columns = {
            role: [open_image(str(value)) if isinstance(value, str | Path) and str(value).strip() else value
                   for value in values] if self.takes.get(role) == (LazyImage,) else values
            for role, values in rows.columns.items()
        }  # fmt: skip
        return replace(rows, columns=columns)

    def judge(self, source: Any, config: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
        return self.figures(source.table, dict(self.answered(source, config, limit)), config)

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """What is counted of the answers to some rows, by their numbers; see `judge`."""
        return {}

    @torch.inference_mode()
    def answered(
        self, source: Rows, config: dict[str, Any], limit: int | None = None, **how: Any
    ) -> Iterator[tuple[int, Answer]]:
        """The number of a row and its answer, for the first `limit` that a source gives."""
        self.eval()
        device, left = next(self.parameters()).device, len(source.table) if limit is None else limit
        for index in range(len(source)):
            batch = to(source.batch(0, index), device)
            yield from list(zip(batch["row"].tolist(), self.answers(batch, config, **how), strict=True))[:left]
            left -= len(batch["row"])
            if left <= 0:
                return


def encoded(texts: list[str], config: dict[str, Any], longest: int, log: Log) -> list[np.ndarray]:
    """The tokens (T,) of each text, by the configuration of the tokens. What is unknown is told: how much of it where
    there is a token for it, and what was put in its place where there is none."""
    tokens = registry.from_json(config)
    if tokens.unknown is None:
        return cut(tokens.encode_all(texts, "replace", log), longest, log)
    ids = tokens.encode_all(texts, "replace")
    count, all_of_them = (sum(int(each) for each in counts) for counts in
                          (((row == tokens.unknown).sum() for row in ids), map(len, ids)))  # fmt: skip
    if count:
        share = f"{count / all_of_them:.1%} of {all_of_them:,} {tokens.unit}s"
        words = f": {with_suggestions(unknown_words(tokens, texts)[0], tokens)}" if len(texts) <= FEW else ""
        log(f"{share} are read as {tokens.decode([tokens.unknown])}: too seldom in the training part{words}")
    return cut(ids, longest, log)


def ended(ids: list[np.ndarray], config: dict[str, Any]) -> Ragged:
    """Texts as targets, each with its end: one token more than there are."""
    end = len(registry.from_json(config))
    return Ragged([np.append(each, end).astype(np.int64) for each in ids], IGNORED)


def shifted(target: Tensor, begin: int) -> Tensor:
    """The tokens (B, T) that are given where these targets (B, T) shall be said: each one's, one step later."""
    return torch.cat((torch.full_like(target[:, :1], begin), target[:, :-1].clamp(min=0)), 1)


def cut(values: list[Any], longest: int, log: Log) -> list[Any]:
    """The arrays or lists, none of them longer than that; how many were cut is told."""
    over = sum(len(value) > longest for value in values)
    if over:
        log(f"{over:,} of {len(values):,} rows are longer than --max-length {longest} and were cut")
    return [value[:longest] for value in values]
