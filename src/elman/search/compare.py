"""Comparison of cells: models that differ in their cell alone, trained alike on one text."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from elman.cells.registry import CellSpec, find, stored
from elman.errors import UserError
from elman.inspect.blocks import Chart, Table
from elman.inspect.curves import curves
from elman.inspect.flow import chart, reach, steps_of
from elman.inspect.lm import text_flow
from elman.inspect.panel import Panel
from elman.inspect.report import Report
from elman.tasks.task import Task
from elman.training import api
from elman.training.loop import DEFAULT_SPAN
from elman.training.options import TrainOptions
from elman.training.reporter import Reporter
from elman.training.trained_model import TrainedModel

READ = 4000  # tokens of the held-out text, for gradient flow

Equal = Literal["parameters", "hidden"]


def compare(
    task: Task, paths: Sequence[str], cells: Sequence[str], equal: Equal, options: Any, training: TrainOptions,
    folder: Path, reporter: Callable[[], AbstractContextManager[Reporter]],
) -> Report:  # fmt: skip
    """Trains a language model of each cell and reports on all of them.

    - equal: what they have in common with the first: the number of parameters, to the nearest, or of hidden units
    - folder: of the runs, a folder each
    - reporter: makes that of a training
    """
    for cell in cells:
        find(cell)  # a name that is wrong is reported before the first is trained
    if folder.exists():
        raise UserError(f"{folder} exists: choose another `out`")
    unit, amount = training.span() or DEFAULT_SPAN
    first = replace(options, cell=cells[0])
    spec: Any = task.prepare(list(paths), first, amount if unit == "for" else None, training.seed).spec
    chosen = replace(options, hidden=spec.hidden, embedding=spec.embedding, dropout=spec.dropout)
    wanted, trained = parameters(task, spec, cells[0], spec.hidden), []
    for cell in cells:
        hidden = spec.hidden if equal == "hidden" else matching_hidden(task, spec, cell, wanted)
        out = folder / Path(cell).name.replace(":", "-").replace("=", "-")
        with reporter() as shown:
            trained.append(
                api.begin(task, list(paths), replace(chosen, cell=cell, hidden=hidden), training, out, shown)
            )
    return report(trained)


def parameters(task: Task, spec: Any, cell: CellSpec, hidden: int) -> int:
    """The number of parameters of a model with that cell and number of hidden units."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = task.build(replace(spec, hidden=hidden, options=replace(spec.options, cell=stored(cell))))
    return sum(weight.numel() for weight in model.parameters())


def matching_hidden(task: Task, spec: Any, cell: CellSpec, wanted: int) -> int:
    """The number of hidden units with which a model has `wanted` parameters, to the nearest."""
    low, high = 1, 2
    while parameters(task, spec, cell, high) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(task, spec, cell, middle) < wanted else (low, middle)
    return min(low, high, key=lambda hidden: abs(parameters(task, spec, cell, hidden) - wanted))


def report(models: Sequence[TrainedModel]) -> Report:
    """The curves of language models with different cells, and the gradient flow through them."""
    norms, rows, metrics = dict[str, np.ndarray](), [], {}
    for model in models:
        found = text_flow(model.model, _held_out(model)[:READ])
        address, name, summary = found.longest, model.path.name, model.run.summary()
        norms[f"{name} ({address})"] = found.states[address]
        life = found.half_life(address)
        rows.append([name, model.spec.hidden, summary["parameters"], summary["val_loss"], summary.get("val_bits"),
                     round(summary["units_per_s"]), steps_of(life, len(found.states[address])),
                     reach(found)])  # fmt: skip
        metrics[name] = {"summary": summary, "half_life": life, "reach": reach(found), "states": found.states}
    rows.sort(key=lambda row: row[3] if row[3] is not None else np.inf)
    rows = [["" if value is None else value for value in row] for row in rows]
    head = ["cell", "units", "parameters", "validation loss", "bits", "tokens per second", "half-life, steps",
            "9/10 of the weight gradient from"]  # fmt: skip
    summary = "The state of longest half-life in each trained cell: the gradient of the loss at step T, k steps before."
    flow = Panel("reach", "Gradient flow", summary, metrics, [Chart("reach", chart(norms)), Table(head, rows)])
    return Report("Comparison of cells", [curves([model.run for model in models]), flow])


def _held_out(model: TrainedModel) -> np.ndarray:
    """The tokens of the validation split, or of the training split where there is none."""
    for split in ("valid", "train"):
        source: Any = model.task.source(model.spec, model.run.data_paths(), split)
        if source is not None:
            return source.ids
    raise UserError(f"{model.path} has no data")
