"""`elman train KIND PATH`: a command for every task, made from its options."""

import dataclasses
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token

from elman.cli.parameters import command, flag
from elman.cli.screen import Screen, shown, span
from elman.errors import UserError, nearest
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
        _tell_end(task, trained.path)

    train.__annotations__["model"] = task.Options
    train.__doc__ = f"""Train {task.summary}.

    Parameters
    ----------
    paths
        Files, folders, or - for standard input.
    out
        The run folder to make; runs/{task.kind}-NAME when not given.
    resume
        A run folder to go on with, where it stopped; with --for, --epochs or --steps so much more.
    config
        A TOML file with any of these options; the command line wins over it.
    """
    made = App(name=task.kind, config=given)
    made.default(command(train))
    app.command(made)
    return train


def _tell_end(task: type[Task], path: Path) -> None:
    summary = json.loads((path / "summary.json").read_bytes())
    loss = summary["val_loss"]
    accuracy = summary["val_accuracy"]
    figures = [] if loss is None else [f"validation {loss:.4f} nats, {summary['val_bits']:.4f} bits a {task.unit}"]
    figures += [] if accuracy is None else [f"{accuracy:.1%} right"]
    figures += [f"{name} {shown(value)}" for name, value in summary["val_figures"].items() if shown(value)]
    figures += [f"{summary['tokens']:,} {task.unit}s in {span(summary['train_seconds'])}; saved in {path}"]
    print("; ".join(figures))
    print(f"{task.next_step} {path}")


for each in kinds().values():
    register(each)
