"""Captions as COCO has them: https://cocodataset.org/#format-data."""

from elman.data.content import Content
from elman.data.formats.format import Form, How, Images, Rows, file_row
from elman.data.formats.json_document import ID, TEXT, first, log_bare, part, records, stripped, wanted
from elman.errors import UserError

EXPECTED = "file of COCO captions: expected images (id, file_name) and annotations (image_id, caption)"


def _knows(content: Content, encoding: str) -> bool:
    """True for annotation files without captions too: the error then says what was expected."""
    return {"id", "file_name"} <= first(content.document(encoding), "images").keys()


def _read(content: Content, how: How) -> Rows:
    document = wanted(content, how, "images", EXPECTED)
    annotation = first(wanted(content, how, "annotations", EXPECTED), "annotations")
    if annotation and "caption" not in annotation:
        has = ", ".join(sorted(annotation))
        raise UserError(f"{content.name} has no captions (an annotation has {has}): give the file captions_*.json")
    images = records(content, how, document, "images", id=ID, file_name=str)
    names = dict[int | str, str]()
    for number, image in images:
        if image["id"] in names:
            how.bad(f"{file_row(content, number)} in images", f"has the id {image['id']} of another image")
        else:
            names[image["id"]] = image["file_name"]
    columns, numbers = {"image": list[str](), "caption": list[str | None]()}, list[int]()
    for number, entry in records(content, how, document, "annotations", image_id=ID, caption=TEXT):
        name = names.get(entry["image_id"])
        if name is None:
            how.bad(file_row(content, number), f"is of image {entry['image_id']}, which is not among the images")
            continue
        columns["image"].append(name)
        columns["caption"].append(stripped(entry["caption"]))
        numbers.append(number)
    log_bare(content, how, len(set(names.values()) - set(columns["image"])), len(names))
    below = part(content.path.stem)
    return Rows(columns, numbers, images=Images(paths={name: f"{below}/{name}" for name in names.values()}))


COCO = Form("coco", "COCO captions", _read, knows=_knows)
