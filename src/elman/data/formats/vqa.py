"""Questions about images in the format of VQA, their answers in a second file: https://visualqa.org."""

from typing import Any

from elman.data.content import Content, content
from elman.data.formats.format import IMAGE_FOLDERS, Format, ImageColumn, RawTable, ReadContext, register
from elman.data.formats.json_document import ID, TEXT, document_with, first_record, records, stripped
from elman.errors import UserError

EXPECTED = "file of VQA questions: expected questions (question_id, image_id, question) and data_subtype"
ANSWERS = "file of VQA annotations: expected annotations (question_id, multiple_choice_answer)"
OWN = ("Images/mscoco", "../Images/mscoco")  # as in https://github.com/GT-Vision-Lab/VQA


def _detects(content: Content, encoding: str) -> bool:
    document = content.document(encoding)
    question, annotation = first_record(document, "questions"), first_record(document, "annotations")
    return {"image_id", "question"} <= question.keys() or {"question_id", "image_id"} <= annotation.keys()


def _read(questions: Content, context: ReadContext) -> RawTable:
    if first_record(questions.document(context.encoding), "annotations"):
        raise UserError(f"{questions.name} has answers: give the file of the questions, v2_OpenEnded_*_questions.json")
    document = document_with(questions, context, "questions", EXPECTED)
    subtype = document.get("data_subtype")
    if not isinstance(subtype, str):
        raise UserError(f"{questions.name} is not a {EXPECTED}")
    entries = records(questions, context, document, "questions", question_id=ID, image_id=int, question=TEXT)
    folder = subtype.replace("-dev", "")  # the images of test-dev2015 are some of test2015
    names = [f"COCO_{folder}_{entry['image_id']:012d}.jpg" for _, entry in entries]
    columns = {"image": names, "question": [stripped(entry["question"]) for _, entry in entries]}
    answers = _answers(questions, context)
    if answers is not None:
        found = [answers.get(entry["question_id"], {}) for _, entry in entries]
        columns["answer"] = [stripped(each.get("multiple_choice_answer")) for each in found]
        columns["kind"] = [each.get("answer_type") or each.get("question_type") for each in found]
    images = ImageColumn(folders=IMAGE_FOLDERS + OWN, paths={name: f"{folder}/{name}" for name in names})
    return RawTable(columns, [number for number, _ in entries], images=images)


def _answers(questions: Content, context: ReadContext) -> dict[Any, dict[str, Any]] | None:
    """The annotation of each question, from the file next to the questions that has their name without OpenEnded and
    with annotations."""
    name = questions.path.name.replace("OpenEnded_", "").replace("MultipleChoice_", "")
    name = name.replace("_questions", "_annotations")
    if name == questions.path.name or not (path := _find(questions, name)):
        context.notes.append(f"{questions.name}: no {name} next to it, so the questions have no answers")
        return None
    file = content(path)
    document = document_with(file, context, "annotations", ANSWERS)
    context.notes.append(f"{questions.name}: the answers are in {file.name}")
    found = records(file, context, document, "annotations", question_id=ID, multiple_choice_answer=TEXT)
    return {entry["question_id"]: entry for _, entry in found}


def _find(questions: Content, name: str) -> str | None:
    """The file of that name in the folder of the questions, or in that for annotations."""
    for path in (".", "../Annotations", "../annotations"):
        folder = questions.folder.folder(path)
        if folder.exists(name):
            return folder.location(name)
    return None


VQA = register(Format("vqa", "questions in the format of VQA", _read, detects=_detects, priority=12))
