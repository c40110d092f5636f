"""`elman inspect`: what a trained model has learned, and how far its gradient reaches."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from elman.cells.registry import cell_names
from elman.cli.output import for_line
from elman.cli.parameters import command, flags
from elman.errors import UserError, unknown
from elman.files import write
from elman.inspect import terminal
from elman.inspect.cells import compare
from elman.inspect.panel import Panel
from elman.inspect.png_files import png_files
from elman.inspect.properties import LANGUAGES
from elman.inspect.report import Report, report, side_by_side
from elman.inspect.report_options import ReportOptions
from elman.options import OnlyWith, PositiveFloat, PositiveInt, check
from elman.training.run import RUNS, Which, newest
from elman.training.trained_model import load
from elman.user_file import run_file


@dataclass(frozen=True)
class CellsOptions:
    """Untrained cells side by side, without a run."""

    cells: str | None = None
    """Untrained cells, separated by commas, as in rnn,rnn:activation=relu,lstm:forget_bias=0."""
    gain: Annotated[PositiveFloat, OnlyWith("cells")] = 1.0
    """Factor of their recurrent matrices."""
    steps: Annotated[PositiveInt, OnlyWith("cells")] = 100
    """Steps of their sequence."""


@dataclass(frozen=True)
class InspectOptions:
    """Which weights are inspected, and where the report is written."""

    property: tuple[str, ...] = ()
    """A property of your own, my_file.py:function: a function of the text that gives one value per character."""
    cell: str | None = None
    """FILE.py:NAME of a cell that could not be traced into an equation."""
    weights: Which = "best"
    """The best weights on the validation split, or the last."""
    out: Path | None = None
    """The folder of the report; that of the run when not given."""


@command
def inspect_(
    *runs: Path,
    options: InspectOptions = InspectOptions(),
    content: ReportOptions = ReportOptions(),
    untrained: CellsOptions = CellsOptions(),
) -> None:
    """Report what a trained model has learned: report.html, report.json and images, in the folder of the run.

    Parameters
    ----------
    runs
        The run folder, the newest in runs/ when not given; of several, the curves over each other.
    """
    content = replace(content, properties=tuple(map(_function, options.property)), log=_log)
    check(options, content, untrained)
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise UserError(f"`out` {options.out} is a file: name a folder")
    if content.language is not None and content.language not in LANGUAGES:
        raise unknown("language", content.language, LANGUAGES)
    if untrained.cells is not None:
        return _save(_cells(runs, content, untrained), options.out or RUNS / "cells")
    if len(runs) > 1:
        content.check_taken((), "several runs, which are compared by their curves")
        return _save(side_by_side(runs), options.out or RUNS / "-".join(["curves", *(run.name for run in runs)]))
    model = load(runs[0] if runs else newest(), weights=options.weights, cell=options.cell)
    given = {name: value for name, value in vars(content).items() if value != getattr(ReportOptions, name)}
    with Console(stderr=True, markup=False).status(f"inspecting {model.path}"):
        found = report(model, **given)
    if content.unit is None:
        for line in terminal.lines(found.panels):
            print(flags(line.plain))
        return _save(found, options.out or model.path)
    return _save_unit(found, *found.panels, folder=options.out or model.path)


def _log(line: str) -> None:
    print(for_line(flags(line)), flush=True)


def _cells(runs: tuple[Path, ...], content: ReportOptions, untrained: CellsOptions) -> Report:
    if runs:
        raise UserError(f"`cells` {untrained.cells} and {runs[0]} exclude each other: untrained cells have no run")
    content.check_taken((), "untrained cells")
    specs = cell_names(str(untrained.cells))
    if not specs:
        raise UserError("`cells` names no cell: separate them by commas, as in rnn,lstm")
    return compare(specs, untrained.gain, untrained.steps, seed=content.seed)


def _save(found: Report, folder: Path) -> None:
    print(f"report: {for_line(str(found.save(folder)))}")


def _save_unit(found: Report, panel: Panel, folder: Path) -> None:
    """Paints the text in the terminal, and saves the page and the image of one unit."""
    if sys.stdout.isatty():
        print(terminal.painted(panel, shutil.get_terminal_size().lines * 40))
    page = found.save_page(folder / f"{panel.name}.html")
    for name, image in png_files(panel).items():
        write(folder / name, image)
    print(f"report: {for_line(str(page))}")


def _function(spec: str) -> Callable[[str], Any]:
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise UserError(f"`property` {spec} must be file.py:function")
    functions = {key: value for key, value in vars(run_file(Path(file), "property")).items() if callable(value)}
    if name not in functions:
        raise unknown(f"property in {file}", name, functions)
    return functions[name]
