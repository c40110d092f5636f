"""Rows with named columns."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from elman.data.bad_rows import BadRows
from elman.errors import unknown


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    - columns: their values are texts, lists of words, arrays (T, F), images, or None where one is missing
    - numbers: those of the rows in their file, from 1
    - notes: lines to log
    - files: the file of each row, where there are several
    - format: the name of the format it was read in
    """

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
        """File and number of a row, for messages."""
        return f"{self.files[row] if self.files else self.name} row {self.numbers[row]}"

    def column(self, name: str) -> list[Any]:
        """The values of a column. UserError where there is none of that name."""
        if name not in self.columns:
            raise unknown(f"column of {self.name}", name, self.columns)
        return self.columns[name]

    def renamed(self, names: Mapping[str, str]) -> "Table":
        """Only these columns: `names` maps old names to new ones."""
        return replace(self, columns={new: self.column(old) for old, new in names.items()})

    def noted(self, *notes: str) -> "Table":
        """The table with more notes."""
        return replace(self, notes=[*self.notes, *notes])


def complete(table: Table, columns: Iterable[str], skip_bad: bool) -> Table:
    """The rows with a value in each of these columns. One without is a UserError, or skipped and counted."""
    bad, kept, values = BadRows(skip_bad), list[int](), {name: table.column(name) for name in columns}
    for row in range(len(table)):
        missing = [name for name, column in values.items() if _is_missing(column[row])]
        if missing:
            bad(table.where(row), f"has no {missing[0]}" if not missing[0].isdigit() else f"lacks column {missing[0]}")
        else:
            kept.append(row)
    return table.take(kept).noted(*bad.notes(table.name)) if bad.count else table


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    empty = value is None or (isinstance(value, Sized) and len(value) == 0)
    return empty or (isinstance(value, np.ndarray) and not np.isfinite(value).all())


def deduplicated(table: Table, columns: Iterable[str]) -> Table:
    """The table with the first of all rows that are identical in these columns."""
    values, first = [table.column(name) for name in columns], dict[bytes, int]()
    for row in range(len(table)):
        first.setdefault(b"".join(_encoded(column[row]) for column in values), row)
    if len(first) == len(table):
        return table
    note = f"{table.name}: {len(table) - len(first):,} of {len(table):,} rows repeat another and were removed"
    return table.take(list(first.values())).noted(note)


def key(*tables: Table) -> str:
    """The digest of the tables: their columns in order, and all values."""
    digest = hashlib.blake2b(digest_size=16)
    for table in tables:
        digest.update(f"{len(table.columns)} {len(table)} ".encode())
        for name, values in table.columns.items():
            digest.update(_encoded(name))
            for value in values:
                digest.update(_encoded(value))
    return digest.hexdigest()


def _encoded(value: Any) -> bytes:
    """A prefix code of the value."""
    if isinstance(value, str):
        plain = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(plain) + plain
    if isinstance(value, np.ndarray):
        return f"a{value.dtype.str}{value.shape}:".encode() + value.tobytes()
    if isinstance(value, list):
        return b"l%d:" % len(value) + b"".join(map(_encoded, value))
    return b"-" if value is None else b"p" + _encoded(value.stamp)
