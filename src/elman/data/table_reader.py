"""Tables in files of many formats, of the Hugging Face Hub, and built-in ones."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from elman.data.bad_rows import BadRows
from elman.data.builtin import PREFIX as BUILTIN
from elman.data.builtin import generate
from elman.data.content import content, encoding_name
from elman.data.formats.format import FORMATS, RawTable, ReadContext, recognize
from elman.data.formats.images import with_images
from elman.data.hub import PREFIX as HUB
from elman.data.hub import read_hub
from elman.data.table import Table
from elman.errors import UserError
from elman.options import Choices, OpensFile

AUTO = "auto"


def format_names() -> Iterable[str]:
    """The choices of `TableOptions.format`."""
    return (AUTO, *FORMATS.names())


@dataclass(frozen=True)
class TableOptions:
    """How tables are read and split."""

    format: Annotated[str, Choices(format_names)] = AUTO
    """Format of the file: pairs have tabs between columns, labelled lines start with their label, files and folders
    read a folder with one for each class, arrays an .npz; coco, karpathy, flickr8k, vqa, clevr and easy-vqa are
    annotations of images; images are a folder of them, idx and image-arrays one file. auto: by the content of the
    file, and its suffix."""
    encoding: str = "utf-8"
    """Character encoding of text: utf-8, latin-1, cp1252, utf-16, ..."""
    images: Annotated[str | None, OpensFile(None, lambda name: name is not None)] = None
    """Folder or zip of the images that a table names. Default: searched next to the table."""
    header: bool | None = None
    """Whether the first row names the columns. Default: yes in csv and tsv, no in pairs."""
    skip_bad: bool = False
    """Skip and count rows that are malformed or lack a value, instead of stopping."""
    deduplicate: bool = False
    """Keep the first of identical rows."""
    split: str | None = None
    """The column with the split of each row: train, valid or test. Default: a column named split."""
    valid: Annotated[str, OpensFile("0", lambda text: not _is_share(text))] = "0.1"
    """Share of the rows for validation, or a file with such rows."""
    test: Annotated[str, OpensFile("0", lambda text: not _is_share(text))] = "0.1"
    """Share of the rows held out for testing, or a file with such rows."""


def _is_share(text: str) -> bool:
    """Whether the text is a number, and no name of a file."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read(paths: list[str], options: TableOptions, like: Table | None = None) -> Table:
    """The table in some files, concatenated, or under a name such as hub:owner/data. A file whose suffix does not
    decide its format is read in the format of `like`: a few rows would not decide it either."""
    if not paths:
        raise UserError("no table was given: name a file, a folder, or - for standard input")
    tables = [_read(path, options, like.format if like is not None else None) for path in paths]
    first, *others = tables
    if not others:
        return first
    for other in others:
        if set(other.columns) != set(first.columns):
            mine, its = ", ".join(first.columns), ", ".join(other.columns)
            raise UserError(f"{other.name} has the columns {its}, but {first.name} has {mine}: they must be the same")
    return Table(
        ", ".join(table.name for table in tables),
        {name: [value for table in tables for value in table.columns[name]] for name in first.columns},
        [number for table in tables for number in table.numbers],
        [note for table in tables for note in table.notes],
        [file for table in tables for file in table.files or [table.name] * len(table)],
        first.format,
    )


def _generated(name: str, context: ReadContext) -> RawTable:
    columns = generate(name)
    return RawTable(columns, list(range(1, len(next(iter(columns.values()))) + 1)))


# names that are not files, by their prefix: what they are, and how they are read
SCHEMES: dict[str, tuple[str, Callable[[str, ReadContext], RawTable]]] = {
    HUB: ("a data set of the Hugging Face Hub", read_hub),
    BUILTIN: ("built-in data", _generated),
}


def _read(path: str, options: TableOptions, like: str | None) -> Table:
    context = ReadContext(
        encoding_name(options.encoding), options.header, BadRows(options.skip_bad), [], options.images
    )
    scheme = next((prefix for prefix in SCHEMES if path.startswith(prefix)), None)
    if scheme is not None:
        phrase, reader = SCHEMES[scheme]
        if options.images is not None:
            raise UserError(f"`images` {options.images} is for tables in files: {path} is {phrase}")
        format, name, rows = None, path, reader(path, context)
    else:
        found = content(path)
        format = recognize(found, context.encoding, like) if options.format == AUTO else FORMATS.find(options.format)
        if options.header is not None and not format.header:
            flag = "`header`" if options.header else "`no_header`"
            raise UserError(f"{flag} is for csv, tsv and pairs: {found.name} is read as {format.phrase}")
        name, phrase, rows = found.name, format.phrase, with_images(found, format.read(found, context), context)
    if not rows.numbers:
        raise UserError("; ".join([f"{name} has no rows: it was read as {phrase}", *context.bad.notes(name)]))
    count = f"{len(rows.numbers):,} row{'' if len(rows.numbers) == 1 else 's'}"
    notes = [f"{name}: read as {phrase}, {count}", *context.notes, *context.bad.notes(name)]
    return Table(name, rows.columns, rows.numbers, notes, rows.files, format and format.name)
