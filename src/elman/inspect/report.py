"""The report of a run: what its model has learned."""

import importlib
import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.errors import UserError
from elman.files import replace_folder, write
from elman.inspect.curves import curves
from elman.inspect.page import fragment, page
from elman.inspect.panel import Panel
from elman.inspect.png_files import png_files
from elman.inspect.report_json import to_json
from elman.inspect.report_options import ReportOptions
from elman.options import build, check
from elman.training.run import Run
from elman.training.trained_model import TrainedModel, load


@dataclass(frozen=True, eq=False)
class Report:
    """Panels under a title. Shows itself in a notebook, and `report["units"]` shows one panel."""

    title: str
    panels: Sequence[Panel]

    def __getitem__(self, name: str) -> "Report":
        panels = [panel for panel in self.panels if panel.name == name]
        if not panels:
            raise KeyError(f"no panel {name}: there are {', '.join(panel.name for panel in self.panels)}")
        return Report(panels[0].title, panels)

    @property
    def metrics(self) -> dict[str, Any]:
        """All values by panel, as JSON can hold them."""
        return to_json(self.panels)

    def save(self, folder: Path) -> Path:
        """Writes report.html, report.json, and the images into report/; returns the path of the first."""
        images: dict[str, bytes] = {}
        for panel in self.panels:
            images |= png_files(panel)
        replace_folder(folder / "report", images)  # an earlier report may have had others
        write(folder / "report.json", json.dumps(self.metrics, indent=1, ensure_ascii=False).encode())
        return self.save_page(folder / "report.html")

    def save_page(self, path: Path) -> Path:
        """Writes the page alone; returns its path."""
        write(path, page(self.title, self.panels).encode("utf-8", "replace"))
        return path

    def _repr_html_(self) -> str:
        return fragment(self.title, self.panels)


def report(run: str | Path | TrainedModel, **options: Any) -> Report:
    """What a trained model has learned, as a report that shows itself in a notebook and can be saved.

    report = elman.report("runs/lm-mine")
    report.save(Path("mine"))              # report.html, report.json, report/*.png

    `options` are the fields of `ReportOptions`: text, length, no_text, seed; for a language model also language,
    unit, unknown and properties.
    """
    model = run if isinstance(run, TrainedModel) else load(run)
    return Report(f"{model.path.name}: {model.model.describe()}", list(panels(model, build(ReportOptions, options))))


def panels(model: TrainedModel, options: ReportOptions) -> Iterable[Panel]:
    """The panels of the module `elman.inspect.KIND`, whose `TAKES` names the options that it takes; a kind of task
    without one has the curves of its training."""
    check(options)
    kind, home = model.task.kind, f"elman.inspect.{model.task.kind}"
    what = f"{model.path}, a run of '{kind}'"
    if importlib.util.find_spec(home) is None:
        if options.text:
            raise UserError(f"{what}, reads no text: leave out `text`")
        options.check_taken((), what)
        return [curves([model.run])]
    module = importlib.import_module(home)
    options.check_taken(module.TAKES, what)
    return module.panels(model, options)


def side_by_side(runs: Sequence[Path]) -> Report:
    """The curves of several runs."""
    return Report(" and ".join(run.name for run in runs), [curves([Run.open(run) for run in runs])])
