"""Tables of clips: from a row for each span, or for each file, to a row for each clip."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.clip import ArrayClip, LazyClip
from elman.data.clip_input import open_clip
from elman.data.image_file import ImageFile
from elman.data.label_spans import Span, Spans
from elman.data.table import Table
from elman.errors import UserError

FILE, LABEL, SPAN = "file", "label", ("start", "end")


def by_clip(rows: Table) -> Table:
    """A row for each clip, from rows with a file, perhaps a label, and perhaps the start and end of a span. The label
    of a clip with spans is `Spans`. UserError where a clip has two labels without spans."""
    opened = dict[str, LazyClip]()
    groups = dict[str, list[int]]()
    for row, value in enumerate(rows.columns[FILE]):
        key = value if isinstance(value, str) else getattr(value, "name", f"{rows.where(row)}")
        if key not in opened:
            opened[key] = clip_of(value, rows, row)
        groups.setdefault(key, []).append(row)
    table = rows.take([first for first, *_ in groups.values()])
    columns: dict[str, list[Any]] = {FILE: [opened[key] for key in groups]}
    if LABEL in rows.columns:
        columns[LABEL] = [_label(rows, chosen) for chosen in groups.values()]
    return replace(table, columns=columns)


def clip_of(value: Any, rows: Table, row: int) -> LazyClip:
    """The clip of a row. A name is relative to the folder of its table."""
    if isinstance(value, LazyClip):
        return value
    if isinstance(value, np.ndarray):
        return ArrayClip(rows.where(row), value.reshape(len(value), -1))
    name, where = str(value), rows.files[row] if rows.files else rows.name
    is_itself = where.endswith(name)  # of a folder with a folder for each class
    folder = Path(where.removesuffix(name) if is_itself else os.path.dirname(where))
    try:
        return open_clip(name, folder)
    except UserError as error:
        raise UserError(
            f"{rows.where(row)}: {error}" if os.path.isfile(where) and not is_itself else str(error)
        ) from None


def _label(rows: Table, chosen: Sequence[int]) -> str | Spans:
    labels = [rows.columns[LABEL][row] for row in chosen]
    if SPAN[0] in rows.columns:
        starts, ends = (rows.columns[name] for name in SPAN)
        return Spans.of([Span.parse(str(starts[row]), str(ends[row]), label, rows.where(row))
                         for row, label in zip(chosen, labels, strict=True)])  # fmt: skip
    if len(chosen) > 1:
        second, first = rows.where(chosen[1]), rows.numbers[chosen[0]]
        raise UserError(f"{second} has a second label of {rows.columns[FILE][chosen[1]]}, after row {first}: several "
                        "labels of a clip need the columns start and end")  # fmt: skip
    return labels[0]


def with_frame_folders(table: Table) -> Table:
    """A table of images without other files, as one of the folders that they are in: a clip each."""
    images = next((name for name, values in table.columns.items() if values and all(
        isinstance(value, ImageFile) for value in values)), None)  # fmt: skip
    if FILE in table.columns or images is None:
        return table
    folders = dict[str, int]()
    for row, image in enumerate(table.columns[images]):
        folders.setdefault(os.path.dirname(image.name), row)
    found = table.take(list(folders.values()))
    files = [os.path.dirname(image.location) for image in found.columns[images]]
    columns = {name: values for name, values in found.columns.items() if name != images}
    return replace(found, columns=columns | {FILE: list(folders)}, files=files)
