"""Training, from Python and from the command line: a kind of task and data give a run folder."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from elman.cells.registry import stored
from elman.errors import UserError
from elman.files import absolute
from elman.options import build, check
from elman.schema import to_json
from elman.tasks.model import Model
from elman.tasks.task import Dataset, Task, find
from elman.training import loop
from elman.training.device import find_device
from elman.training.options import TrainOptions
from elman.training.reporter import Reporter
from elman.training.run import Run, RunConfig, free_path
from elman.training.trained_model import TrainedModel, read_spec
from elman.training.trained_model import load as load


def train(
    kind: str | type[Task] | Task,
    paths: str | Path | Iterable[str | Path] = (),
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> TrainedModel:
    """Trains a model of a kind of task (`lm`, or a `Task` of your own) on data, and returns it with its best weights.

        model = elman.train("lm", "shakespeare.txt", for_="60s", hidden=256)
        print(model.sample("ROMEO:", 200))

    `options` are those of `elman train KIND --help`, with `_` for `-` (and `for_`, since `for` is Python's). `out` is
    the run folder, a free one in `runs/` when not given; `resume` a run folder to resume. Ctrl-C saves and raises
    Interrupted.
    """
    named = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    task = find(kind)
    ours = {field.name for field in fields(TrainOptions)}
    for clash in sorted(ours & {field.name for field in fields(task.Options)}):
        raise UserError(f"the task '{task.kind}' has an option `{clash}`, which is one of training: rename it")
    training = build(TrainOptions, {key: value for key, value in options.items() if key in ours})
    model = build(task.Options, {key: value for key, value in options.items() if key not in ours})
    check(model, training, given=options)
    if resume is not None and out is not None:
        raise UserError(f"`out` {out} and `resume` {resume} exclude each other: a run is resumed where it is")
    if resume is not None:
        return resume_run(task, named, options, Path(resume), reporter)
    return begin(task, named, model, training, Path(out) if out else None, reporter)


def begin(
    task: Task, paths: list[str], options: Any, training: TrainOptions, out: Path | None, reporter: Reporter | None
) -> TrainedModel:
    """A new run."""
    if out is not None and out.exists():
        raise UserError(f"{out} exists: choose another `out`, or resume it with `resume` {out}")
    find_device(training.device)  # before anything is read or made
    data = task.prepare(paths, options, _budget(training), training.seed)
    torch.manual_seed(training.seed)
    model = _new_model(task, data.spec, data)
    for layer in model.layers():
        layer.choose()  # a backend that refuses does so before a folder is made
    config = RunConfig(
        kind=task.kind,
        spec=to_json(data.spec),
        paths=[absolute(path) for path in data.paths],
        key=data.key,
        training=to_json(training),
    )
    run = Run.create(out or free_path(f"{task.kind}-{_name(paths)}"), config)
    return _run(TrainedModel(task, model, run), data, training, reporter)


def _new_model(task: Task, spec: Any, data: Dataset) -> Model:
    """A model before its first update."""
    model = task.build(spec)
    model.load_pretrained()
    model.initialize(data.train)
    return model


def _budget(training: TrainOptions) -> float | None:
    """The seconds that training takes, None where it is not bounded by time."""
    unit, amount = training.span() or loop.DEFAULT_SPAN
    return amount if unit == "for" else None


def _name(paths: list[str]) -> str:
    """The name of a run on this data."""
    return re.sub(r"[^\w.-]+", "-", Path(paths[0]).stem.strip(".") if paths else "") or "data"


def resume_run(
    task: Task, paths: list[str], given: Mapping[str, Any], path: Path, reporter: Reporter | None
) -> TrainedModel:
    """Resumes the run in a folder. Options that are `given` must not contradict those of the run."""
    run = Run.open(path)
    if run.config.kind != task.kind:
        raise UserError(f"{path} is a run of '{run.config.kind}', not of '{task.kind}'")
    named = {name: stored(value) if name == "cell" else value for name, value in given.items()}
    spec = read_spec(task, run, given.get("cell"))
    training = run.training(TrainOptions)
    options = {each.name: getattr(spec.options, each.name) for each in fields(spec.options)}
    for name, value in (options | {"seed": training.seed}).items():
        if name in named and named[name] != value:
            ours = "the default" if value is None else value
            raise UserError(f"`{name}` {given[name]} differs from {ours}, with which {path} was trained so far: "
                            "leave it out, or begin a new run")  # fmt: skip
    # the rest of the old span is in resume/; a run that was killed before it had one starts again
    span = dict.fromkeys(("for_", "epochs", "steps") if run.begun() else ())
    names = [field.name for field in fields(TrainOptions)]
    training = replace(training, **(span | {name: given[name] for name in given if name in names}))
    data = _same_data(task, paths, spec, run, training.seed)
    torch.manual_seed(training.seed)
    model = run.build(lambda: task.build(spec), "last") if run.begun() else _new_model(task, spec, data)
    return _run(TrainedModel(task, model, run), data, training, reporter)


def _same_data(task: Task, paths: list[str], spec: Any, run: Run, seed: int) -> Dataset:
    """The data of the run, read again with its options; `paths` where it has moved."""
    named = paths or run.data_paths("PATH")
    data = task.prepare(named, spec.options, _budget(run.training(TrainOptions)), seed)
    where = ", ".join(named)
    if data.key != run.config.key:
        what = f"{where} is not the data that {run.path} was trained on"
        raise UserError(f"{what}: a run is resumed with the same; for other data begin a new run")
    ours, theirs = (to_json(replace(each, options=None)) for each in (data.spec, spec))
    for name in theirs:
        if ours[name] != theirs[name]:  # another version of a library may find other tokens
            raise UserError(f"{where} now gives another {name} than {run.path} was trained with: begin a new run")
    return replace(data, spec=spec, notes=[])


def _run(trained: TrainedModel, data: Dataset, training: TrainOptions, reporter: Reporter | None) -> TrainedModel:
    task, model, run = trained.task, trained.model, trained.run
    if reporter is not None:
        for note in data.notes:
            reporter.log(note)
        parameters = sum(weight.numel() for weight in model.parameters())
        reporter.log(f"{task.kind} {model.describe()}, {parameters:,} parameters; {data.train}; run {run.path}")
    loop.train(task, model, data, training, run, reporter)
    model.eval()
    return trained
