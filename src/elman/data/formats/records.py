"""Records with named values: JSON lines, or a JSON list of objects."""

import json
from typing import Any

from elman.data.content import Content
from elman.data.formats.format import Format, RawTable, ReadContext, file_row, register
from elman.errors import UserError


def columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A column for each name in any record, None where a record lacks it. Nested records are flattened: their columns
    are named `outer.inner`."""
    flat = [dict(_flattened(record, "")) for record in records]
    names = list(dict.fromkeys(name for record in flat for name in record))
    return {name: [record.get(name) for record in flat] for name in names}


def _flattened(record: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found = list[tuple[str, Any]]()
    for name, value in record.items():
        nested = isinstance(value, dict)
        found += _flattened(value, f"{prefix}{name}.") if nested else [(prefix + name, _value(value))]
    return found


def _value(value: Any) -> str | list[str] | None:
    """A text, a list of words, or None; numbers as they are written; what is nested deeper as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return [_value(item) or "" for item in value]  # type: ignore[misc]
    return json.dumps(value, ensure_ascii=False, default=str)


def _read(content: Content, context: ReadContext) -> RawTable:
    text = content.text(context.encoding)
    entries = _list(content, text) if text.lstrip().startswith("[") else context.lines(content)
    records, numbers = list[dict[str, Any]](), list[int]()
    for number, entry in entries:
        try:
            record = json.loads(entry) if isinstance(entry, str) else entry
        except (ValueError, RecursionError) as error:
            context.bad(file_row(content, number), f"is not JSON: {error}")
            continue
        if isinstance(record, dict):
            records.append(record)
            numbers.append(number)
        else:
            context.bad(file_row(content, number), 'is not a JSON object such as {"text": "...", "label": "..."}')
    return RawTable(columns(records), numbers)


def _list(content: Content, text: str) -> list[tuple[int, Any]]:
    try:
        return list(enumerate(json.loads(text), 1))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{content.name} is not a JSON list of objects: {error}") from None


def _matches(lines: list[str]) -> bool:
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("["):
        return _is(list, "\n".join(lines))
    return _is(dict, first)


def _is(kind: type, text: str) -> bool:
    try:
        return isinstance(json.loads(text), kind)
    except (ValueError, RecursionError):
        return False


JSONL = register(Format("jsonl", "JSON objects", _read, (".jsonl", ".ndjson", ".json"), matches=_matches, priority=20))
