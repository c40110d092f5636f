"""Captions in the format of Flickr8k and Flickr30k: on each line an image, # and a number, a tab, a caption."""

import re

from elman.data.content import Content, content
from elman.data.formats.format import (
    IMAGE_FOLDERS,
    Format,
    ImageColumn,
    RawTable,
    ReadContext,
    file_row,
    register,
)
from elman.data.image_file import SUFFIXES
from elman.data.split_names import SPLIT

LINE = re.compile(r"\s*([^\t]+?)#\d+\s*\t(.*)")
LISTS = {
    "train": "Flickr_8k.trainImages.txt", "valid": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt",
}  # fmt: skip
OWN = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "flickr30k_images",
       "flickr30k-images")  # fmt: skip
FOLDERS = (*IMAGE_FOLDERS, *OWN, *(f"../{name}" for name in OWN))


def _matches(lines: list[str]) -> bool:
    found = [LINE.fullmatch(line) for line in lines if line.strip()]
    return all(found) and found[0] is not None and found[0][1].lower().endswith(SUFFIXES)


def _read(content: Content, context: ReadContext) -> RawTable:
    listed = _read_lists(content, context)
    rest = None if "train" in listed.values() else "train"
    columns, numbers, skipped = {"image": list[str](), "caption": list[str]()}, list[int](), set[str]()
    splits = list[str]()
    for number, line in context.lines(content):
        found = LINE.fullmatch(line)
        if not found:
            context.bad(file_row(content, number), "is not an image, # and a number, a tab and a caption")
            continue
        name, split = found[1], listed.get(found[1], rest)
        if listed and split is None:
            skipped.add(name)
            continue
        columns["image"].append(name)
        columns["caption"].append(found[2].strip())
        splits.append(split or "")
        numbers.append(number)
    if skipped:
        context.notes.append(f"{content.name}: {len(skipped):,} images are in none of the lists and were skipped")
    return RawTable(columns | ({SPLIT: splits} if listed else {}), numbers, images=ImageColumn(folders=FOLDERS))


def _read_lists(table: Content, context: ReadContext) -> dict[str, str]:
    """The split of each image, by the lists next to the captions."""
    found = dict[str, str]()
    for split, name in LISTS.items():
        if table.folder.exists(name):
            lines = content(table.folder.location(name)).lines(context.encoding)
            names = [line.strip() for line in lines if line.strip()]
            context.notes.append(f"{table.name}: {name} next to it lists the {len(names):,} images of {split}")
            found |= dict.fromkeys(names, split)
    return found


FLICKR = register(Format("flickr8k", "captions in the format of Flickr8k", _read, matches=_matches, priority=15))
