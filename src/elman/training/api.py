"""Training from Python and from the command line: from a task's word and a text to a run folder."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from elman.cells.registry import CellSpec, resolve, stored
from elman.cells.stored_cell import StoredCell
from elman.errors import UserError
from elman.files import absolute
from elman.options import build, check, flag, restore
from elman.tasks.task import Data, Task, find
from elman.training import loop
from elman.training.device import find_device
from elman.training.model import Model
from elman.training.model import load as load
from elman.training.options import TrainOptions
from elman.training.reporter import Reporter
from elman.training.run import Run, free_path


def train(
    kind: str,
    paths: str | Path | Iterable[str | Path] = (),
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> Model:
    """Trains a model of a kind (`lm`) on texts, and returns it with its best weights.

        model = elman.train("lm", "shakespeare.txt", for_="60s", hidden=256)
        print(model.sample("ROMEO:", 200))

    `options` are those of `elman train KIND --help`, with `_` for `-` (and `for_`, since `for` is Python's). `out` is
    the run folder, a free one in `runs/` when not given; `resume` a run folder to go on with. Ctrl-C saves and raises
    Interrupted.
    """
    named = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    task = find(kind)
    ours = {field.name for field in fields(TrainOptions)}
    training = build(TrainOptions, {key: value for key, value in options.items() if key in ours})
    model = build(task.Options, {key: value for key, value in options.items() if key not in ours})
    check(model, training)
    if resume is not None and out is not None:
        raise UserError(f"--out {out} and --resume {resume} exclude each other: a run goes on where it is")
    if resume is not None:
        return go_on(task, named, options, Path(resume), reporter)
    return begin(task, named, model, training, Path(out) if out else None, reporter)


def begin(
    kind: type[Task], paths: list[str], model: Any, training: TrainOptions, out: Path | None, reporter: Reporter | None
) -> Model:
    """A new run."""
    if out is not None and out.exists():
        raise UserError(f"{out} exists: choose another --out, or go on with --resume {out}")
    unit, amount = training.span() or loop.DEFAULT_SPAN
    find_device(training.device)  # before anything is read or made
    model, data = kind.prepare(paths, model, amount if unit == "for" else None, seed=training.seed)
    cell = stored(model.cell)
    torch.manual_seed(training.seed)
    task = kind.new(model, data)
    for layer in task.layers():
        layer.choose()  # a backend that refuses does so before anything is made
    config = {
        "kind": kind.kind,
        "task": task.config(),
        "data": data.config | {"key": data.key, "paths": [absolute(path) for path in paths]},
        "options": asdict(model) | {"cell": cell.to_json()} | asdict(training),
    }
    run = Run.create(out or free_path(f"{kind.kind}-{_word(paths[0])}"), config)
    return _run(task, data, training, run, reporter, resolve(cell, model.cell))


def _word(path: str) -> str:
    """What a run on this is called by."""
    return re.sub(r"[^\w.-]+", "-", Path(path).stem.strip(".")) or "data"


def go_on(kind: type[Task], paths: list[str], given: Mapping[str, Any], path: Path, reporter: Reporter | None) -> Model:
    """The run in a folder, trained on. What `given` says anew must not change what the run is."""
    run = Run.open(path)
    if run.config["kind"] != kind.kind:
        raise UserError(f"{path} is a run of '{run.config['kind']}', not of '{kind.kind}'")
    options, training = (restore(each, run.config["options"]) for each in (kind.Options, TrainOptions))
    cell = StoredCell.from_json(run.config["options"].get("cell"))
    begun_with = asdict(options) | {"seed": training.seed, "cell": cell}
    again = dict(given) | ({"cell": stored(given["cell"])} if "cell" in given else {})
    for name, value in begun_with.items():
        if name in again and again[name] != value:
            raise UserError(f"{flag(name)} {given[name]} differs from {value}, with which {path} was begun: "
                            "a run goes on as it was made; leave it out, or begin a new run")  # fmt: skip
    names = [field.name for field in fields(TrainOptions)]
    # what is left of the old span is in resume/; a run that was killed before it had one begins again
    begun = run.begun()
    span = dict.fromkeys(("for_", "epochs", "steps") if begun else ())
    training = replace(training, **(span | {name: given[name] for name in given if name in names}))
    data = _same_data(kind, paths, options, run, training.seed)
    torch.manual_seed(training.seed)
    task = kind.restored(run.config["task"], given.get("cell"))
    return _run(task, data, training, run, reporter, resolve(cell, given.get("cell")))


def _same_data(kind: type[Task], paths: list[str], options: Any, run: Run, seed: int) -> Data:
    """The text of the run again, or the same given once more, read as it was then."""
    key = run.config["data"]["key"]
    named = paths or run.config["data"]["paths"]
    _, data = kind.prepare(named, options, key=None if paths else key, seed=seed)
    if data.key != key:
        what = f"{', '.join(named)} is not the text that {run.path} was trained on"
        raise UserError(f"{what}: a run goes on with the same; for another text begin a new run")
    began = run.config["data"]  # of an older run it may hold less
    other = [name for name, value in json.loads(json.dumps(data.config)).items() if began.get(name, value) != value]
    if other:
        raise UserError(f"{', '.join(named)} no longer gives the {' and '.join(other)} that {run.path} was begun with: "
                        "a run goes on with the same; begin a new run")  # fmt: skip
    return replace(data, notes=[])


def _run(task: Task, data: Data, training: TrainOptions, run: Run, reporter: Reporter | None, cell: CellSpec) -> Model:
    if reporter is not None:
        for note in data.notes:
            reporter.tell(note)
        parameters = sum(weight.numel() for weight in task.parameters())
        reporter.tell(f"{task.kind} {task.describe()}, {parameters:,} parameters; {data.train}; run {run.path}")
    loop.train(task, data, training, run, reporter)
    return Model(task.eval(), run.config, run.path, cell)
