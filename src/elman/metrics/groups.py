"""Columns that are no roles, by whose values figures are given apart."""

from collections.abc import Iterable, Mapping
from typing import Any

from elman.data.table import Table

MANY = 100  # groups, from which on they say little


def groups(read: Table, taken: Iterable[str | None], *names: str) -> dict[str, str | None]:
    """Those of the columns that a table has, that are not taken, and that divide all of its rows into a few groups."""
    free = [name for name in names if name in read.columns and name not in set(taken)]
    return {name: name for name in free if _divides(read.columns[name])}


def parted(rows: Table, column: str, chosen: Iterable[int]) -> Mapping[str, list[int]]:
    """Some rows by what stands in a column; nothing where that is the same in all."""
    values, found = rows.columns.get(column, []), dict[str, list[int]]()
    for row in chosen if values else ():
        found.setdefault(values[row], []).append(row)
    return dict(sorted(found.items())) if len(found) > 1 else {}


def _divides(values: list[Any]) -> bool:
    return all(isinstance(value, str) and value.strip() for value in values) and len(set(values)) < MANY
