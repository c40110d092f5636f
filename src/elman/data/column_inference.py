"""Which column of a table plays which role."""

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.image import LazyImage
from elman.data.split_names import SPLIT
from elman.errors import UserError

if TYPE_CHECKING:
    from elman.data.table import Table

NEAR = 1.2  # a column that is so much behind another might be meant as well
SHOWN, WIDTH = 3, 40  # rows, and characters of a value, shown where the user has to choose


def _length(values: list[Any]) -> float:
    """The mean length; more is better in all that is in `ROLES`."""
    return sum(len(value) for value in values if value is not None) / max(1, len(values))


def _few(values: list[Any]) -> float:
    """More for fewer different values; 0 where they are not labels."""
    different = len({value for value in values if value is not None})
    return 1 / different if 1 < different < len(values) else 0


def _many_words(values: list[Any]) -> float:
    return len({word for words in values for word in words or ()})


def _there(values: list[Any]) -> float:
    return sum(value is not None for value in values)


def _few_words(values: list[Any]) -> float:
    return 1 / _many_words(values) if _many_words(values) > 1 else 0


Score = Callable[[list[Any]], float]
ANY = (str, list, np.ndarray)
ROLES: dict[str, tuple[Any, Score]] = {
    "label": (str, _few), "words": (list, _many_words), "tags": (list, _few_words),
    "image": (LazyImage, _there),
}  # fmt: skip
TOGETHER = ("source", "target")


def choose(table: "Table", wanted: dict[str, str | None], command: str) -> dict[str, str]:
    """The column of each role: the one named, else the one that has the role's own name, else the one whose values fit
    best. Where two fit nearly as well, a UserError shows rows of them, and the command to paste: `command` begins it.
    """
    chosen = {role: name for role, name in wanted.items() if name is not None}
    for name in chosen.values():
        table.column(name)
    for role in wanted:
        if role in table.columns and role not in chosen and role not in chosen.values():
            chosen[role] = role
    for role in wanted:
        if role not in chosen:
            chosen[role] = _guess(table, role, wanted, chosen, command)
    return {role: chosen[role] for role in wanted}


def _guess(table: "Table", role: str, wanted: Mapping[str, str | None], chosen: Mapping[str, str], command: str) -> str:
    scores = _scores(table, role, set(chosen.values()))
    names = sorted(scores, key=lambda name: -scores[name])
    if not names:
        raise _none(table, role, chosen)
    together = [other for other in TOGETHER if other in wanted and other not in chosen]
    if role in together and len(together) > 1:
        near, asked = list(scores), together
        if len(near) == 2:
            return near[0]
    else:
        near, asked = [name for name in names if scores[name] * NEAR >= scores[names[0]]], [role]
    if len(near) > 1:
        raise _ask(table, near, asked, wanted, command)
    return names[0]


def _scores(table: "Table", role: str, taken: set[str]) -> dict[str, float]:
    """How well each free column fits the role, those left out that cannot play it."""
    kind, score = ROLES.get(role, (ANY, _length))
    scores = {
        name: score(values)
        for name, values in table.columns.items()
        if name not in taken and name != SPLIT and all(isinstance(v, kind) for v in values if v is not None)
    }
    return {name: value for name, value in scores.items() if value > 0}


def _none(table: "Table", role: str, chosen: Mapping[str, str]) -> UserError:
    taken = "".join(f", {column} being the {other}" for other, column in chosen.items())
    return UserError(
        f"no column of {table.name} can be the {role}: it has {', '.join(table.columns)}{taken}; "
        f"name one with {_flag(role)}, or say with --format how the file is to be read"
    )


def _ask(
    table: "Table", near: list[str], asked: list[str], wanted: Mapping[str, str | None], command: str
) -> UserError:
    rows = "; ".join(
        f"Row {table.numbers[row]}: " + ", ".join(f"{name}={_short(table.columns[name][row])}" for name in near)
        for row in range(min(SHOWN, len(table)))
    )
    said = {role: name for role, name in wanted.items() if name and _flag(role) not in command}
    said |= dict(zip(asked, near, strict=False))
    words = " or ".join(f"{_flag(asked[0])} {name}" for name in near)
    flags = "".join(f" {_flag(role)} {shlex.quote(name)}" for role, name in said.items())
    return UserError(f"{table.name}: {words}? {rows}; say it: {command}{flags}")


def _flag(role: str) -> str:
    return f"--{role}-column"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    text = " ".join(value) if isinstance(value, list) else str(value or "")
    return repr(text if len(text) <= WIDTH else text[: WIDTH - 1] + "…")
