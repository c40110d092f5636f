"""Questions about pictures as CLEVR has them: https://cs.stanford.edu/people/jcjohns/clevr."""

from typing import Any

from elman.data.content import Content
from elman.data.formats.format import Form, How, Images, Rows
from elman.data.formats.json_document import TEXT, first, records, stripped, wanted
from elman.data.split_names import SPLIT

EXPECTED = "file of CLEVR questions: expected questions (image_filename, question, answer)"


def _knows(content: Content, encoding: str) -> bool:
    return {"image_filename", "question"} <= first(content.document(encoding), "questions").keys()


def _read(content: Content, how: How) -> Rows:
    document = wanted(content, how, "questions", EXPECTED)
    asked = records(content, how, document, "questions", image_filename=str, question=TEXT, answer=TEXT)
    entries = [entry for _, entry in asked]
    columns: dict[str, list[Any]] = {
        "image": [entry["image_filename"] for entry in entries],
        "question": [stripped(entry["question"]) for entry in entries],
        "answer": [stripped(entry.get("answer")) for entry in entries],
        "kind": [_kind(entry.get("program")) for entry in entries],
        SPLIT: [entry.get("split") for entry in entries],
    }
    for name in ("answer", "kind"):  # the test part has neither
        if not any(columns[name]):
            del columns[name]
    if len(set(columns[SPLIT])) == 1:
        del columns[SPLIT]
    paths = {entry["image_filename"]: f"{entry.get('split') or '.'}/{entry['image_filename']}" for entry in entries}
    return Rows(columns, [number for number, _ in asked], images=Images(paths=paths))


def _kind(program: Any) -> str | None:
    """What the last step of the question's program asks: to count, to compare, for a colour."""
    last = program[-1] if isinstance(program, list) and program else None
    found = (last.get("function") or last.get("type")) if isinstance(last, dict) else None
    return found if isinstance(found, str) else None


CLEVR = Form("clevr", "questions as CLEVR has them", _read, knows=_knows)
