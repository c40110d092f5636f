"""The run folder: everything that training leaves, and all that is needed to resume it, to sample and to inspect.

config.json         the kind of task, its Spec, the data, the options of training
model.safetensors   the best weights so far
resume/             the last weights, the optimizer, the position in the data, every random state; replaced as a whole
previews/           images made while training
log.jsonl           a line an interval
summary.json        the final metrics

A run may come from somebody else. Only regular files below the folder are opened, every field is checked against its
type, no code is run, and no path that stands in the folder is opened unless the run was made on this machine.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from elman import schema
from elman.errors import UserError, unknown
from elman.files import append, cannot_write, digest, read, recover_folder, replace_folder, seal, state_folder, unseal
from elman.files import write as write_file
from elman.schema import Count, from_json, to_json
from elman.training.progress import Progress
from elman.training.random_states import RandomStates
from elman.training.run_config import RunConfig, read_config
from elman.training.tensor_file import About, pack, read_header, unpack

RUNS = Path("runs")
MAX_LOG = 256 << 20  # bytes
STATE = r"state(\.\w{1,64}){0,20}"  # the names of its tensors, see `elman.recurrent.state`
LOGGED = ("step", "seconds", "loss", "val_loss", "grad_norm")  # in every line of the log
Which = Literal["best", "last"]
Number = Count | float | None
# the types of the summary; all else in it is a number, or None where there is none
SUMMARY: dict[str, Any] = dict.fromkeys(("unit", "backend", "device", "precision"), str) | {
    "val_metrics": dict[str, Any]
}
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


@dataclass
class Checkpoint:
    """All that training needs to continue as if it had not stopped."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Tensor]
    progress: Progress
    random: RandomStates


@dataclass(frozen=True)
class _Position:
    """The content of resume/training.json."""

    progress: Progress
    random: RandomStates


@dataclass
class Run:
    """A run folder."""

    path: Path
    config: RunConfig

    @staticmethod
    def create(path: Path, config: RunConfig) -> "Run":
        """A new folder; one that exists is an error. The run counts as made on this machine."""
        if path.exists():
            raise UserError(f"{path} exists: choose another `out`, or continue it with `resume` {path}")
        config.check(path / "config.json")
        run = Run(path, config)
        try:
            path.mkdir(parents=True)
            run._write("config.json", seal(config.to_json()))
        except OSError as error:
            raise cannot_write(path, error) from error
        except UserError:
            path.rmdir()
            raise
        with suppress(UserError):  # without a marker, the data of the run has to be named later
            write_file(run._marker(), str(path.absolute()).encode("utf-8", "backslashreplace"))
        return run

    @staticmethod
    def open(path: Path, which: Which = "best") -> "Run":
        """The run in a folder. The last weights have a copy of the configuration of their own."""
        if not path.is_dir():
            raise _no_run(path)
        if which == "last":
            recover_folder(path / "resume")
        where = path / "config.json" if which == "best" else path / "resume" / "config.json"
        if not where.exists() and not (path / "model.safetensors").exists():
            raise UserError(f"{path} is not a run: it has no config.json")
        return Run(path, _or_the_other(path, which, lambda: read_config(where, path)))

    def spec(self, kind: type[T]) -> T:
        """The Spec of the model, as a dataclass of a task."""
        return from_json(kind, self.config.spec, f"{self.path}/config.json", "spec")

    def training(self, kind: type[T]) -> T:
        """The options of training, as a dataclass."""
        return from_json(kind, self.config.training, f"{self.path}/config.json", "training")

    def trusted(self) -> bool:
        """Whether a run with this configuration was made on this machine, by this user."""
        return self._marker().is_file()

    def data_paths(self, option: str = "PATH") -> list[str]:
        """The paths of the data, for a run that was made on this machine; for any other the user has to name them, with
        `option`. Whoever reads data compares its key with `config.key` before anything of it is shown."""
        if not self.trusted():
            raise UserError(f"{self.path} was not made on this machine: name its data with {option}")
        return list(self.config.paths)

    def save_model(self, tensors: Mapping[str, Tensor], about: About) -> None:
        """Writes the best weights."""
        self._write("model.safetensors", pack(tensors, about))

    def load_model(self, which: Which = "best") -> tuple[dict[str, Tensor], About]:
        """The weights, and step and validation loss at which they were saved."""
        path = (self.path if which == "best" else self.path / "resume") / "model.safetensors"

        def load() -> tuple[dict[str, Tensor], About]:
            tensors, about = unpack(path, self.path)
            for name, value in tensors.items():
                if not value.isfinite().all():
                    raise UserError(f"{path}: '{name:.60}' has numbers that are not finite")
            return tensors, about

        return _or_the_other(self.path, which, load)

    def build(self, build: Callable[[], M], which: Which = "best") -> M:
        """Builds the model and loads its weights. Its shapes are compared with those of the file before memory is
        allocated for it."""
        where = (self.path if which == "best" else self.path / "resume") / "model.safetensors"
        entries, _ = _or_the_other(self.path, which, lambda: read_header(where, self.path))
        try:
            with torch.device("meta"):
                shapes = {name: tuple(value.shape) for name, value in build().state_dict().items()}
        except UserError:
            raise
        except Exception as error:  # sizes that no layer can have fail in as many ways as there are layers
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"{self.path}/config.json: spec describes no model: {reason}") from None
        if shapes != {name: entry.shape for name, entry in entries.items()}:
            raise _misfit(where)
        model = build()
        self.put_model(model, which)
        return model

    def put_model(self, model: nn.Module, which: Which = "best") -> None:
        """Loads the weights into a model."""
        tensors, _ = self.load_model(which)
        try:
            model.load_state_dict(tensors)
        except RuntimeError:
            folder = self.path / "resume" if which == "last" else self.path
            raise _misfit(folder / "model.safetensors") from None

    def save_resume(self, checkpoint: Checkpoint) -> None:
        """Replaces the resumable state."""
        replace_folder(
            self.path / "resume",
            {
                "config.json": seal(self.config.to_json()),
                "model.safetensors": pack(checkpoint.model, {}),
                "optimizer.safetensors": pack(checkpoint.optimizer, {}),
                "state.safetensors": pack(checkpoint.state, {}),
                "training.json": seal(to_json(_Position(checkpoint.progress, checkpoint.random))),
            },
        )

    def begun(self) -> bool:
        """Whether there is a resumable state. Without one, weights must not be there either: they would be lost."""
        recover_folder(self.path / "resume")
        found = (self.path / "resume").is_dir()
        if not found and ((self.path / "model.safetensors").exists() or not self.trusted()):
            raise UserError(f"{self.path} has no resume/: it cannot be trained further, only sampled")
        return found

    def load_resume(self) -> Checkpoint:
        """The resumable state; whatever is missing or damaged is named."""
        folder = self.path / "resume"
        names = ("model", "optimizer", "state")

        def load() -> Checkpoint:
            model, optimizer, state = (unpack(folder / f"{name}.safetensors", self.path)[0] for name in names)
            for name in state:
                if not re.fullmatch(STATE, name):
                    raise UserError(f"{folder}/state.safetensors is damaged: '{name:.60}' is no part of a state")
            where = folder / "training.json"
            position = from_json(_Position, unseal(where, self.path), str(where))
            return Checkpoint(model, optimizer, state, position.progress, position.random)

        return _or_the_other(self.path, "last", load)

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends a line to log.jsonl."""
        append(self.path / "log.jsonl", self.path, json.dumps(line))

    def read_log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl; one that was cut off by a crash, the last, is left out."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return []
        lines = read(path, self.path, MAX_LOG).splitlines(keepends=True)
        return [_log_line(line, f"{path} line {at}") for at, line in enumerate(lines, 1) if line.endswith(b"\n")]

    def trim_log(self, step: int) -> None:
        """Drops the lines after a step, which a training that is resumed there writes again."""
        if (self.path / "log.jsonl").exists():
            kept = [json.dumps(line) + "\n" for line in self.read_log() if line["step"] <= step]
            self._write("log.jsonl", "".join(kept).encode())

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json, with None for numbers that are not finite."""
        self._write("summary.json", json.dumps(_finite(summary), indent=1).encode())

    def summary(self) -> dict[str, Any]:
        """The final metrics; empty while the run has not ended."""
        path = self.path / "summary.json"
        if not path.exists():
            return {}
        value = schema.parse(read(path, self.path, schema.MAX_BYTES), str(path))
        return {
            name: from_json(SUMMARY.get(name, Number), item, str(path), name)  # type: ignore[arg-type]
            for name, item in from_json(dict[str, Any], value, str(path)).items()
        }

    def save_preview(self, name: str, content: bytes) -> Path:
        """Writes an image into previews/; returns its path."""
        self._write(f"previews/{name}", content)
        return self.path / "previews" / name

    def _write(self, name: str, content: bytes) -> None:
        write_file(self.path / name, content, self.path)

    def _marker(self) -> Path:
        """The file that records that this configuration was made here. It names the paths of the data too, so that no
        other folder can have the same and other paths."""
        return state_folder() / "runs" / digest(self.config.to_json())


