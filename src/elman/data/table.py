"""Rows with named columns: read from files of many forms, their columns chosen, their bad rows found."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np

from elman.data.bad_rows import BadRows
from elman.data.builtin import PREFIX as BUILTIN
from elman.data.builtin import generate
from elman.data.column_inference import choose as choose
from elman.data.content import content, encoding_name
from elman.data.formats import FORMS, recognise
from elman.data.formats.format import How, Rows
from elman.data.formats.images import with_pictures
from elman.data.formats.library import HUB, hub
from elman.errors import UserError, unknown
from elman.options import OpensFile


def is_share(text: str) -> bool:
    """Whether the text is a number, and no name of a file."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class TableOptions:
    """How tables are read, and which of their rows are kept aside."""

    format: Literal[
        "auto", "csv", "tsv", "pairs", "labelled", "lines", "jsonl", "conll", "conllu", "arrays", "parquet", "files",
        "folders", "coco", "karpathy", "flickr8k", "vqa", "clevr", "easy-vqa",
    ] = "auto"  # fmt: skip
    """How rows stand in the file: pairs have tabs between columns, labelled lines begin with their label, files and
    folders read a folder with one a class, arrays an .npz; the last six are annotations of pictures. Auto: by what
    stands in the file, and its ending."""
    encoding: str = "utf-8"
    """How the text's bytes are characters: utf-8, latin-1, cp1252, utf-16, ..."""
    images: Annotated[str | None, OpensFile(None, lambda name: name is not None)] = None
    """The folder or zip of the pictures that a table names; found beside the table when not given."""
    header: bool | None = None
    """Whether the first row names the columns: in csv and tsv yes, in pairs no, unless said."""
    skip_bad: bool = False
    """Leave out rows that are not whole or lack a value, and count them, instead of stopping."""
    deduplicate: bool = False
    """Count identical rows once."""
    split: str | None = None
    """The column that says of each row whether it is train, valid or test; a column named split when not given."""
    valid: Annotated[str, OpensFile("0", lambda text: not is_share(text))] = "0.1"
    """Share of the rows on which the loss is watched, or a file with such rows."""
    test: Annotated[str, OpensFile("0", lambda text: not is_share(text))] = "0.1"
    """Share of the rows that training never looks at, or a file with such rows."""


