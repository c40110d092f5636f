"""Curves of training, from the log of one run or of several."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from elman.errors import UserError
from elman.inspect.blocks import Chart, Table
from elman.inspect.chart import COLOURS, axes, label_plainly, styled, thin
from elman.inspect.panel import Panel
from elman.tasks.task import Task, kinds
from elman.tokenizers.tokenizer import Log
from elman.training.run import Run

LOSS = "val_loss"  # by which runs are compared
DRAWN = {
    "grad_norm": "gradient norm before clipping, about once a second",
    "lr": "learning rate",
    "units_per_s": "{unit}s per second",
    "clipped": "fraction of updates that were clipped",
    "saturated": "fraction of units with the same value in all rows",
}

Columns = dict[str, np.ndarray]


def columns(run: Run) -> Columns:
    """The log of a run by the name of a value, (lines,) each; NaN where a line has none."""
    lines = run.read_log()
    lines = [line for line in lines if not line.get("end")] or lines
    if not lines:
        raise UserError(f"{run.path} has no line in log.jsonl: its training was stopped before the first")
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: np.array([_number(line.get(name)) for line in lines]) for name in names}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def training(run: Run, log: Log) -> Iterator[Panel]:
    """The curves of one run, as the last panel of its report, where it has a log."""
    if run.read_log():
        yield curves([run])
    else:
        log(f"{run.path} has no log.jsonl: the report has no curves of its training")


@styled
def curves(runs: Sequence[Run]) -> Panel:
    """Loss, gradient norm, learning rate, throughput and clipping over the seconds of training."""
    logs = [columns(run) for run in runs]
    unit, nats = _units(runs)
    figure, grid = axes(10.0, 7.2, 3, 2)
    losses, *others = grid.ravel()
    for number, (run, log) in enumerate(zip(runs, logs, strict=True)):
        kept, colour = thin(log["seconds"]), COLOURS[number % len(COLOURS)]
        label = {} if len(runs) > 1 else {"label": "training"}
        losses.plot(log["seconds"][kept], log["loss"][kept], color=colour, alpha=0.55, linewidth=1, **label)
        validated = np.flatnonzero(~np.isnan(log[LOSS]))
        label = f"{run.path.name}, " * (len(runs) > 1) + "validation"
        losses.plot(log["seconds"][validated], log[LOSS][validated], color=colour, linewidth=2, label=label)
        for axis, (name, title) in zip(others, DRAWN.items(), strict=True):
            if name in log:
                axis.plot(log["seconds"][kept], log[name][kept], color=colour, linewidth=1)
            axis.set(title=title.format(unit=unit), xlabel="seconds")
            if title.startswith("fraction"):
                axis.set_ylim(-0.02, 1.02)
    losses.set(title=f"loss, {nats}per {unit}", xlabel="seconds")
    losses.legend()
    if any((log["grad_norm"] > 0).any() for log in logs):
        others[0].set_yscale("log")
        label_plainly(others[0].yaxis)
    rows, metrics = [], {}
    for run, log in zip(runs, logs, strict=True):
        summary = run.summary()
        metrics[run.path.name] = {"summary": summary} | {name: values[thin(values)] for name, values in log.items()}
        rows.append([run.path.name, _cell(run), *(summary.get(name, "") for name in ("parameters", LOSS, "val_bits")),
                     *(_rounded(summary.get(name)) for name in ("units_per_s", "train_seconds"))])  # fmt: skip
    head = ["run", "cell", "parameters", "validation loss", "bits", f"{unit}s per second", "seconds"]
    rows = [["" if value is None else value for value in row] for row in rows]
    return Panel("curves", "Training", summary_of(runs, logs, f"{nats}per {unit}"), metrics,
                 [Chart("curves", figure), Table(head, rows)])  # fmt: skip


def _units(runs: Sequence[Run]) -> tuple[str, str]:
    """What the losses are the mean over, and "nats " where they are in nats."""
    tasks = [kinds().get(run.config.kind, Task) for run in runs]
    return " or ".join(dict.fromkeys(task.unit for task in tasks)), "nats " * all(task.nats for task in tasks)


def summary_of(runs: Sequence[Run], logs: Sequence[Columns], unit: str) -> str:
    """The last losses of one run, or the best of several, in a sentence."""
    best = {run.path.name: run.summary().get(LOSS) for run in runs}
    known = {name: loss for name, loss in best.items() if loss is not None}
    if len(runs) > 1 and len(known) == len(runs):
        first = min(known, key=lambda name: known[name])
        rest = ", ".join(f"{name} {known[name]:.4f}" for name in known if name != first)
        return f"{first} has the lowest validation loss, {known[first]:.4f} {unit}" + (f"; {rest}." if rest else ".")
    log = logs[0]
    clipped = float(np.nanmean(log["clipped"])) if "clipped" in log else math.nan
    text = f"The last training loss is {log['loss'][-1]:.3f} {unit}"
    text += f", the best validation loss {min(known.values()):.3f}" if known else ""
    return text + ("." if math.isnan(clipped) else f"; {clipped:.0%} of the updates were clipped.")


def _rounded(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value


def _cell(run: Run) -> Any:
    """The name of its cell."""
    options = run.config.spec.get("options")  # JSON that nothing has checked yet
    cell = options.get("cell") if isinstance(options, dict) else None
    return str(cell.get("name")) if isinstance(cell, dict) else ""
