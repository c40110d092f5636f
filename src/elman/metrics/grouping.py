"""Columns without a role, by whose values metrics are grouped."""

from collections.abc import Iterable, Mapping
from typing import Any

from elman.data.table import Table

MAX_GROUPS = 100


def grouping_columns(table: Table, taken: Iterable[str | None], *names: str) -> dict[str, str | None]:
    """Those of the columns `names` that a table has, that have no role, and that divide its rows into few groups."""
    free = [name for name in names if name in table.columns and name not in set(taken)]
    return {name: name for name in free if _is_grouping(table.columns[name])}


def grouped(rows: Table, column: str, chosen: Iterable[int]) -> Mapping[str, list[int]]:
    """The chosen rows by their value in a column; empty where that is the same in all, or missing."""
    values, found = rows.columns.get(column, []), dict[str, list[int]]()
    for row in chosen if values else ():
        found.setdefault(values[row], []).append(row)
    return dict(sorted(found.items())) if len(found) > 1 else {}


def _is_grouping(values: list[Any]) -> bool:
    return all(isinstance(value, str) and value.strip() for value in values) and len(set(values)) < MAX_GROUPS
