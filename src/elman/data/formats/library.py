"""Tables that the library `datasets` reads: Parquet files, and the data sets of the Hugging Face Hub."""

import io
from importlib import import_module
from typing import Any

from elman.data.content import Content
from elman.data.formats.format import Form, How, Rows
from elman.data.formats.records import columns
from elman.data.split_names import PARTS, SPLIT
from elman.errors import UserError

HUB = "hub:"


def _library(name: str) -> Any:
    try:
        return import_module("datasets")
    except ImportError:
        raise UserError(f"{name} needs the datasets library: pip install 'elman[tables]'") from None


def _parquet(content: Content, how: How) -> Rows:
    datasets = _library(content.name)
    try:
        table = import_module("pyarrow.parquet").read_table(io.BytesIO(content.raw()))
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these
        raise UserError(f"{content.name} is no whole Parquet file: {_line(error)}") from None
    records = _records(datasets.Dataset(datasets.table.InMemoryTable(table)))
    return Rows(columns(records), list(range(1, len(records) + 1)))


def hub(name: str, how: How) -> Rows:
    """`hub:owner/name` or `hub:owner/name:config`. Which split a row is of stands in a column of its own, where the
    splits have the names of parts; other splits are then left out and told."""
    datasets = _library(name)
    place, _, config = name.removeprefix(HUB).partition(":")
    try:
        splits = dict(datasets.load_dataset(place, config or None))
    except Exception as error:  # what the library and the network can raise has no common kind
        raise UserError(f"cannot read {name}: {_line(error)}") from None
    known = {split: rows for split, rows in splits.items() if split in PARTS}
    for split in splits if known else ():
        if split not in known:
            how.notes.append(f"{name}: the {len(splits[split]):,} rows of its split '{split}' are left out")
    records, numbers = list[dict[str, Any]](), list[int]()
    for split, dataset in (known or splits).items():
        rows = _records(dataset)
        records += [{**row, SPLIT: split} for row in rows]
        numbers += range(1, len(rows) + 1)
    return Rows(columns(records), numbers)


def _records(dataset: Any) -> list[dict[str, Any]]:
    """The rows, with the names of classes instead of their numbers."""
    values = dataset[:]
    named = [[_named(dataset.features[name], value) for value in values[name]] for name in dataset.column_names]
    return [dict(zip(dataset.column_names, row, strict=True)) for row in zip(*named, strict=True)]


def _named(feature: Any, value: Any) -> Any:
    if value is None:
        return None
    items = getattr(feature, "feature", None)  # of a list
    if hasattr(feature, "int2str"):
        return feature.int2str(value) if value >= 0 else None  # -1: not made public
    if isinstance(feature, dict) and isinstance(value, dict):
        return {name: _named(feature[name], inner) for name, inner in value.items()}
    if items is not None and isinstance(value, list):
        return [_named(items, inner) for inner in value]
    return value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


PARQUET = Form("parquet", "a Parquet file", _parquet, (".parquet",))
