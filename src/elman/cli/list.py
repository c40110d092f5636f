"""`elman list`: what there is."""

from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from elman.cells.registry import shipped
from elman.cli.screen import span
from elman.tasks.task import kinds
from elman.train.run import Run, all_runs


def list_(what: Literal["runs", "cells", "tasks"] = "runs", /) -> None:
    """The runs in runs/, the cells, or the tasks.

    Parameters
    ----------
    what
        runs, cells or tasks.
    """
    table = {"runs": _runs, "cells": _cells, "tasks": _tasks}[what]()
    Console(highlight=False).print(table)


def _runs() -> Table | str:
    table = Table("run", "kind", "cell", "parameters", "validation", "bits", "trained", box=None)
    for path in all_runs():
        run = Run.open(path)
        figures = run.summary()
        cell = f"{run.config['task']['layers']} x {run.config['task']['hidden']} {run.config['task']['cell']['name']}"
        loss, bits = figures.get("val_loss"), figures.get("val_bits")
        table.add_row(
            str(path), run.config["kind"], cell,
            f"{figures['parameters']:,}" if figures else "", "" if loss is None else f"{loss:.4f}",
            "" if bits is None else f"{bits:.3f}", span(figures["train_seconds"]) if figures else "unfinished",
        )  # fmt: skip
    return table if table.row_count else "no runs yet: elman train lm FILE makes one, elman demo makes one for you"


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
