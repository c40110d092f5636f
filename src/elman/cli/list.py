"""`elman list`: the runs, the cells, the tasks, the built-in data."""

from collections.abc import Callable
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from elman.cells.shipped import shipped
from elman.cli.output import add_row
from elman.cli.parameters import command, flags
from elman.cli.screen import span
from elman.data.builtin import PREFIX, datasets
from elman.errors import UserError
from elman.tasks.task import kinds
from elman.training.run import Run, open_all

LARGEST = 1e15  # number that is shown


@command
def list_(what: Literal["runs", "cells", "tasks", "data"] = "runs", /) -> None:
    """List the runs in runs/, the cells, the tasks, or the built-in data.

    Parameters
    ----------
    what
        runs, cells, tasks or data.
    """
    table = {"runs": _runs, "cells": _cells, "tasks": _tasks, "data": _data}[what]()
    Console(highlight=False, markup=False).print(table)


def _runs() -> Table | str:
    table = Table("run", "kind", "cell", "parameters", "validation loss", "bits", "trained", box=None)
    for path, run in open_all():
        try:
            if isinstance(run, UserError):
                raise run
            add_row(table, str(path), *_columns(run))
        except UserError as error:
            add_row(table, str(path), flags(str(error)))
    return table if table.row_count else "no runs yet: elman train lm FILE makes one, elman demo makes one for you"


def _columns(run: Run) -> list[str]:
    summary = run.summary()
    about = [run.config.kind, _network(run.config.spec)]
    if not summary:
        return [*about, "", "", "", "unfinished"]
    forms = {"parameters": "{:,.0f}".format, "val_loss": "{:.4f}".format, "val_bits": "{:.3f}".format,
             "train_seconds": span}  # fmt: skip
    return [*about, *(_number(summary.get(name), form) for name, form in forms.items())]


def _network(spec: dict[str, Any]) -> str:
    """Layers, units and cell, as config.json has them, where the model has such."""
    options = spec.get("options")
    if not isinstance(options, dict) or not isinstance(options.get("cell"), dict):
        return ""
    return f"{options.get('layers')} x {spec.get('hidden')} {options['cell'].get('name')}"


def _number(value: Any, form: Callable[[float], str]) -> str:
    """A number of summary.json, which may hold anything."""
    return form(value) if isinstance(value, int | float) and abs(value) < LARGEST else ""


def _cells() -> Table:
    table = Table("cell", "gates", "states", "what it is, and its options", box=None)
    for name, kind in shipped().items():
        options = "".join(f" [{key}={getattr(kind, key)}]" for key in kind.option_types())
        add_row(table, name, " ".join(kind.gates), " ".join(kind.states), (kind.__doc__ or "").split("\n")[0] + options)
    return table


def _tasks() -> Table:
    table = Table("task", "", box=None)
    for kind, task in kinds().items():
        add_row(table, kind, task.summary)
    return table


def _data() -> Table:
    table = Table("data", "for", "what it is, and its options", box=None)
    for name, data in datasets().items():
        options = "".join(f" [{key}={value}]" for key, value in data.options().items())
        add_row(table, PREFIX + name, data.kind, data.summary + options)
    return table
