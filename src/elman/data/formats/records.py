"""Records with named values: JSON lines, a JSON list of objects, and what a library gives as such."""

import json
from typing import Any

from elman.data.content import Content
from elman.data.formats.format import Form, How, Rows, file_row
from elman.errors import UserError


def columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A column for each name in any record, None where a record lacks it. Records inside a record are taken apart:
    the column is then named `outer.inner`."""
    flat = [dict(_flat(record, "")) for record in records]
    names = list(dict.fromkeys(name for record in flat for name in record))
    return {name: [record.get(name) for record in flat] for name in names}


def _flat(record: dict[str, Any], before: str) -> list[tuple[str, Any]]:
    found = list[tuple[str, Any]]()
    for name, value in record.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(before + name, _value(value))]
    return found


def _value(value: Any) -> str | list[str] | None:
    """A text, a list of words, or None; numbers as they are written; what is nested deeper as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return [_value(item) or "" for item in value]  # type: ignore[misc]
    return json.dumps(value, ensure_ascii=False, default=str)


def _read(content: Content, how: How) -> Rows:
    text = content.text(how.encoding)
    entries = _list(content, text) if text.lstrip().startswith("[") else how.lines(content)
    records, numbers = list[dict[str, Any]](), list[int]()
    for number, entry in entries:
        try:
            record = json.loads(entry) if isinstance(entry, str) else entry
        except (ValueError, RecursionError) as error:
            how.bad(file_row(content, number), f"is no JSON: {error}")
            continue
        if isinstance(record, dict):
            records.append(record)
            numbers.append(number)
        else:
            how.bad(file_row(content, number), 'is no JSON object such as {"text": "...", "label": "..."}')
    return Rows(columns(records), numbers)


def _list(content: Content, text: str) -> list[tuple[int, Any]]:
    try:
        return list(enumerate(json.loads(text), 1))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{content.name} is no JSON list of objects: {error}") from None


def _objects(lines: list[str]) -> bool:
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("["):
        return _is(list, "\n".join(lines))
    return _is(dict, first)


def _is(kind: type, text: str) -> bool:
    try:
        return isinstance(json.loads(text), kind)
    except (ValueError, RecursionError):
        return False


JSONL = Form("jsonl", "JSON objects", _read, (".jsonl", ".ndjson", ".json"), _objects)
