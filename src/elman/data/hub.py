"""Data sets of the Hugging Face Hub, read by the library `datasets`."""

from importlib import import_module
from typing import Any

from elman.data.formats.format import RawTable, ReadContext
from elman.data.formats.records import columns
from elman.data.split_names import SPLIT, SPLITS
from elman.errors import UserError

PREFIX = "hub:"


def read_hub(name: str, context: ReadContext) -> RawTable:
    """`hub:owner/name` or `hub:owner/name:config`. Where the splits have known names, they become a column, and others
    are skipped and noted."""
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise UserError(f"{name} needs the datasets library: pip install 'elman[hub]'") from None
    path, _, config = name.removeprefix(PREFIX).partition(":")
    try:
        splits = dict(datasets.load_dataset(path, config or None))
    except Exception as error:  # the library and the network raise many kinds
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"cannot read {name}: {line}") from None
    known = {split: rows for split, rows in splits.items() if split in SPLITS}
    for split in splits if known else ():
        if split not in known:
            context.notes.append(f"{name}: the {len(splits[split]):,} rows of its split '{split}' were skipped")
    records, numbers = list[dict[str, Any]](), list[int]()
    for split, dataset in (known or splits).items():
        rows = _records(dataset)
        records += [{**row, SPLIT: split} for row in rows]
        numbers += range(1, len(rows) + 1)
    return RawTable(columns(records), numbers)


def _records(dataset: Any) -> list[dict[str, Any]]:
    """The rows, with names of classes in place of their numbers."""
    values = dataset[:]
    named = [[_with_names(dataset.features[name], value) for value in values[name]] for name in dataset.column_names]
    return [dict(zip(dataset.column_names, row, strict=True)) for row in zip(*named, strict=True)]


def _with_names(feature: Any, value: Any) -> Any:
    if value is None:
        return None
    items = getattr(feature, "feature", None)  # of a list
    if hasattr(feature, "int2str"):
        return feature.int2str(value) if value >= 0 else None  # -1: not public
    if isinstance(feature, dict) and isinstance(value, dict):
        return {name: _with_names(feature[name], inner) for name, inner in value.items()}
    if items is not None and isinstance(value, list):
        return [_with_names(items, inner) for inner in value]
    return value