@dataclass(frozen=True)
class Table:
    """`columns` are all of one length. Values are texts, lists of words, arrays (T, F), pictures, or None where one is
    missing. `numbers` are those of the rows in their file, from 1; `files` name it for each row, where there are
    several. `format` is how it was read."""

    name: str
    columns: dict[str, list[Any]]
    numbers: list[int]
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    format: str | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Sequence[int]) -> "Table":
        """These rows, in this order."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        files = [self.files[row] for row in rows] if self.files else []
        return replace(self, columns=columns, numbers=[self.numbers[row] for row in rows], files=files)

    def where(self, row: int) -> str:
        """Where the user finds a row."""
        return f"{self.files[row] if self.files else self.name} row {self.numbers[row]}"

    def column(self, name: str) -> list[Any]:
        if name not in self.columns:
            raise unknown(f"column of {self.name}", name, self.columns)
        return self.columns[name]

    def renamed(self, names: Mapping[str, str]) -> "Table":
        """Only these columns, under the names that they are given."""
        return replace(self, columns={new: self.column(old) for old, new in names.items()})

    def noted(self, *notes: str) -> "Table":
        return replace(self, notes=[*self.notes, *notes])


def read(paths: list[str], options: TableOptions, like: Table | None = None) -> Table:
    """The table that stands in some files, one behind the other, or under a name such as hub:owner/data. A file whose
    ending does not tell its format is read as `like` was: a few rows would not either."""
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


def _generated(name: str, how: How) -> Rows:
    columns = generate(name)
    return Rows(columns, list(range(1, len(next(iter(columns.values()))) + 1)))


# what is no file: the prefix of its names, in words, and how it is read
NAMED: dict[str, tuple[str, Callable[[str, How], Rows]]] = {
    HUB: ("a data set of the Hugging Face Hub", hub),
    BUILTIN: ("built-in data", _generated),
}


def _read(path: str, options: TableOptions, like: str | None) -> Table:
    how = How(encoding_name(options.encoding), options.header, BadRows(options.skip_bad), [], options.images)
    named = next((prefix for prefix in NAMED if path.startswith(prefix)), None)
    if named is not None:
        phrase, reader = NAMED[named]
        if options.images is not None:
            raise UserError(f"--images {options.images} is for tables in files: {path} is {phrase}")
        form, name, rows = None, path, reader(path, how)
    else:
        found = content(path)
        form = recognise(found, how.encoding, like) if options.format == "auto" else FORMS[options.format]
        if options.header is not None and not form.header:
            flag = "--header" if options.header else "--no-header"
            raise UserError(f"{flag} is for csv, tsv and pairs: {found.name} is read as {form.phrase}")
        name, phrase, rows = found.name, form.phrase, with_pictures(found, form.read(found, how), how)
    if not rows.numbers:
        raise UserError("; ".join([f"{name} has no rows: it was read as {phrase}", *how.bad.notes(name)]))
    notes = [f"{name}: read as {phrase}, {_count(rows)}", *how.notes, *how.bad.notes(name)]
    return Table(name, rows.columns, rows.numbers, notes, rows.files, form and form.name)


def _count(rows: Rows) -> str:
    return f"{len(rows.numbers):,} row{'' if len(rows.numbers) == 1 else 's'}"


def complete(table: Table, columns: Iterable[str], skip_bad: bool) -> Table:
    """The rows with a value in each of these columns. One without is a UserError, or left out and counted."""
    bad, kept, values = BadRows(skip_bad), list[int](), {name: table.column(name) for name in columns}
    for row in range(len(table)):
        lacks = [name for name, column in values.items() if _missing(column[row])]
        if lacks:
            bad(table.where(row), f"has no {lacks[0]}" if not lacks[0].isdigit() else f"lacks column {lacks[0]}")
        else:
            kept.append(row)
    return table.take(kept).noted(*bad.notes(table.name)) if bad.count else table


def _missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    empty = value is None or (isinstance(value, Sized) and len(value) == 0)
    return empty or (isinstance(value, np.ndarray) and not np.isfinite(value).all())


def merged(table: Table, columns: Iterable[str]) -> Table:
    """The table with rows once that are identical in these columns: the first of each stays."""
    values, first = [table.column(name) for name in columns], dict[bytes, int]()
    for row in range(len(table)):
        first.setdefault(b"".join(_framed(column[row]) for column in values), row)
    if len(first) == len(table):
        return table
    rest = len(table) - len(first)
    note = f"{table.name}: {rest:,} of {len(table):,} rows repeat another and were left out"
    return table.take(list(first.values())).noted(note)


def key(*tables: Table) -> str:
    """A name for the content of the tables: their columns in order, and all values."""
    digest = hashlib.blake2b(digest_size=16)
    for table in tables:
        digest.update(f"{len(table.columns)} {len(table)} ".encode())
        for name, values in table.columns.items():
            digest.update(_framed(name))
            for value in values:
                digest.update(_framed(value))
    return digest.hexdigest()


def _framed(value: Any) -> bytes:
    """Bytes that end where the value ends, so that those of several values can stand in a row."""
    if isinstance(value, str):
        plain = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(plain) + plain
    if isinstance(value, np.ndarray):
        return f"a{value.dtype.str}{value.shape}:".encode() + value.tobytes()
    if isinstance(value, list):
        return b"l%d:" % len(value) + b"".join(map(_framed, value))
    return b"-" if value is None else b"p" + _framed(value.stamp)
