"""A form that a table may have on disk: how it is known, and how it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elman.data.bad_rows import BadRows
from elman.data.content import Content

BESIDE = (".", "images", "Images", "..", "../images", "../Images")  # where pictures stand, seen from an annotation file


@dataclass(frozen=True)
class How:
    """How the user wants it read. What a form wants to log it adds to `notes`."""

    encoding: str
    header: bool | None
    bad: BadRows
    notes: list[str]
    images: str | None = None  # the folder with the pictures

    def lines(self, content: Content) -> list[tuple[int, str]]:
        """Each line that is not blank, with its number."""
        lines = content.lines(self.encoding)
        full = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        self.blank(content, len(lines) - len(full))
        return full

    def blank(self, content: Content, count: int) -> None:
        if count:
            self.notes.append(f"{content.name}: {count:,} blank line{'s' if count > 1 else ''} left out")


@dataclass(frozen=True)
class Images:
    """The column that names pictures, the folders in which they may stand, and of each picture its path in there where
    that is more than its name."""

    column: str = "image"
    folders: tuple[str, ...] = BESIDE
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Columns by name, all of one length; of each row its number, and its file where a table has several. Without
    `images`, a column names pictures if all its values look so."""

    columns: dict[str, list[Any]]
    numbers: list[int]
    files: list[str] = field(default_factory=list)
    images: Images | None = None


@dataclass(frozen=True)
class Form:
    """`phrase` ends the sentence "it was read as". A form is known by all that the file holds (`knows`, given the
    encoding), by its suffix, or by its lines (`fits`)."""

    name: str
    phrase: str
    read: Callable[[Content, How], Rows]
    suffixes: tuple[str, ...] = ()
    fits: Callable[[list[str]], bool] | None = None
    header: bool = False  # whether its first row may name the columns
    folder: bool = False
    knows: Callable[[Content, str], bool] | None = None


def file_row(content: Content, number: int) -> str:
    return f"{content.name} row {number}"
