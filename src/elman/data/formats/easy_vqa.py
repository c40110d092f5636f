"""Questions about pictures as easy-VQA has them: https://github.com/vzhou842/easy-VQA."""

from typing import Any

from elman.data.content import Content, content
from elman.data.formats.format import Form, How, Images, Rows, file_row
from elman.data.split_names import PARTS, SPLIT
from elman.errors import UserError

FILE = "questions.json"
EXPECTED = f"easy-VQA: expected a folder or a zip with train/{FILE} and train/images, and the same of test"


def _knows(content: Content, encoding: str) -> bool:
    return bool(_parts(content)) if content.data is None else _entries(content.document(encoding))


def _parts(folder: Content) -> list[str]:
    return [part for part in PARTS if folder.place.has(f"{part}/{FILE}")]


def _entries(document: Any) -> bool:
    """Whether it is a list of [question, answer, number of the picture]; looks at the first."""
    return isinstance(document, list) and bool(document) and _entry(document[0])


def _entry(entry: Any) -> bool:
    return isinstance(entry, list) and [type(value) for value in entry] == [str, str, int]


def _read(found: Content, how: How) -> Rows:
    """Every part of a folder, or the questions of one file."""
    parts = _parts(found) if found.data is None else []
    files = [content(found.place.where(f"{part}/{FILE}")) for part in parts] or [found]
    rows = Rows({"image": [], "question": [], "answer": []}, [])
    paths, split = dict[str, str](), list[str]()
    for file in files:
        part = file.path.parent.name
        for number, (question, answer, image) in _asked(file, how):
            name = f"{part}/images/{image}.png"
            paths[name] = name if parts else f"images/{image}.png"
            for column, value in zip(rows.columns.values(), (name, question, answer), strict=True):
                column.append(value.strip())
            split.append(part)
            rows.numbers.append(number)
            rows.files.append(file.name)
    columns = rows.columns | ({SPLIT: split} if len(parts) > 1 else {})
    return Rows(columns, rows.numbers, rows.files, Images(folders=(".",), paths=paths))


def _asked(file: Content, how: How) -> list[tuple[int, list[Any]]]:
    document = None if file.data is None else file.document(how.encoding)
    if not isinstance(document, list):
        raise UserError(f"{file.name} is no {EXPECTED}")
    good = list[tuple[int, list[Any]]]()
    for number, entry in enumerate(document, 1):
        if _entry(entry):
            good.append((number, entry))
        else:
            how.bad(file_row(file, number), "is no [question, answer, number of the picture]")
    return good


EASY_VQA = Form("easy-vqa", "questions as easy-VQA has them", _read, folder=True, knows=_knows)