def newest() -> Path:
    """The run that was last written to."""
    runs = all_runs()
    if not runs:
        raise UserError("there is no run yet: elman train lm FILE makes one, elman demo makes one for you")
    return max(runs, key=lambda path: (path / "config.json").lstat().st_mtime)


def all_runs() -> list[Path]:
    """The run folders in `runs/`."""
    return sorted(path.parent for path in RUNS.glob("*/config.json"))


def open_all() -> Iterator[tuple[Path, Run | UserError]]:
    """Every run in `runs/`, or the error with which it cannot be opened."""
    for path in all_runs():
        try:
            yield path, Run.open(path)
        except UserError as error:
            yield path, error


def free_path(name: str) -> Path:
    """`runs/NAME`, with the next number behind it where that exists."""
    path, number = RUNS / name, 1
    while path.exists():
        number += 1
        path = RUNS / f"{name}-{number}"
    return path


def _log_line(line: bytes, where: str) -> dict[str, Any]:
    value = from_json(dict[str, bool | Number], schema.parse(line, where), where)
    missing = [name for name in LOGGED if name not in value]
    if missing:
        raise UserError(f"{where}: {missing[0]} is missing")
    from_json(int, value["step"], where, "step")
    return value


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _misfit(where: Path) -> UserError:
    return UserError(f"{where} does not fit the model of config.json")


def _no_run(path: Path) -> UserError:
    if path.exists():
        return UserError(f"{path} is not a run: a run is a folder with config.json")
    known = [str(run) for run in all_runs()]
    if str(RUNS / path) in known:
        return UserError(f"there is no run {path}: did you mean '{RUNS / path}'?")
    return unknown("run", str(path), known)


def _or_the_other(path: Path, which: Which, load: Callable[[], T]) -> T:
    """What `load` returns; where it fails, the error also states that the run's other copy of the weights is whole."""
    try:
        return load()
    except UserError as error:
        other, folder = ("last", path / "resume") if which == "best" else ("best", path)
        try:
            unseal(folder / "config.json", path)
            unpack(folder / "model.safetensors", path)
        except UserError:
            raise error from None
        raise UserError(f"{error}; the {other} weights are whole: `weights` {other}") from None
