"""Looking inside a run: the report of its kind of task, or the curves of several runs over each other."""

import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elman.errors import UserError
from elman.inspect.curves import curves
from elman.inspect.panel import Panel, Report
from elman.options import build, check
from elman.training.model import Model, load
from elman.training.run import Run


def look(run: str | Path | Model, **options: Any) -> Report:
    """What a trained model has learned, as a report that shows itself in a notebook, and can be saved.

    report = elman.look("runs/lm-mine")
    report.save(Path("mine"))              # report.html, report.json, report/*.png

    `options` are those of the kind's own `Look` (`elman.inspect.listened.Look`: text, language, length, own, quiet).
    """
    model = run if isinstance(run, Model) else load(run)
    return Report(f"{model.path.name}: {model.task.describe()}", list(panels(model, options)))


def panels(model: Model, options: dict[str, Any]) -> Iterable[Panel]:
    """Those of the task's own module here, `elman.inspect.KIND`; a task that has none shows its training."""
    home = f"elman.inspect.{model.task.kind}"
    if importlib.util.find_spec(home) is None:
        if options.get("text"):
            raise UserError(f"{model.path} is a run of '{model.task.kind}', which reads no text: leave out --text")
        return [curves([model.run])]
    module = importlib.import_module(home)
    asked = build(module.Look, options)
    check(asked)
    return module.panels(model, asked)


def side_by_side(runs: list[Path]) -> Report:
    """The training of several runs."""
    return Report(" and ".join(run.name for run in runs), [curves([Run.open(run) for run in runs])])
