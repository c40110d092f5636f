"""Questions about images in the format of easy-VQA: https://github.com/vzhou842/easy-VQA."""

from typing import Any

from elman.data.content import Content, content
from elman.data.formats.format import Format, ImageColumn, RawTable, ReadContext, file_row, register
from elman.data.split_names import SPLIT, SPLITS
from elman.errors import UserError

FILE = "questions.json"
EXPECTED = f"easy-VQA: expected a folder or a zip with train/{FILE} and train/images, and the same of test"


def _detects(content: Content, encoding: str) -> bool:
    return bool(_splits(content)) if content.data is None else _is_list(content.document(encoding))


def _splits(found: Content) -> list[str]:
    return [name for name in SPLITS if found.folder.exists(f"{name}/{FILE}")]


def _is_list(document: Any) -> bool:
    """Whether it is a list of [question, answer, number of the image], by its first entry."""
    return isinstance(document, list) and bool(document) and _is_entry(document[0])


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and [type(value) for value in entry] == [str, str, int]


def _read(found: Content, context: ReadContext) -> RawTable:
    """Every split of a folder, or the questions of one file."""
    splits = _splits(found) if found.data is None else []
    files = [content(found.folder.location(f"{name}/{FILE}")) for name in splits] or [found]
    rows = RawTable({"image": [], "question": [], "answer": []}, [])
    paths, split = dict[str, str](), list[str]()
    for file in files:
        folder = file.path.parent.name
        for number, (question, answer, image) in _entries(file, context):
            name = f"{folder}/images/{image}.png"
            paths[name] = name if splits else f"images/{image}.png"
            for column, value in zip(rows.columns.values(), (name, question, answer), strict=True):
                column.append(value.strip())
            split.append(folder)
            rows.numbers.append(number)
            rows.files.append(file.name)
    columns = rows.columns | ({SPLIT: split} if len(splits) > 1 else {})
    return RawTable(columns, rows.numbers, rows.files, ImageColumn(folders=(".",), paths=paths))


def _entries(file: Content, context: ReadContext) -> list[tuple[int, list[Any]]]:
    document = None if file.data is None else file.document(context.encoding)
    if not isinstance(document, list):
        raise UserError(f"{file.name} is not {EXPECTED}")
    good = list[tuple[int, list[Any]]]()
    for number, entry in enumerate(document, 1):
        if _is_entry(entry):
            good.append((number, entry))
        else:
            context.bad(file_row(file, number), "is not [question, answer, number of the image]")
    return good


EASY_VQA = register(Format("easy-vqa", "questions in the format of easy-VQA", _read, detects=_detects, priority=14))
