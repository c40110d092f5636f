"""A JSON file that holds lists of records: how annotation files are made."""

from types import NoneType
from typing import Any

from elman.data.content import Content
from elman.data.formats.format import How, file_row
from elman.errors import UserError

NAMES = {int: "a whole number", str: "a text", list: "a list", dict: "an object", NoneType: "null"}
Types = type | tuple[type, ...]
ID, TEXT = (int, str), (str, NoneType)


def first(document: Any, name: str) -> dict[str, Any]:
    """The first record of a list of the document; empty where there is none such."""
    entries = document.get(name) if isinstance(document, dict) else None
    record = entries[0] if isinstance(entries, list) and entries else {}
    return record if isinstance(record, dict) else {}


def wanted(content: Content, how: How, name: str, expected: str) -> dict[str, Any]:
    """The document, if it has a list of that name."""
    document = content.document(how.encoding)
    if not isinstance(document, dict) or not isinstance(document.get(name), list):
        raise UserError(f"{content.name} is no {expected}")
    return document


def records(content: Content, how: How, document: dict[str, Any], name: str, **fields: Types) -> list[tuple[int, Any]]:
    """Those of a list of the document that have these fields, with their numbers; others are bad rows."""
    return [
        (number, record)
        for number, record in enumerate(document[name], 1)
        if whole(content, how, f"in {name}", number, record, fields)
    ]


def whole(content: Content, how: How, place: str, number: int, record: Any, fields: dict[str, Types]) -> bool:
    for name, types in fields.items():
        allowed = types if isinstance(types, tuple) else (types,)
        value = record.get(name) if isinstance(record, dict) else record
        if not isinstance(record, dict) or not isinstance(value, allowed) or isinstance(value, bool):
            expected = " or ".join(NAMES[each] for each in allowed if each is not NoneType)
            how.bad(f"{file_row(content, number)} {place}", f"has no {name} that is {expected}")
            return False
    return True


def stripped(text: str | None) -> str | None:
    return text if text is None else text.strip()


def log_bare(content: Content, how: How, bare: int, images: int) -> None:
    """Tells how many of the images have no caption, if any."""
    if bare:
        how.notes.append(f"{content.name}: {bare:,} of {images:,} images have no caption, and are left out")


def part(stem: str) -> str:
    """What an annotation file calls its pictures: train2017 of captions_train2017."""
    return stem.rpartition("_")[2]
