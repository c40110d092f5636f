"""`elman inspect`: what a trained model has learned, and how far its gradient reaches."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from elman.cells.registry import cell_names
from elman.cli.parameters import command
from elman.errors import UserError, unknown
from elman.files import write
from elman.inspect import painting
from elman.inspect.activations import Activations
from elman.inspect.cells import compare
from elman.inspect.learned import over, unit_panel
from elman.inspect.live import check_unit
from elman.inspect.look import Look, look, side_by_side
from elman.inspect.panel import Report
from elman.inspect.properties import LANGUAGES
from elman.options import PositiveFloat, PositiveInt, check
from elman.tasks.lm import LM
from elman.training.run import RUNS, Which, newest
from elman.training.trained_model import load
from elman.user_file import run_file


@dataclass(frozen=True)
class Fresh:
    """Fresh cells side by side, without a run."""

    cells: str | None = None
    """Cells with a comma between them, as in rnn,rnn:activation=relu,lstm:forget_bias=0."""
    gain: PositiveFloat = 1.0
    """Their recurrent matrices are multiplied by it."""
    steps: PositiveInt = 100
    """Steps of the sequence."""


@command
def inspect_(
    *runs: Path,
    unit: str | None = None,
    property: tuple[str, ...] = (),
    weights: Which = "best",
    looking: Look = Look(),
    fresh: Fresh = Fresh(),
    out: Path | None = None,
) -> None:
    """Look inside a trained model: report.html, report.json and the pictures, in the run's folder.

    Parameters
    ----------
    runs
        The run folder, the newest in runs/ when not given; of several, the curves over each other.
    unit
        Paint one unit over the text, as in 1.c.137, here and in a page of its own.
    property
        A property of your own, my_file.py:function: a function of the text that gives a value a character.
    weights
        The best on the validation part, or the last.
    out
        Another folder for what is written.
    """
    looking = replace(looking, own=tuple(map(_function, property)), log=lambda line: print(line, flush=True))
    check(looking, fresh)
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    if looking.language is not None and looking.language not in LANGUAGES:
        raise unknown("language", looking.language, LANGUAGES)
    if fresh.cells is not None:
        if runs or unit:
            raise UserError("--cells looks at fresh cells: leave the run and --unit out")
        if not (specs := cell_names(fresh.cells)):
            raise UserError("--cells names no cell: write them with a comma between, as in rnn,lstm")
        looking.fits((), "fresh cells")
        return _saved(compare(specs, fresh.gain, fresh.steps, seed=looking.seed), out or RUNS / "cells")
    if (fresh.gain, fresh.steps) != (Fresh.gain, Fresh.steps):
        raise UserError("--gain and --steps are of fresh cells: give --cells too")
    if len(runs) > 1:
        if unit or looking.text:
            raise UserError("several runs are compared by their curves: leave --unit and --text out, or give one run")
        looking.fits((), "several runs, which are compared by their curves")
        return _saved(side_by_side(list(runs)), out or RUNS / "-".join(["curves", *(run.name for run in runs)]))
    model = load(runs[0] if runs else newest(), weights=weights)
    if unit is not None:
        if not isinstance(model.task, LM):
            raise UserError(
                f"--unit {unit} is painted over the text of a language model: {model.path} is a run of "
                f"'{model.task.kind}', leave it out"
            )
        for layer in model.task.layers():
            check_unit(layer, unit)
        return _unit(Activations(model, looking), unit, out or model.path)
    with Console(stderr=True).status(f"looking into {model.path}"):
        report = look(model, **vars(looking))
    for panel in report.panels:
        print(f"{panel.title}: {panel.says}" if panel.name != "units" else _best(panel.figures))
    return _saved(report, out or model.path)


def _best(figures: dict[str, Any]) -> str:
    """The five best units in a line."""
    best = list(figures["properties"].values())[:5]
    if not best:
        return "What the units have learned: no property of this text changes enough to be scored"
    named = [
        f"{each['meaning']} {each['unit']} ({each['score']:.2f}, untrained {each['untrained']:.2f})" for each in best
    ]
    return "What the units have learned: " + "; ".join(named)


def _saved(report: Report, folder: Path) -> None:
    print(f"written: {report.save(folder)}")


def _unit(here: Activations, unit: str, folder: Path) -> None:
    """Paints it in the terminal, and saves its page and picture."""
    if sys.stdout.isatty():
        text, shades, _ = over(here, unit, slice(40 * shutil.get_terminal_size().lines))
        print(painting.terminal(text, shades))
    panel = unit_panel(here, unit)
    panel.save(folder)
    write(folder / f"{panel.name}.html", Report(panel.title, [panel]).page().encode("utf-8", "replace"))
    print(f"written: {folder / panel.name}.html and .png")


def _function(spec: str) -> Callable[[str], Any]:
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise UserError(f"--property {spec} must be file.py:function")
    functions = {key: value for key, value in vars(run_file(Path(file), "property")).items() if callable(value)}
    if name not in functions:
        raise unknown(f"property in {file}", name, functions)
    return functions[name]
