"""Looking inside a run: the report of its kind of task, or the curves of several runs over each other."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from elman.data.table import Table
from elman.errors import UserError
from elman.inspect.curves import curves
from elman.inspect.panel import Panel, Report
from elman.options import CountInt, PositiveInt, build, check, flag
from elman.tasks.task import Answer
from elman.tokenizers.tokenizer import Unknown
from elman.training.run import Run
from elman.training.trained_model import Model, load

ALWAYS = ("quiet", "seed", "log")  # options that every report takes
FLAGS = {"own": "--property"}  # where the command line has another word


@Parameter(name="*")
@dataclass(frozen=True)
class Look:
    """What a report is made of, how much of it, and what is left out. Not every kind of task takes every option."""

    text: str | None = None
    """A text to read, or a table, instead of the part of the run's own that it was not trained on."""
    language: str | None = None
    """What the text is: python, c, latex, markdown or text; guessed when not given."""
    length: PositiveInt | None = None
    """How much is read: 40,000 tokens of a text or 2,000 rows of a table when not given."""
    quiet: Annotated[bool, Parameter(name="--no-text", negative=())] = False
    """Leave the text itself out of the report."""
    unknown: Unknown = "error"
    """What to do with a character of --text that the model never saw."""
    seed: CountInt = 0
    """Of everything that is drawn."""
    own: Annotated[Sequence[Callable[[str], Any]], Parameter(parse=False)] = ()
    """Properties of the user's own: functions of the text."""
    log: Annotated[Callable[[str], None], Parameter(parse=False)] = lambda line: None
    """Where lines to the user go."""

    def fits(self, taken: Iterable[str], what: str) -> None:
        """Raises a UserError for an option that was given and is not among those that `what` takes."""
        for field in fields(self):
            if field.name not in (*ALWAYS, *taken) and getattr(self, field.name) != field.default:
                raise UserError(f"{FLAGS.get(field.name, flag(field.name))} does not go with {what}: leave it out")


def look(run: str | Path | Model, **options: Any) -> Report:
    """What a trained model has learned, as a report that shows itself in a notebook, and can be saved.

    report = elman.look("runs/lm-mine")
    report.save(Path("mine"))              # report.html, report.json, report/*.png

    `options` are those of `Look`: text, length, quiet, seed; for a language model language, unknown and own too.
    """
    model = run if isinstance(run, Model) else load(run)
    return Report(f"{model.path.name}: {model.task.describe()}", list(panels(model, options)))


def panels(model: Model, options: dict[str, Any]) -> Iterable[Panel]:
    """Those of the task's own module here, `elman.inspect.KIND`, which says what options it `TAKES`; a task that has
    none shows its training."""
    kind, look = model.task.kind, build(Look, options)
    check(look)
    home = f"elman.inspect.{kind}"
    if importlib.util.find_spec(home) is None:
        if look.text:
            raise UserError(f"{model.path} is a run of '{kind}', which reads no text: leave out --text")
        look.fits((), f"{model.path}, a run of '{kind}'")
        return [curves([model.run])]
    module = importlib.import_module(home)
    look.fits(module.TAKES, f"{model.path}, a run of '{kind}'")
    return module.panels(model, look)


def strips(model: Model, rows: Table, answers: list[Answer]) -> list[Any] | str:
    """Where was looked in the picture of each row for its answer, an `elman.inspect.strip.Strip` each; or why there is
    none."""
    home = f"elman.inspect.{model.task.kind}"
    module = importlib.import_module(home) if importlib.util.find_spec(home) is not None else None
    made = getattr(module, "strips", None)
    return made(model, rows, answers) if made else f"A {model.task.kind} model looks at no picture."


def side_by_side(runs: list[Path]) -> Report:
    """The training of several runs."""
    return Report(" and ".join(run.name for run in runs), [curves([Run.open(run) for run in runs])])
