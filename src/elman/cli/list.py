"""`elman list`: what there is."""

from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from elman.cells.registry import shipped
from elman.cli.parameters import command
from elman.cli.screen import span
from elman.data.builtin import PREFIX, datasets
from elman.errors import UserError
from elman.tasks.task import kinds
from elman.training.run import Run, all_runs


@command
def list_(what: Literal["runs", "cells", "tasks", "data"] = "runs", /) -> None:
    """The runs in runs/, the cells, the tasks, or the built-in data.

    Parameters
    ----------
    what
        runs, cells, tasks or data.
    """
    table = {"runs": _runs, "cells": _cells, "tasks": _tasks, "data": _data}[what]()
    Console(highlight=False).print(table)


def _runs() -> Table | str:
    table = Table("run", "kind", "cell", "parameters", "validation", "bits", "trained", box=None)
    for path in all_runs():
        try:
            table.add_row(str(path), *_figures(Run.open(path)))
        except UserError as error:
            table.add_row(str(path), str(error))
    return table if table.row_count else "no runs yet: elman train lm FILE makes one, elman demo makes one for you"


def _figures(run: Run) -> list[str]:
    model, summary = run.config["task"], run.summary()
    about = [run.config["kind"], f"{model['layers']} x {model['hidden']} {model['cell']['name']}"]
    if not summary:
        return [*about, "", "", "", "unfinished"]
    loss, bits = summary["val_loss"], summary["val_bits"]
    shown = ["", ""] if loss is None else [f"{loss:.4f}", f"{bits:.3f}"]
    return [*about, f"{summary['parameters']:,}", *shown, span(summary["train_seconds"])]


def _cells() -> Table:
    table = Table("cell", "gates", "states", "what it is, and its options", box=None)
    for name, kind in shipped().items():
        cell = kind(1, 1)
        options = "".join(f" [{key}={value}]" for key, value in cell.options.items())
        what = Text((kind.__doc__ or "").split("\n")[0] + options)
        table.add_row(name, " ".join(cell.gates), " ".join(cell.states), what)
    return table


def _tasks() -> Table:
    table = Table("task", "", box=None)
    for kind, task in kinds().items():
        table.add_row(kind, task.summary)
    return table


def _data() -> Table:
    table = Table("data", "for", "what it is, and its options", box=None)
    for name, data in datasets().items():
        options = "".join(f" [{key}={value}]" for key, value in data.options().items())
        table.add_row(PREFIX + name, data.kind, Text(data.summary + options))
    return table
