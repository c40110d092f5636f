"""Questions about pictures as VQA has them, their answers in a second file: https://visualqa.org/vqa_v2_teaser.html."""

from typing import Any

from elman.data.content import Content, content
from elman.data.formats.format import BESIDE, Form, How, Images, Rows
from elman.data.formats.json_document import ID, TEXT, first, records, stripped, wanted
from elman.errors import UserError

EXPECTED = "file of VQA questions: expected questions (question_id, image_id, question) and data_subtype"
ANSWERS = "file of VQA annotations: expected annotations (question_id, multiple_choice_answer)"
OWN = ("Images/mscoco", "../Images/mscoco")  # as https://github.com/GT-Vision-Lab/VQA wants them


def _knows(content: Content, encoding: str) -> bool:
    document = content.document(encoding)
    asked, answered = first(document, "questions"), first(document, "annotations")
    return {"image_id", "question"} <= asked.keys() or {"question_id", "image_id"} <= answered.keys()


def _read(questions: Content, how: How) -> Rows:
    if first(questions.document(how.encoding), "annotations"):
        raise UserError(
            f"{questions.name} holds answers: give the file of the questions, v2_OpenEnded_*_questions.json"
        )
    document = wanted(questions, how, "questions", EXPECTED)
    part = document.get("data_subtype")
    if not isinstance(part, str):
        raise UserError(f"{questions.name} is no {EXPECTED}")
    asked = records(questions, how, document, "questions", question_id=ID, image_id=int, question=TEXT)
    folder = part.replace("-dev", "")  # test-dev2015 asks about some of test2015
    names = [f"COCO_{folder}_{entry['image_id']:012d}.jpg" for _, entry in asked]
    columns = {"image": names, "question": [stripped(entry["question"]) for _, entry in asked]}
    answers = _answers(questions, how)
    if answers is not None:
        found = [answers.get(entry["question_id"], {}) for _, entry in asked]
        columns["answer"] = [stripped(each.get("multiple_choice_answer")) for each in found]
        columns["kind"] = [each.get("answer_type") or each.get("question_type") for each in found]
    images = Images(folders=BESIDE + OWN, paths={name: f"{folder}/{name}" for name in names})
    return Rows(columns, [number for number, _ in asked], images=images)


def _answers(questions: Content, how: How) -> dict[Any, dict[str, Any]] | None:
    """By question; from the file beside the questions that has their name without OpenEnded and with annotations."""
    name = questions.path.name.replace("OpenEnded_", "").replace("MultipleChoice_", "")
    name = name.replace("_questions", "_annotations")
    if name == questions.path.name or not (place := _beside(questions, name)):
        how.notes.append(f"{questions.name}: no {name} beside it, so the questions have no answers")
        return None
    file = content(place)
    document = wanted(file, how, "annotations", ANSWERS)
    how.notes.append(f"{questions.name}: the answers are in {file.name}")
    found = records(file, how, document, "annotations", question_id=ID, multiple_choice_answer=TEXT)
    return {entry["question_id"]: entry for _, entry in found}


def _beside(questions: Content, name: str) -> str | None:
    """The file of that name in the folder of the questions, or in that for annotations."""
    for folder in (".", "../Annotations", "../annotations"):
        place = questions.place.to(folder)
        if place.has(name):
            return place.where(name)
    return None


VQA = Form("vqa", "questions as VQA has them", _read, knows=_knows)
