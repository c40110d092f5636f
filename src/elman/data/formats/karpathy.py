"""Captions with their splits, in the format of Karpathy: https://cs.stanford.edu/people/karpathy/deepimagesent."""

from elman.data.content import Content
from elman.data.formats.flickr import FOLDERS
from elman.data.formats.format import Format, ImageColumn, RawTable, ReadContext, register
from elman.data.formats.json_document import (
    TEXT,
    document_with,
    first_record,
    has_fields,
    note_without_caption,
    records,
    stripped,
)
from elman.data.split_names import SPLIT

EXPECTED = "file of a Karpathy split: expected images (filename, split, sentences with raw)"
MORE = {"restval": "train"}  # the rest of COCO's validation split


def _detects(content: Content, encoding: str) -> bool:
    return {"filename", "sentences"} <= first_record(content.document(encoding), "images").keys()


def _read(content: Content, context: ReadContext) -> RawTable:
    """The number of a row is that of its image."""
    document = document_with(content, context, "images", EXPECTED)
    columns, numbers = {"image": list[str](), "caption": list[str | None](), SPLIT: list[str]()}, list[int]()
    paths, without, rest = dict[str, str](), 0, 0
    for number, image in records(content, context, document, "images", filename=str, split=str, sentences=list):
        name, split = image["filename"], image["split"]
        paths[name] = f"{image.get('filepath') or '.'}/{name}"
        without, rest = without + (not image["sentences"]), rest + (split in MORE)
        for sentence in image["sentences"]:
            if has_fields(content, context, "in sentences", number, sentence, {"raw": TEXT}):
                columns["image"].append(name)
                columns["caption"].append(stripped(sentence["raw"]))
                columns[SPLIT].append(MORE.get(split, split))
                numbers.append(number)
    note_without_caption(content, context, without, len(paths))
    if rest:
        context.notes.append(f"{content.name}: {rest:,} images of the split restval count as train")
    return RawTable(columns, numbers, images=ImageColumn(folders=FOLDERS, paths=paths))


KARPATHY = register(Format("karpathy", "captions of a Karpathy split", _read, detects=_detects, priority=10))
