"""Columns that name pictures: from names to pictures, each found and looked at."""

import os
import posixpath
from typing import Any

from elman.data.content import Content
from elman.data.filesystem import Filesystem, place
from elman.data.formats.format import How, Images, Rows, file_row
from elman.data.image import LazyImage
from elman.data.image_file import SUFFIXES, ImageFile
from elman.errors import UserError

TRIED = 16  # names, spread over the table, that are looked for in a folder before all are


def with_pictures(content: Content, rows: Rows, how: How) -> Rows:
    """The rows with pictures instead of their names. One that is not there or is no picture makes a bad row."""
    found = [rows.images] if rows.images else [Images(name) for name, values in rows.columns.items() if _named(values)]
    if how.images is not None and not found:
        raise UserError(f"--images {how.images}: no column of {content.name} names pictures")
    for images in found:
        rows = _changed(content, rows, images, how)
    return rows


def _named(values: list[Any]) -> bool:
    """Whether all values end as the names of pictures do; some may be missing. An address in the web is no name."""
    if not all(value is None or isinstance(value, str) for value in values):
        return False
    given = [value.strip() for value in values if value and value.strip()]
    return bool(given) and all(value.lower().endswith(SUFFIXES) and "://" not in value for value in given)


def _changed(content: Content, rows: Rows, images: Images, how: How) -> Rows:
    """Rows of one picture share it."""
    names = [_plain(value or "", content) for value in rows.columns[images.column]]
    distinct = list(dict.fromkeys(name for name in names if name))
    if not distinct:
        return rows
    where = [file_row(content, number) for number in rows.numbers]
    if rows.files:
        where = [f"{file} row {number}" for file, number in zip(rows.files, rows.numbers, strict=True)]
    paths = {_plain(name, content): path for name, path in images.paths.items()}
    folder, paths = _found(content, distinct, images, paths, where[names.index(distinct[0])], how)
    below = list(dict.fromkeys(os.path.dirname(paths.get(name, name)) for name in distinct))
    shown = folder.where(below[0]) + (f" and {len(below) - 1:,} other folders" if len(below) > 1 else "")
    how.notes.append(f"{content.name}: column {images.column} names {len(distinct):,} pictures, in {shown}")
    outside = sum(map(os.path.isabs, distinct))
    if outside:
        how.notes.append(f"{content.name}: {outside:,} pictures stand elsewhere and are known by their whole path")
    known, kept = dict[str, LazyImage | str](), list[int]()
    for row, name in enumerate(names):
        if name and name not in known:
            known[name] = _checked(ImageFile(name, folder, paths.get(name, name)), how.bad.skip)
        problem = known.get(name)
        if isinstance(problem, str):
            how.bad(where[row], f"has a picture that cannot be used: {problem}")
        else:
            kept.append(row)
    columns = {column: [values[row] for row in kept] for column, values in rows.columns.items()}
    columns[images.column] = [known.get(names[row]) for row in kept]
    files = [rows.files[row] for row in kept] if rows.files else []
    return Rows(columns, [rows.numbers[row] for row in kept], files, rows.images)


def _plain(name: str, content: Content) -> str:
    """A name as it is the same on every machine; empty where there is none."""
    if not name.strip():
        return ""
    name = posixpath.normpath(name.strip().replace("\\", "/"))
    root = os.path.abspath(content.place.where(""))
    return os.path.relpath(name, root) if name.startswith(f"{root}/") else name


def _found(
    content: Content, names: list[str], images: Images, paths: dict[str, str], where: str, how: How
) -> tuple[Filesystem, dict[str, str]]:
    """The folder in which pictures are, and the paths that they have in it where these are more than their names."""
    here, folders = (content.place, images.folders) if how.images is None else (place(how.images), (".",))
    places, ways = [here.to(folder) for folder in folders], [paths, {}] if paths else [{}]
    for some in (names[:: -(-len(names) // TRIED)], names):
        for way in ways:
            for folder in places:
                if any(folder.has(way.get(name, name)) for name in some):
                    return folder, way
    tried = dict.fromkeys(
        folder.where(os.path.dirname(way.get(names[0], names[0]))) for way in ways for folder in places
    )
    raise UserError(
        f"{where} names the picture {names[0]}, and no picture of the table is there: looked in {', '.join(tried)}; "
        "name their folder with --images"
    )


def _checked(picture: ImageFile, whole: bool) -> LazyImage | str:
    """The picture, or what is wrong with it: where bad ones are left out, all of it is looked at, so that none is met
    later."""
    try:
        picture.check(whole)
    except UserError as error:
        return str(error)
    return picture
