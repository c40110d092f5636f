"""A JSON file with lists of records: the form of annotation files."""

from types import NoneType
from typing import Any

from elman.data.content import Content
from elman.data.formats.format import ReadContext, file_row
from elman.errors import UserError

NAMES = {int: "an integer", str: "a text", list: "a list", dict: "an object", NoneType: "null"}
Types = type | tuple[type, ...]
ID, TEXT = (int, str), (str, NoneType)


def first_record(document: Any, name: str) -> dict[str, Any]:
    """The first record of a list of the document; empty where there is none."""
    entries = document.get(name) if isinstance(document, dict) else None
    record = entries[0] if isinstance(entries, list) and entries else {}
    return record if isinstance(record, dict) else {}


def document_with(content: Content, context: ReadContext, name: str, expected: str) -> dict[str, Any]:
    """The document, which must have a list of that name."""
    document = content.document(context.encoding)
    if not isinstance(document, dict) or not isinstance(document.get(name), list):
        raise UserError(f"{content.name} is not a {expected}")
    return document


def records(
    content: Content, context: ReadContext, document: dict[str, Any], name: str, **fields: Types
) -> list[tuple[int, Any]]:
    """The records of a list of the document that have these fields, with their numbers; others are bad rows."""
    return [
        (number, record)
        for number, record in enumerate(document[name], 1)
        if has_fields(content, context, f"in {name}", number, record, fields)
    ]


def has_fields(
    content: Content, context: ReadContext, where: str, number: int, record: Any, fields: dict[str, Types]
) -> bool:
    """Whether a record has fields of these types; if not, it is reported as a bad row."""
    for name, types in fields.items():
        allowed = types if isinstance(types, tuple) else (types,)
        value = record.get(name) if isinstance(record, dict) else record
        if not isinstance(record, dict) or not isinstance(value, allowed) or isinstance(value, bool):
            expected = " or ".join(NAMES[each] for each in allowed if each is not NoneType)
            context.bad(f"{file_row(content, number)} {where}", f"has no {name} that is {expected}")
            return False
    return True


def stripped(text: str | None) -> str | None:
    """The text without white space at its ends, if there is any."""
    return text if text is None else text.strip()


def note_without_caption(content: Content, context: ReadContext, count: int, images: int) -> None:
    """Notes how many of the images have no caption, if any."""
    if count:
        context.notes.append(f"{content.name}: {count:,} of {images:,} images have no caption and were skipped")


def image_folder(stem: str) -> str:
    """The folder of an annotation file's images: train2017 of captions_train2017."""
    return stem.rpartition("_")[2]
