"""Captions as Flickr8k and Flickr30k have them: a picture, # and a number, a tab, a caption a line."""

import re

from elman.data.content import Content, content
from elman.data.formats.format import BESIDE, Form, How, Images, Rows, file_row
from elman.data.image_file import SUFFIXES
from elman.data.split_names import SPLIT

LINE = re.compile(r"\s*([^\t]+?)#\d+\s*\t(.*)")
LISTS = {
    "train": "Flickr_8k.trainImages.txt", "valid": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt",
}  # fmt: skip
OWN = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "flickr30k_images",
       "flickr30k-images")  # fmt: skip
FOLDERS = (*BESIDE, *OWN, *(f"../{name}" for name in OWN))


def _fits(lines: list[str]) -> bool:
    found = [LINE.fullmatch(line) for line in lines if line.strip()]
    return all(found) and found[0] is not None and found[0][1].lower().endswith(SUFFIXES)


def _read(content: Content, how: How) -> Rows:
    listed = _listed(content, how)
    rest = None if "train" in listed.values() else "train"
    columns, numbers, left = {"image": list[str](), "caption": list[str]()}, list[int](), set[str]()
    parts = list[str]()
    for number, line in how.lines(content):
        found = LINE.fullmatch(line)
        if not found:
            how.bad(file_row(content, number), "is no picture, # and a number, a tab and a caption")
            continue
        name, part = found[1], listed.get(found[1], rest)
        if listed and part is None:
            left.add(name)
            continue
        columns["image"].append(name)
        columns["caption"].append(found[2].strip())
        parts.append(part or "")
        numbers.append(number)
    if left:
        how.notes.append(f"{content.name}: {len(left):,} pictures are in none of the lists, and are left out")
    return Rows(columns | ({SPLIT: parts} if listed else {}), numbers, images=Images(folders=FOLDERS))


def _listed(table: Content, how: How) -> dict[str, str]:
    """The part of each picture, by the lists that stand beside the captions."""
    found = dict[str, str]()
    for part, name in LISTS.items():
        if table.place.has(name):
            lines = content(table.place.where(name)).lines(how.encoding)
            names = [line.strip() for line in lines if line.strip()]
            how.notes.append(f"{table.name}: {name} beside it says which {len(names):,} pictures are {part}")
            found |= dict.fromkeys(names, part)
    return found


FLICKR = Form("flickr8k", "captions as Flickr8k has them", _read, (), _fits)
