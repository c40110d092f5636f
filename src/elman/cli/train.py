"""`elman train KIND PATH`: a command for every task, made from its options."""

import dataclasses
import json
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token

from elman.cli.output import metric
from elman.cli.parameters import command, flag
from elman.cli.screen import Screen, span
from elman.errors import UserError, nearest
from elman.tasks.capabilities import Generates, GeneratesImages, Predicts
from elman.tasks.task import Task, kinds
from elman.training import api
from elman.training.options import TrainOptions

app = App(name="train", help="Train a model on your data.")


@dataclasses.dataclass
class Given:
    """The names of the options that were given on the command line or in a file."""

    names: set[str] = dataclasses.field(default_factory=set)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Called by cyclopts between parsing the words and converting the values."""
        written = {argument.name.lstrip("-"): argument for argument in arguments}
        config = written.get("config")
        if config is not None and config.tokens:
            self._read(Path(config.tokens[0].value), written)
        self.names |= {argument.field_info.name for argument in arguments if argument.tokens}

    def _read(self, path: Path, arguments: dict[str, Any]) -> None:
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise UserError(f"cannot read --config {path}: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"--config {path} is not TOML: {error}") from error
        for key, value in values.items():
            name = flag(key).lstrip("-")
            if name not in arguments:
                raise UserError(f"unknown option '{key}' in {path}: did you mean '{nearest(name, arguments, 0.0)}'?")
            if not arguments[name].tokens:  # the command line wins
                text = value if isinstance(value, str) else json.dumps(value)
                arguments[name].append(Token(keyword=key, value=text, source=str(path)))


def register(task: type[Task]) -> Callable[..., None]:
    """The command that trains this kind of task."""
    given = Given()

    def train(
        *paths: str,
        model: Any = task.Options(),
        training: TrainOptions = TrainOptions(),
        out: Path | None = None,
        resume: Path | None = None,
        config: Path | None = None,
    ) -> None:
        written = {name: getattr(options, name) for options in (model, training)
                   for name in given.names if hasattr(options, name)}  # fmt: skip
        with Screen() as screen:
            trained = api.train(task.kind, paths, out=out, resume=resume, reporter=screen, **written)
        _report(task, trained.path)

    train.__annotations__["model"] = task.Options
    train.__doc__ = f"""Train {task.summary}.

    Parameters
    ----------
    paths
        Files, folders, or - for standard input.
    out
        The run folder; runs/{task.kind}-NAME when not given.
    resume
        A run folder to resume; with --for, --epochs or --steps it is trained for so much more.
    config
        A TOML file with any of these options; the command line wins over it.
    """
    made = App(name=task.kind, config=given)
    made.default(command(train))
    app.command(made)
    return train


def _report(task: type[Task], path: Path) -> None:
    """The final metrics, and what to do with the model."""
    summary = json.loads((path / "summary.json").read_bytes())
    validation = {name.removeprefix("val_"): value for name, value in summary.items()
                  if name.startswith("val_") and isinstance(value, float)}  # fmt: skip
    parts = []
    if "loss" in validation:
        nats = " nats" if task.nats else ""
        parts.append(f"validation loss {validation.pop('loss'):.4f}{nats}")
    if "bits" in validation:
        parts.append(f"{validation.pop('bits'):.4f} bits per {task.unit}")
    parts += [metric(name, value) for name, value in (validation | summary["val_metrics"]).items()]
    parts.append(f"{summary['units']:,} {task.unit}s in {span(summary['train_seconds'])}")
    print(" · ".join(filter(None, [*parts, f"saved in {path}"])))
    print(_next_command(task, path))


def _next_command(task: type[Task], path: Path) -> str:
    if issubclass(task, Generates):
        return f"generate text: elman sample {shlex.quote(str(path))}"
    if issubclass(task.Model, GeneratesImages):
        return f"generate images: elman sample {shlex.quote(str(path))}"
    if issubclass(task, Predicts):
        return f"predict: elman predict {shlex.quote(str(path))}"
    return f"evaluate: elman eval {shlex.quote(str(path))}"


for each in kinds().values():
    register(each)
