"""Curves of training: what log.jsonl holds, for one run or several over each other."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import UserError
from elman.inspect.chart import COLOURS, axes, styled, thin
from elman.inspect.panel import Panel, table
from elman.tasks.task import Task, kinds
from elman.training.run import Run

DRAWN = {
    "grad_norm": "gradient norm before clipping, about once a second",
    "lr": "learning rate",
    "tokens_per_s": "{unit}s a second",
    "clipped": "share of updates that were clipped",
    "stuck": "share of units that are the same in every row",
}


def read(path: Path) -> dict[str, np.ndarray]:
    """The log of a run by name of the figure, (lines,) each; NaN where a line has none."""
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no log.jsonl: its training was stopped before its first line") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    lines = [line for line in lines if not line.get("end")] or lines
    names = dict.fromkeys(name for line in lines for name in line)
    return {
        name: np.array([math.nan if line.get(name) is None else float(line[name]) for line in lines]) for name in names
    }


def training(run: Run, log: Callable[[str], None]) -> Iterator[Panel]:
    """The curves of one run, as the last panel of its report; told where it has none."""
    if (run.path / "log.jsonl").exists():
        yield curves([run])
    else:
        log(f"{run.path} has no log.jsonl: the curves of its training are left out")


@styled
def curves(runs: Sequence[Run]) -> Panel:
    """Loss, gradient norm, rate, speed and clipping over the seconds of training."""
    logs = {str(run.path): read(run.path / "log.jsonl") for run in runs}
    if not any(len(log.get("seconds", ())) for log in logs.values()):
        raise UserError(f"{', '.join(logs)} has no line in log.jsonl yet")
    unit = " or ".join(dict.fromkeys(kinds().get(run.config["kind"], Task).unit for run in runs))
    figure, grid = axes(10.0, 7.2, 3, 2)
    losses, *others = grid.ravel()
    for number, (name, log) in enumerate(logs.items()):
        some, colour = thin(log["seconds"]), COLOURS[number]
        of_training = {} if len(logs) > 1 else {"label": "training"}
        losses.plot(log["seconds"][some], log["loss"][some], color=colour, alpha=0.55, linewidth=1, **of_training)
        seen = np.flatnonzero(~np.isnan(log["val_loss"]))
        shown = f"{Path(name).name}, " * (len(logs) > 1) + "validation"
        losses.plot(log["seconds"][seen], log["val_loss"][seen], color=colour, linewidth=2, label=shown)
        for axis, (field, title) in zip(others, DRAWN.items(), strict=True):
            if field in log:
                axis.plot(log["seconds"][some], log[field][some], color=colour, linewidth=1)
            axis.set(title=title.format(unit=unit), xlabel="seconds")
            if title.startswith("share"):
                axis.set_ylim(-0.02, 1.02)
    losses.set(title=f"loss, nats a {unit}", xlabel="seconds")
    losses.legend()
    if any((log["grad_norm"] > 0).any() for log in logs.values()):
        others[0].set_yscale("log")
    rows, figures = [], {}
    for run in runs:
        summary, log = run.summary(), logs[str(run.path)]
        figures[str(run.path.name)] = {
            "summary": summary,
            **{name: values[thin(values)] for name, values in log.items()},
        }
        rows.append([run.path.name, *(_known(figure) for figure in (
            _cell(run), *(summary.get(name) for name in ("parameters", "val_loss", "val_bits")),
            *(summary.get(name) and round(summary[name]) for name in ("tokens_per_s", "train_seconds"))))])  # fmt: skip
    head = ["run", "cell", "parameters", "validation, nats", "bits", f"{unit}s a second", "seconds"]
    return Panel("curves", "Training", says(runs, logs, unit), figures, {"curves": figure}, table(head, rows))


def says(runs: Sequence[Run], logs: dict[str, dict[str, np.ndarray]], unit: str) -> str:
    """What the curves show, in a sentence."""
    best = {run.path.name: run.summary().get("val_loss") for run in runs}
    known = {name: loss for name, loss in best.items() if loss is not None}
    if len(runs) > 1 and len(known) == len(runs):
        first = min(known, key=lambda name: known[name])
        rest = ", ".join(f"{name} at {known[name]:.4f}" for name in known if name != first)
        return f"{first} is best, at {known[first]:.4f} nats a {unit}; {rest}."
    log = next(iter(logs.values()))
    clipped = float(np.nanmean(log["clipped"])) if "clipped" in log else math.nan
    told = f"The last loss is {log['loss'][-1]:.3f} nats a {unit} in training"
    told += f", the best in validation {min(known.values()):.3f}" if known else ""
    return told + ("." if math.isnan(clipped) else f"; {clipped:.0%} of the updates were clipped.")


def _known(value: Any) -> Any:
    return "" if value is None else value


def _cell(run: Run) -> Any:
    cell = run.config["task"].get("cell")
    return cell and cell["name"]
