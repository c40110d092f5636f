"""Captions in the format of COCO: https://cocodataset.org/#format-data."""

from elman.data.content import Content
from elman.data.formats.format import Format, ImageColumn, RawTable, ReadContext, file_row, register
from elman.data.formats.json_document import (
    ID,
    TEXT,
    document_with,
    first_record,
    image_folder,
    note_without_caption,
    records,
    stripped,
)
from elman.errors import UserError

EXPECTED = "file of COCO captions: expected images (id, file_name) and annotations (image_id, caption)"


def _detects(content: Content, encoding: str) -> bool:
    """Also annotation files without captions: the error then names what was expected."""
    return {"id", "file_name"} <= first_record(content.document(encoding), "images").keys()


def _read(content: Content, context: ReadContext) -> RawTable:
    document = document_with(content, context, "images", EXPECTED)
    annotation = first_record(document_with(content, context, "annotations", EXPECTED), "annotations")
    if annotation and "caption" not in annotation:
        has = ", ".join(sorted(annotation))
        raise UserError(f"{content.name} has no captions (an annotation has {has}): give the file captions_*.json")
    images = records(content, context, document, "images", id=ID, file_name=str)
    names = dict[int | str, str]()
    for number, image in images:
        if image["id"] in names:
            context.bad(f"{file_row(content, number)} in images", f"has the id {image['id']} of another image")
        else:
            names[image["id"]] = image["file_name"]
    columns, numbers = {"image": list[str](), "caption": list[str | None]()}, list[int]()
    for number, entry in records(content, context, document, "annotations", image_id=ID, caption=TEXT):
        name = names.get(entry["image_id"])
        if name is None:
            context.bad(file_row(content, number), f"is of image {entry['image_id']}, which is not among the images")
            continue
        columns["image"].append(name)
        columns["caption"].append(stripped(entry["caption"]))
        numbers.append(number)
    note_without_caption(content, context, len(set(names.values()) - set(columns["image"])), len(names))
    folder = image_folder(content.path.stem)
    return RawTable(columns, numbers, images=ImageColumn(paths={name: f"{folder}/{name}" for name in names.values()}))


COCO = register(Format("coco", "COCO captions", _read, detects=_detects, priority=11))
