"""Columns that name images: from names to images, each found and checked."""

import os
import posixpath
from typing import Any

from elman.data.content import Content
from elman.data.filesystem import Filesystem, open_folder
from elman.data.formats.format import ImageColumn, RawTable, ReadContext, file_row
from elman.data.image import LazyImage
from elman.data.image_file import SUFFIXES, ImageFile
from elman.errors import UserError

TRIED = 16  # names, spread over the table, that are searched in a folder before all are


def with_images(content: Content, rows: RawTable, context: ReadContext) -> RawTable:
    """The rows with images in place of their names. One that is missing or not an image makes a bad row."""
    found = [rows.images] if rows.images else [
        ImageColumn(name) for name, values in rows.columns.items() if _are_names(values)
    ]  # fmt: skip
    if context.images is not None and not found:
        raise UserError(f"`images` {context.images}: no column of {content.name} names images")
    for images in found:
        rows = _replace(content, rows, images, context)
    return rows


def _are_names(values: list[Any]) -> bool:
    """Whether all values end as names of images do; some may be missing. A URL is not a name."""
    if not all(value is None or isinstance(value, str) for value in values):
        return False
    given = [value.strip() for value in values if value and value.strip()]
    return bool(given) and all(value.lower().endswith(SUFFIXES) and "://" not in value for value in given)


def _replace(content: Content, rows: RawTable, images: ImageColumn, context: ReadContext) -> RawTable:
    """The rows with images in this column; rows of one image share it."""
    names = [_normalized(value or "", content) for value in rows.columns[images.column]]
    distinct = list(dict.fromkeys(name for name in names if name))
    if not distinct:
        return rows
    where = [file_row(content, number) for number in rows.numbers]
    if rows.files:
        where = [f"{file} row {number}" for file, number in zip(rows.files, rows.numbers, strict=True)]
    paths = {_normalized(name, content): path for name, path in images.paths.items()}
    folder, paths = _find_folder(content, distinct, images, paths, where[names.index(distinct[0])], context)
    context.notes.extend(_notes(content, images, folder, [paths.get(name, name) for name in distinct], distinct))
    known, kept = dict[str, LazyImage | str](), list[int]()
    for row, name in enumerate(names):
        if name and name not in known:
            known[name] = _checked(ImageFile(name, folder, paths.get(name, name)), context.bad.skip)
        problem = known.get(name)
        if isinstance(problem, str):
            context.bad(where[row], f"has an image that cannot be used: {problem}")
        else:
            kept.append(row)
    columns = {column: [values[row] for row in kept] for column, values in rows.columns.items()}
    columns[images.column] = [known.get(names[row]) for row in kept]
    files = [rows.files[row] for row in kept] if rows.files else []
    return RawTable(columns, [rows.numbers[row] for row in kept], files, rows.images)


def _notes(content: Content, images: ImageColumn, folder: Filesystem, paths: list[str], names: list[str]) -> list[str]:
    below = list(dict.fromkeys(map(os.path.dirname, paths)))
    shown = folder.location(below[0]) + (f" and {len(below) - 1:,} other folders" if len(below) > 1 else "")
    notes = [f"{content.name}: column {images.column} names {len(names):,} images, in {shown}"]
    outside = sum(map(os.path.isabs, names))
    if outside:
        notes.append(f"{content.name}: {outside:,} images are elsewhere and are identified by their whole path")
    return notes


def _normalized(name: str, content: Content) -> str:
    """A name that is the same on every machine; empty where there is none."""
    if not name.strip():
        return ""
    name = posixpath.normpath(name.strip().replace("\\", "/"))
    root = os.path.abspath(content.folder.location(""))
    return os.path.relpath(name, root) if name.startswith(f"{root}/") else name


def _find_folder(
    content: Content, names: list[str], images: ImageColumn, paths: dict[str, str], where: str, context: ReadContext
) -> tuple[Filesystem, dict[str, str]]:
    """The folder that has the images, and their paths in it where these are more than their names."""
    if context.images is None:
        here, below = content.folder, images.folders
    else:
        here, below = open_folder(context.images), (".",)
    folders, layouts = [here.folder(path) for path in below], [paths, {}] if paths else [{}]
    for some in (names[:: -(-len(names) // TRIED)], names):
        for layout in layouts:
            for folder in folders:
                if any(folder.exists(layout.get(name, name)) for name in some):
                    return folder, layout
    tried = dict.fromkeys(
        folder.location(os.path.dirname(layout.get(names[0], names[0]))) for layout in layouts for folder in folders
    )
    raise UserError(
        f"{where} names the image {names[0]}, but no image of the table was found in {', '.join(tried)}; "
        "name their folder with `images`"
    )


def _checked(image: ImageFile, whole: bool) -> LazyImage | str:
    """The image, or its problem. Where bad rows are skipped, all of it is decoded, so that no error appears later."""
    try:
        image.check(whole)
    except UserError as error:
        return str(error)
    return image
