"""The contract of a table format. To add one, write a file in this package that registers a `Format`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elman.data.bad_rows import BadRows
from elman.data.content import Content
from elman.errors import UserError
from elman.registry import Registry

# where images are, relative to an annotation file
IMAGE_FOLDERS = (".", "images", "Images", "..", "../images", "../Images")


@dataclass(frozen=True)
class ReadContext:
    """The options of reading a table, and where problems and notes go.

    - header: whether the first row names the columns, None for the default of the format
    - bad: called for each malformed row
    - notes: lines to log, which a format appends to
    - images: the folder with the images
    """

    encoding: str
    header: bool | None
    bad: BadRows
    notes: list[str]
    images: str | None = None

    def lines(self, content: Content) -> list[tuple[int, str]]:
        """Each line that is not blank, with its number from 1."""
        lines = content.lines(self.encoding)
        full = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        self.note_blank(content, len(lines) - len(full))
        return full

    def note_blank(self, content: Content, count: int) -> None:
        """Notes how many blank lines were skipped, if any."""
        if count:
            self.notes.append(f"{content.name}: {count:,} blank line{'s' if count > 1 else ''} skipped")


@dataclass(frozen=True)
class ImageColumn:
    """A column that names images.

    - folders: where they may be, relative to the table
    - paths: of images whose path in there is more than their name
    """

    column: str = "image"
    folders: tuple[str, ...] = IMAGE_FOLDERS
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RawTable:
    """What a format reads.

    - columns: by name, of equal length
    - numbers: the number of each row in its file, from 1
    - files: the file of each row, where a table has several
    - images: the column that names images; if None, each column whose values all look like names of images
    """

    columns: dict[str, list[Any]]
    numbers: list[int]
    files: list[str] = field(default_factory=list)
    images: ImageColumn | None = None


@dataclass(frozen=True)
class Format:
    """A format of tables. It is recognized by its content, by the suffix of the file, or by its lines, in this order.

    - phrase: ends the sentence "it was read as"
    - read: returns the table
    - suffixes: lower case, with their dot
    - detects: whether a content, given its encoding, is in this format
    - matches: whether the lines of a text are in this format
    - header: whether the first row may name the columns
    - priority: formats with a lower one are tried first
    """

    name: str
    phrase: str
    read: Callable[[Content, ReadContext], RawTable]
    suffixes: tuple[str, ...] = ()
    detects: Callable[[Content, str], bool] | None = None
    matches: Callable[[list[str]], bool] | None = None
    header: bool = False
    priority: int = 50


FORMATS: Registry[Format] = Registry("format", "elman.data.formats")


def register(format: Format) -> Format:
    """Makes a format available under its name, and returns it."""
    return FORMATS.add(format.name, format)


def recognize(content: Content, encoding: str, like: str | None = None) -> Format:
    """The format that detects the content or has its suffix, else `like`, that of another file, else the first that
    matches the lines."""
    formats = sorted(FORMATS.all().values(), key=lambda each: each.priority)
    for format in formats:
        if format.detects and format.detects(content, encoding):
            return format
    if content.is_folder:
        raise _unrecognized_folder(content)
    for format in formats:
        if content.path.suffix.lower() in format.suffixes:
            return format
    if like is not None and not FORMATS.find(like).detects:
        return FORMATS.find(like)
    lines = content.lines(encoding)
    return next(format for format in formats if format.matches and format.matches(lines))


def _unrecognized_folder(folder: Content) -> UserError:
    visible = [path for path in folder.path.iterdir() if not path.name.startswith(".")]
    files, folders = (sum(map(test, visible)) for test in (lambda path: path.is_file(), lambda path: path.is_dir()))
    if not files and not folders:
        return UserError(f"the folder {folder.name} is empty: expected a file, or a folder, for each class")
    return UserError(
        f"{folder.name} has {files} files and {folders} folders: pass `format` files for a file for each class, or "
        "`format` folders for a folder for each class"
    )


def file_row(content: Content, number: int) -> str:
    """A row of a file, for messages."""
    return f"{content.name} row {number}"
