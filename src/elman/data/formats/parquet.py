"""Parquet files."""

import io
import json
from importlib import import_module
from typing import Any

from elman.data.content import Content
from elman.data.formats.format import Format, RawTable, ReadContext, register
from elman.data.formats.records import columns
from elman.errors import UserError

METADATA = b"huggingface"  # key of the schema's metadata under which the library `datasets` stores names of classes


def _read(content: Content, context: ReadContext) -> RawTable:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise UserError(f"{content.name} needs pyarrow: pip install 'elman[tables]'") from None
    try:
        table = parquet.read_table(io.BytesIO(content.raw()))
    except (OSError, ValueError) as error:  # the errors of pyarrow are subclasses
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{content.name} is not a valid Parquet file: {line}") from None
    features = _features(table.schema.metadata or {})
    records = [{name: _with_names(features.get(name), value) for name, value in row.items()}
               for row in table.to_pylist()]  # fmt: skip
    return RawTable(columns(records), list(range(1, len(records) + 1)))


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """The features that `datasets` has stored of the columns."""
    try:
        features = json.loads(metadata[METADATA])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _with_names(feature: Any, value: Any) -> Any:
    """The value with names of classes in place of their numbers; None for -1, a class that is not public."""
    if isinstance(feature, list):  # how older versions store a list
        feature = {"feature": feature[0]} if feature else None
    if not isinstance(feature, dict) or value is None:
        return value
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and isinstance(value, int):
        return str(names[value]) if 0 <= value < len(names) else None
    if isinstance(value, list):
        return [_with_names(feature.get("feature"), item) for item in value]
    if isinstance(value, dict):
        return {name: _with_names(feature.get(name), item) for name, item in value.items()}
    return value


PARQUET = register(Format("parquet", "a Parquet file", _read, (".parquet",), priority=70))
