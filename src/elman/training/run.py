"""The run folder: everything that training leaves, and all that is needed to go on, to sample and to look inside.

config.json         everything to build the task again
model.safetensors   the best weights so far
resume/             the last weights, the optimizer, the position, every random state; replaced as a whole
log.jsonl           a line an interval
summary.json        the final figures
"""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from elman import __version__
from elman.errors import UserError, unknown
from elman.files import cannot_write, recover_folder, replace_folder, seal, unseal, write

FORMAT = 1
RUNS = Path("runs")
Which = Literal["best", "last"]


@dataclass
class Run:
    """A run folder. `config` has format, elman (the version), kind, task, data, options."""

    path: Path
    config: dict[str, Any]

    @staticmethod
    def create(path: Path, config: Mapping[str, Any]) -> "Run":
        """A new folder; one that exists is an error."""
        if path.exists():
            raise UserError(f"{path} exists: choose another `out`, or go on with `resume` {path}")
        run = Run(path, {"format": FORMAT, "elman": __version__, **config})
        try:
            path.mkdir(parents=True)
            write(path / "config.json", seal(run.config))
        except OSError as error:
            raise cannot_write(path, error) from error
        except UserError:
            path.rmdir()
            raise
        return run

    @staticmethod
    def open(path: Path, which: Which = "best") -> "Run":
        """The run in a folder. The last weights have a copy of the configuration of their own."""
        if not path.is_dir():
            raise _no_run(path)
        recover_folder(path / "resume")
        where = path / "config.json" if which == "best" else path / "resume" / "config.json"
        if not where.exists() and not (path / "model.safetensors").exists():
            raise UserError(f"{path} is not a run: it has no config.json")
        config = _or_the_other(path, which, lambda: unseal(where))
        if config.get("format", 0) > FORMAT:
            newer = f"{path} was written by elman {config.get('elman')}, which is newer than this {__version__}"
            raise UserError(f"{newer}: pip install --upgrade elman")
        return Run(path, config)

    def save_model(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Writes the best weights."""
        write(self.path / "model.safetensors", pack(tensors, about))

    def load_model(self, which: Which = "best") -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The weights and what is known about them."""
        folder = self.path if which == "best" else self.path / "resume"
        return _or_the_other(self.path, which, lambda: unpack(folder / "model.safetensors"))

    def put_model(self, task: nn.Module, which: Which = "best") -> None:
        """Loads the weights into a task."""
        tensors, _ = self.load_model(which)
        try:
            task.load_state_dict(tensors)
        except RuntimeError:
            where = self.path / "resume" if which == "last" else self.path
            raise UserError(f"{where}/model.safetensors does not fit the model of config.json") from None

    def save_resume(self, training: "Training") -> None:
        """Replaces the resumable state."""
        replace_folder(
            self.path / "resume",
            {
                "config.json": seal(self.config),
                "model.safetensors": pack(training.model, {}),
                "optimizer.safetensors": pack(training.optimizer, {}),
                "state.safetensors": pack(training.state, {}),
                "training.json": seal({"progress": training.progress, "random": training.random}),
            },
        )

    def begun(self) -> bool:
        """Whether there is a resumable state. Without one, weights must not be there either: they would be lost."""
        begun = (self.path / "resume").is_dir()
        if not begun and (self.path / "model.safetensors").exists():
            raise UserError(f"{self.path} has no resume/: it cannot be gone on with, only sampled")
        return begun

    def load_resume(self) -> "Training":
        """The resumable state; whatever is missing or damaged is named."""
        folder = self.path / "resume"
        names = ("model", "optimizer", "state")

        def read() -> Training:
            model, optimizer, state = (unpack(folder / f"{name}.safetensors")[0] for name in names)
            rest = unseal(folder / "training.json")
            return Training(model, optimizer, state, rest["progress"], rest["random"])

        return _or_the_other(self.path, "last", read)

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends a line to log.jsonl."""
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise cannot_write(self.path / "log.jsonl", error) from error

    def trim_log(self, step: int) -> None:
        """Drops the lines after a step, which a training that goes on from there writes again."""
        path = self.path / "log.jsonl"
        if path.exists():
            lines = path.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            write(path, "".join(kept).encode())

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json."""
        write(self.path / "summary.json", json.dumps(summary, indent=1).encode())

    def summary(self) -> dict[str, Any]:
        """The final figures; empty while the run has not ended."""
        try:
            return json.loads((self.path / "summary.json").read_bytes())
        except (OSError, ValueError):
            return {}


@dataclass
class Training:
    """All that a run needs to go on as if it had not stopped."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Tensor]
    progress: dict[str, Any]
    random: dict[str, Any] = field(default_factory=dict)


def random_states() -> dict[str, Any]:
    """Every random state: Python's, NumPy's, torch's on the CPU and on each GPU."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - a user's own cell may draw from it
    return {
        "python": random.getstate(),
        "numpy": [kind, keys.tolist(), *rest],  # type: ignore[union-attr]
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": [state.numpy().tobytes().hex() for state in gpus],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Sets what `random_states` returned, also after a round through JSON."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    torch.set_rng_state(_bytes(states["torch"]))
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_bytes(state) for state in states["cuda"]])


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def pack(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """A safetensors file with a digest of its tensors."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    told = {"about": dict(about), "digest": _digest(plain, about)}
    # one entry: several have no order, and equal runs shall leave equal files
    return safetensors.torch.save(plain, {"elman": json.dumps(told)})


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `pack` gave; a file that is missing, cut short or altered is a UserError that names it."""
    if not path.exists():
        raise UserError(f"{path} is missing")
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            ours = json.loads((file.metadata() or {}).get("elman", "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if ours.get("digest") != _digest(tensors, ours.get("about", {})):
        raise UserError(f"{path} was altered: its digest does not fit its contents")
    return tensors, ours["about"]


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    digest = hashlib.blake2b(json.dumps(dict(about)).encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def newest() -> Path:
    """The run that was last written to."""
    runs = all_runs()
    if not runs:
        raise UserError("there is no run yet: elman train lm FILE makes one, elman demo makes one for you")
    return max(runs, key=lambda path: (path / "config.json").stat().st_mtime)


def all_runs() -> list[Path]:
    """The run folders in `runs/`."""
    return sorted(path.parent for path in RUNS.glob("*/config.json"))


def free_path(name: str) -> Path:
    """`runs/NAME`, with the next number behind it where that exists."""
    path, number = RUNS / name, 1
    while path.exists():
        number += 1
        path = RUNS / f"{name}-{number}"
    return path


def _no_run(path: Path) -> UserError:
    if path.exists():
        return UserError(f"{path} is not a run: a run is a folder with config.json")
    known = [str(run) for run in all_runs()]
    if str(RUNS / path) in known:
        return UserError(f"there is no run {path}: did you mean '{RUNS / path}'?")
    return unknown("run", str(path), known)


def _or_the_other(path: Path, which: Which, read: Any) -> Any:
    """What `read` gives; where it fails, the error also says that the run's other copy of the weights is whole."""
    try:
        return read()
    except UserError as error:
        other, folder = ("last", path / "resume") if which == "best" else ("best", path)
        try:
            unseal(folder / "config.json")
            unpack(folder / "model.safetensors")
        except UserError:
            raise error from None
        raise UserError(f"{error}; the {other} weights are whole: --weights {other}") from None
