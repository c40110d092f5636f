"""What tasks on tables share: from the rows of a file to batches, and from a batch to answers."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from elman.data import table, table_reader
from elman.data.clip import LazyClip
from elman.data.column_inference import infer_columns
from elman.data.image import LazyImage
from elman.data.image_input import open_image
from elman.data.rows import Field, Rows
from elman.data.source import Source
from elman.data.split import split
from elman.data.split_names import SPLIT
from elman.data.table import Table
from elman.data.table_reader import TableOptions
from elman.errors import UserError
from elman.log import Log
from elman.metrics.grouping import grouping_columns
from elman.metrics.unknown_words import unknown_words, with_suggestions
from elman.options import PositiveInt, ShareFloat, at_most
from elman.tasks.network import NetworkOptions, TokenNetworkOptions
from elman.tasks.spec import Spec
from elman.tasks.task import Dataset, Reading, Task
from elman.tokenizers.tokenizer import Tokenizer

FEW = 5  # texts whose unknown words are named
PREDICTED = 64  # rows per batch when the model is used
TYPES = {str: "a text", list: "a list of words", np.ndarray: "an array", LazyImage: "an image", LazyClip: "a clip"}


@dataclass(frozen=True)
class TableTaskOptions(NetworkOptions, TableOptions):
    """Options of the data and the network of a task on tables."""


@dataclass(frozen=True)
class SequenceOptions(TokenNetworkOptions, TableTaskOptions):
    """Options of a task whose rows are sequences, or have some."""

    max_length: Annotated[PositiveInt, at_most(100_000)] = 400
    """Steps of a row; longer rows are truncated, and counted."""


@dataclass(frozen=True, kw_only=True)
class TableSpec(Spec):
    """columns: the column of the file for each role; hidden, dropout: as chosen."""

    options: TableTaskOptions
    columns: dict[str, str]
    hidden: PositiveInt
    dropout: ShareFloat


@dataclass(frozen=True, kw_only=True)
class SequenceSpec(TableSpec):
    """embedding: as chosen."""

    options: SequenceOptions
    embedding: PositiveInt


class TableTask(Task):
    """A task whose examples are the rows of a table.

    A subclass names the `roles` that columns play, the first being the input by which rows are split, and defines how a
    row is encoded: `specify`, `encode_inputs`, `encode_targets`.

    - accepts: the types that a value of a role may have, where not text alone
    - metrics_by: columns without a role, by whose values metrics are also given
    - bucket_by: the field by whose lengths rows are batched; of images, those of one image stay together
    """

    roles: ClassVar[tuple[str, ...]]
    accepts: ClassVar[Mapping[str, tuple[type, ...]]] = {}
    metrics_by: ClassVar[tuple[str, ...]] = ()
    bucket_by: ClassVar[str | None]

    @abstractmethod
    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> Any:
        """The Spec: sizes that the options leave open; and tokenizers and labels, from the training split alone.
        `common` holds `options` and `columns`."""

    @abstractmethod
    def encode_inputs(self, rows: Table, spec: Any, log: Log) -> dict[str, Field]:
        """The fields that the model takes."""

    @abstractmethod
    def encode_targets(self, rows: Table, spec: Any, log: Log) -> dict[str, Field]:
        """The further fields that the loss needs."""

    def unigram_entropy(self, train: Rows) -> float | None:
        """See `Dataset`."""
        return None

    def prepare(self, paths: list[str], options: Any, budget: float | None = None, seed: int = 0) -> Dataset:
        splits, columns, notes = self.splits(paths, options)
        spec = self.specify(splits, {"options": options.resolved(), "columns": columns}, budget)
        key = table.key(*splits.values())
        made = {name: self._source(rows, spec, key, lambda line, name=name: notes.append(f"{name} split: {line}"), seed)
                for name, rows in splits.items()}  # fmt: skip
        train = made["train"]
        assert train is not None
        return Dataset(train, made["valid"], made["test"], spec, key, paths, notes, self.unigram_entropy(train))

    def splits(self, paths: list[str], options: Any) -> tuple[dict[str, Table], dict[str, str], list[str]]:
        """The training, validation and test rows, their columns named by roles; the columns' names in the file by role;
        and lines for the user."""
        read = self.read(paths, options)
        wanted = self.wanted(read, options) | ({"split": options.split} if options.split else {})
        columns = infer_columns(read, wanted, f"elman train {self.kind} {' '.join(paths)}")
        columns.pop("split", None)
        names = list(columns.values())
        rows = table.complete(read, names, options.skip_bad)
        rows = table.deduplicated(rows, names) if options.deduplicate else rows
        splits = split(rows, columns[self.roles[0]], options, names)
        sizes = ", ".join(f"{name} {len(each):,}" for name, each in splits.items())
        notes = [
            *splits["train"].notes,
            "; ".join(f"{role} is the column {column}" for role, column in columns.items()) + f"; rows: {sizes}",
        ]
        unused = [name for name in read.columns if name not in (SPLIT, options.split, *names)]
        notes += [f"not used: {'column' if len(unused) == 1 else 'columns'} {', '.join(unused)}"] if unused else []
        roles = {column: role for role, column in columns.items()}
        return {name: self.checked(each.renamed(roles)) for name, each in splits.items()}, columns, notes

    def read(self, paths: list[str], options: Any) -> Table:
        """The table in some files."""
        return table_reader.read(paths, options)

    def wanted(self, read: Table, options: Any) -> dict[str, str | None]:
        """The column of each role, None where it is to be inferred; and those of `metrics_by` that there are."""
        roles = {role: getattr(options, f"{role}_column") for role in self.roles}
        return roles | grouping_columns(read, roles.values(), *self.metrics_by)

    def checked(self, rows: Table) -> Table:
        """The rows, if every value that is not missing has a type that its role accepts."""
        for role, values in rows.columns.items():
            types = self.accepts.get(role, (str,))
            for row, value in enumerate(values):
                if value is not None and not isinstance(value, types):
                    wanted = " or ".join(TYPES[each] for each in types)
                    found = next((name for each, name in TYPES.items() if isinstance(value, each)), f"'{value}'")
                    raise UserError(f"the {role} of {rows.where(row)} is {found}: it must be {wanted}")
        return rows

    def _source(self, rows: Table, spec: Any, key: str, log: Log, seed: int = 0) -> Rows | None:
        if not len(rows):
            return None
        fields = self.encode_inputs(rows, spec, log) | self.encode_targets(rows, spec, log)
        return Rows(rows, fields, spec.options.batch_size, self.bucket_by, seed, key)

    def source(self, spec: Any, paths: list[str], split: str | None, reading: Reading = Reading()) -> Source | None:
        if reading.reset is not None:
            raise UserError(f"`reset` is for language models: a {self.kind} model resets its state with every row")
        if split is not None:
            splits, _, _ = self.splits(paths, spec.options)
            return self._source(splits[split], spec, table.key(*splits.values()), reading.log)
        read = self.read(paths, spec.options)
        roles = {column: role for role, column in spec.columns.items()
                 if role not in self.metrics_by or column in read.columns}  # fmt: skip
        rows = table.complete(read, roles, spec.options.skip_bad)
        for line in rows.notes:
            reading.log(line)
        return self._source(self.checked(rows.renamed(roles)), spec, table.key(rows), reading.log)


def images(values: list[Any]) -> list[Any]:
    """Values with images in place of names."""
    return [
        open_image(str(value)) if isinstance(value, str | Path) and str(value).strip() else value for value in values
    ]


def encoded(texts: list[str], tokenizer: Tokenizer, max_length: int, log: Log) -> list[np.ndarray]:
    """Token ids (T,) of each text. Unknown words are logged: their share where there is a token for them, otherwise
    what replaced them."""
    if tokenizer.unknown is None:
        return truncated(tokenizer.encode_all(texts, "replace", log), max_length, log)
    ids = tokenizer.encode_all(texts, "replace")
    count = sum(int((row == tokenizer.unknown).sum()) for row in ids)
    if count:
        total = sum(map(len, ids))
        words = f": {with_suggestions(unknown_words(tokenizer, texts)[0], tokenizer)}" if len(texts) <= FEW else ""
        unknown = tokenizer.decode([tokenizer.unknown])
        log(f"{count / total:.1%} of {total:,} {tokenizer.unit}s are unknown and read as {unknown}: too rare in the "
            f"training split{words}")  # fmt: skip
    return truncated(ids, max_length, log)


def truncated(values: list[Any], max_length: int, log: Log) -> list[Any]:
    """Arrays or lists of at most `max_length` steps; how many were longer is logged."""
    longer = sum(len(value) > max_length for value in values)
    if longer:
        log(f"{longer:,} of {len(values):,} rows are longer than `max_length` {max_length} and were truncated")
    return [value[:max_length] for value in values]
