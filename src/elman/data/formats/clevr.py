"""Questions about images in the format of CLEVR: https://cs.stanford.edu/people/jcjohns/clevr."""

from typing import Any

from elman.data.content import Content
from elman.data.formats.format import Format, ImageColumn, RawTable, ReadContext, register
from elman.data.formats.json_document import TEXT, document_with, first_record, records, stripped
from elman.data.split_names import SPLIT

EXPECTED = "file of CLEVR questions: expected questions (image_filename, question, answer)"


def _detects(content: Content, encoding: str) -> bool:
    return {"image_filename", "question"} <= first_record(content.document(encoding), "questions").keys()


def _read(content: Content, context: ReadContext) -> RawTable:
    document = document_with(content, context, "questions", EXPECTED)
    found = records(content, context, document, "questions", image_filename=str, question=TEXT, answer=TEXT)
    entries = [entry for _, entry in found]
    columns: dict[str, list[Any]] = {
        "image": [entry["image_filename"] for entry in entries],
        "question": [stripped(entry["question"]) for entry in entries],
        "answer": [stripped(entry.get("answer")) for entry in entries],
        "kind": [_kind(entry.get("program")) for entry in entries],
        SPLIT: [entry.get("split") for entry in entries],
    }
    for name in ("answer", "kind"):  # the test split has neither
        if not any(columns[name]):
            del columns[name]
    if len(set(columns[SPLIT])) == 1:
        del columns[SPLIT]
    paths = {entry["image_filename"]: f"{entry.get('split') or '.'}/{entry['image_filename']}" for entry in entries}
    return RawTable(columns, [number for number, _ in found], images=ImageColumn(paths=paths))


def _kind(program: Any) -> str | None:
    """The last operation of the question's program: count, compare, query a colour."""
    last = program[-1] if isinstance(program, list) and program else None
    found = (last.get("function") or last.get("type")) if isinstance(last, dict) else None
    return found if isinstance(found, str) else None


CLEVR = register(Format("clevr", "questions in the format of CLEVR", _read, detects=_detects, priority=13))
