"""Inference of the role of each column of a table."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman.data.image import LazyImage
from elman.data.split_names import SPLIT
from elman.data.table import Table
from elman.errors import UserError

NEAR = 1.2  # a column whose score is lower by at most this factor may be meant as well
SHOWN, WIDTH = 3, 40  # rows, and characters of a value, in a message


def _mean_length(values: list[Any]) -> float:
    return sum(len(value) for value in values if value is not None) / max(1, len(values))


def _few_labels(values: list[Any]) -> float:
    """Higher for fewer distinct values; 0 where they are not labels."""
    distinct = len({value for value in values if value is not None})
    return 1 / distinct if 1 < distinct < len(values) else 0


def _distinct_words(values: list[Any]) -> float:
    return len({word for words in values for word in words or ()})


def _few_words(values: list[Any]) -> float:
    return 1 / _distinct_words(values) if _distinct_words(values) > 1 else 0


def _present(values: list[Any]) -> float:
    return sum(value is not None for value in values)


Score = Callable[[list[Any]], float]  # higher is better
ANY = (str, list, np.ndarray)
ROLES: dict[str, tuple[Any, Score]] = {
    "label": (str, _few_labels), "words": (list, _distinct_words), "tags": (list, _few_words),
    "image": (LazyImage, _present),
}  # fmt: skip
PAIR = ("source", "target")  # roles that are inferred together


def infer_columns(table: Table, wanted: dict[str, str | None], command: str) -> dict[str, str]:
    """The column of each role: the one named, else the one with the role's own name, else the one whose values score
    best. Where two score nearly the same, a UserError shows rows of them, and a command to paste, which starts with
    `command`."""
    chosen = {role: name for role, name in wanted.items() if name is not None}
    for name in chosen.values():
        table.column(name)
    for role in wanted:
        if role in table.columns and role not in chosen and role not in chosen.values():
            chosen[role] = role
    for role in wanted:
        if role not in chosen:
            chosen[role] = _infer(table, role, wanted, chosen, command)
    return {role: chosen[role] for role in wanted}


def _infer(table: Table, role: str, wanted: Mapping[str, str | None], chosen: Mapping[str, str], command: str) -> str:
    scores = _scores(table, role, set(chosen.values()))
    names = sorted(scores, key=lambda name: -scores[name])
    if not names:
        raise _no_column(table, role, chosen)
    pair = [other for other in PAIR if other in wanted and other not in chosen]
    if role in pair and len(pair) > 1:
        near, roles = list(scores), pair
        if len(near) == 2:
            return near[0]
    else:
        near, roles = [name for name in names if scores[name] * NEAR >= scores[names[0]]], [role]
    if len(near) > 1:
        raise _ambiguous(table, near, roles, wanted, command)
    return names[0]


def _scores(table: Table, role: str, taken: set[str]) -> dict[str, float]:
    """The score of each free column whose values fit the role."""
    kind, score = ROLES.get(role, (ANY, _mean_length))
    scores = {
        name: score(values)
        for name, values in table.columns.items()
        if name not in taken and name != SPLIT and all(isinstance(v, kind) for v in values if v is not None)
    }
    return {name: value for name, value in scores.items() if value > 0}


def _no_column(table: Table, role: str, chosen: Mapping[str, str]) -> UserError:
    taken = "".join(f", {column} being the {other}" for other, column in chosen.items())
    return UserError(
        f"no column of {table.name} can be the {role}: it has {', '.join(table.columns)}{taken}; "
        f"name one with `{role}_column`, or the format of the file with `format`"
    )


def _ambiguous(
    table: Table, near: list[str], roles: list[str], wanted: Mapping[str, str | None], command: str
) -> UserError:
    rows = "; ".join(
        f"Row {table.numbers[row]}: " + ", ".join(f"{name}={_shortened(table.columns[name][row])}" for name in near)
        for row in range(min(SHOWN, len(table)))
    )
    given = {role: name for role, name in wanted.items() if name and _flag(role) not in command}
    given |= dict(zip(roles, near, strict=False))
    names = " or ".join(f"`{roles[0]}_column` {name}" for name in near)
    flags = "".join(f" {_flag(role)} {shlex.quote(name)}" for role, name in given.items())
    return UserError(f"{table.name}: {names}? {rows}; choose with {command}{flags}")


def _flag(role: str) -> str:
    return f"--{role}-column"


def _shortened(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    text = " ".join(value) if isinstance(value, list) else str(value or "")
    return repr(text if len(text) <= WIDTH else text[: WIDTH - 1] + "…")
