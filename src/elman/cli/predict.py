"""`elman predict`: the answers of a trained model to what is typed, to the rows of a file, to standard input."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from elman.cli.answer_file import SEPARATORS, encoded
from elman.cli.log import log
from elman.cli.output import as_json, for_line
from elman.cli.parameters import command
from elman.data import table, table_reader
from elman.data.content import content, encoding_name
from elman.data.table import Table
from elman.data.table_reader import TableOptions
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.errors import UserError
from elman.files import STANDARD_INPUT, unused, write
from elman.options import CountInt, OnlyWith, changed, check
from elman.printable import printable
from elman.tasks.answer import Answer
from elman.tasks.capabilities import Predicts
from elman.tasks.tables import TableSpec
from elman.training.run import Which
from elman.training.trained_model import TrainedModel, load


@dataclass(frozen=True)
class PredictOptions:
    """What is answered, and how."""

    file: str | None = None
    """A table whose rows are answered, in their order."""
    column: Annotated[str | None, OnlyWith("file")] = None
    """The column of the file that is the input; the one trained on when not given."""
    images: Annotated[str | None, OnlyWith("file")] = None
    """The folder or zip of the images that the file names; found beside the file when not given."""
    encoding: str = "utf-8"
    """Character encoding of the file, or of standard input."""
    out: Annotated[Path | None, OnlyWith("file"), Parameter(name=["--out", "-o"])] = None
    """A .csv, .tsv or .jsonl to write: the columns of the file, and the answers."""
    image: Path | None = None
    """The .png to write of what was attended to in an image, beside it a .gif of glimpses; NAME-attention.png or
    NAME-glimpses.png in this folder when not given."""
    no_image: bool = False
    """Write no such image."""
    json: bool = False
    """Print all values of an answer, one line of JSON each."""
    skip_bad: Annotated[bool, OnlyWith("file")] = False
    """Skip rows of the file that cannot be read, leave those without a value unanswered, and count both, instead of
    stopping."""
    sample: bool = False
    """Sample the answers of a model that decodes, instead of searching for the most probable."""
    seed: Annotated[CountInt, OnlyWith("sample")] = 0
    """Random seed of the samples."""
    cell: str | None = None
    """FILE.py:NAME of a cell that could not be traced into an equation."""
    weights: Which = "best"
    """The best weights on the validation split, or the last."""
    device: str = "cpu"
    """Device to compute on."""


@command
def predict_(
    run: Path,
    /,
    *inputs: str,
    options: PredictOptions = PredictOptions(),
    search: Search = Search(),
    sampling: Sampling = Sampling(),
) -> None:
    """Predict with a trained model: the class, the tags, the translation, the caption; one line for each input.

    Parameters
    ----------
    run
        The run folder.
    inputs
        What is answered; the lines of standard input when neither these nor --file are given.
    """
    check(options, search, sampling)
    _check_files(options, inputs)
    model = load(run, options.device, options.weights, options.cell)
    task = _predicting(model)
    decoding = _decoding(task, model, options, search, sampling)
    if options.file is None:
        rows = given = _lines(task, model, list(inputs), options.encoding)
    else:
        rows = _file(model, options.file, options)
        given = rows.renamed(_columns(task, model, rows, options.column))
    kept = table.complete(given, task.inputs, options.skip_bad)
    log(*kept.notes)
    answers: Iterator[Answer | None] = model.predict(kept, log, **decoding)
    if not task.streams:
        answers = _joined(rows, kept, answers)
    if options.out is not None:
        found = list(answers)
        if task.streams:
            numbers = {rows.where(row): row for row in range(len(rows))}
            rows = rows.take([numbers[kept.where(answer.row)] for answer in found if answer is not None])
        write(options.out, encoded(rows, found, options.out.suffix))
        print(f"{options.out}: {len(rows):,} rows")
        return
    found = list[Answer | None]()
    for answer in answers:
        alone = bool(inputs) and len(rows) == 1 and not task.streams
        print(_printed(task, answer, options.json, alone), flush=task.streams)
        found += [answer] if inputs and not task.streams else []
    if inputs and not options.no_image:
        _draw([answer for answer in found if answer is not None], options.image)


def _check_files(options: PredictOptions, inputs: tuple[str, ...]) -> None:
    if options.file is not None and inputs:
        raise UserError(f"`file` {options.file} and '{inputs[0]}' exclude each other")
    if options.image is not None and options.image.suffix != ".png":
        raise UserError(f"`image` {options.image} must end in .png")
    if options.image is not None and (options.no_image or options.file is not None):
        other = "`no_image`" if options.no_image else f"`file` {options.file}"
        raise UserError(f"`image` {options.image} and {other} exclude each other")
    if options.out is not None and options.out.suffix not in (*SEPARATORS, ".jsonl"):
        raise UserError(f"`out` {options.out} must end in .csv, .tsv or .jsonl")


def _predicting(model: TrainedModel) -> Predicts:
    if not isinstance(model.task, Predicts):
        raise UserError(f"a {model.task.kind} model answers nothing: elman sample {model.path}")
    return model.task


def _decoding(
    task: Predicts, model: TrainedModel, options: PredictOptions, search: Search, sampling: Sampling
) -> dict[str, Any]:
    """How answers are decoded, for a task that decodes; for any other an option of decoding is an error."""
    if task.decodes:
        return {"search": search, "sampling": sampling, "drawn": options.sample, "seed": options.seed}
    given = changed(search, sampling) + ["sample"] * options.sample
    if given:
        names = ", ".join(f"`{name}`" for name in given)
        raise UserError(f"{names} has no effect: a {model.task.kind} model does not decode token by token")
    return {}


def _joined(rows: Table, kept: Table, answers: Iterator[Answer]) -> Iterator[Answer | None]:
    """The answer to each row as it comes, None for one that was not kept."""
    answered = set(map(kept.where, range(len(kept))))  # of several files each counts its rows from 1
    for row in range(len(rows)):
        yield next(answers) if rows.where(row) in answered else None


def _printed(task: Predicts, answer: Answer | None, json: bool, alone: bool) -> str:
    if answer is None:
        return ""
    if json:
        return as_json(answer.values)
    return printable(task.text(answer)) if alone else for_line(task.line(answer))


def _lines(task: Predicts, model: TrainedModel, inputs: list[str], encoding: str) -> Table:
    """What was typed, or the lines of standard input, as the columns of the inputs."""
    names = task.inputs
    if not inputs:
        if sys.stdin is None or sys.stdin.isatty():
            wanted = " ".join(f"'{name.upper()}'" for name in names)
            raise UserError(f"there is no input: elman predict {model.path} {wanted}, or `file`, or lines piped in")
        inputs = content(STANDARD_INPUT).lines(encoding_name(encoding))
    if len(inputs) % len(names):
        raise UserError(f"a {model.task.kind} model takes {' and '.join(names)}, not {len(inputs)} words")
    columns = {name: inputs[number :: len(names)] for number, name in enumerate(names)}
    return Table("the input", columns, list(range(1, len(inputs) // len(names) + 1)))


def _file(model: TrainedModel, name: str, options: PredictOptions) -> Table:
    """The rows of a file, read as those of the training data were."""
    trained = model.spec.options if isinstance(model.spec.options, TableOptions) else TableOptions()
    reading = replace(
        trained, format="auto", encoding=options.encoding, skip_bad=options.skip_bad, images=options.images
    )
    rows = table_reader.read([name], reading)
    log(*rows.notes)
    return replace(rows, notes=[])


def _columns(task: Predicts, model: TrainedModel, rows: Table, named: str | None) -> dict[str, str]:
    """The inputs by column of a file: those that the model was trained on, or its only one."""
    if named is not None and len(task.inputs) > 1:
        inputs = " and ".join(task.inputs)
        raise UserError(f"`column` {named}: a {model.task.kind} model reads several, those of {inputs} as in training")
    if named is None and len(rows.columns) == len(task.inputs) == 1:
        named = next(iter(rows.columns))
    trained = model.spec.columns if isinstance(model.spec, TableSpec) else {}
    return {named or trained.get(role, role): role for role in task.inputs}


def _draw(answers: Sequence[Answer], wanted: Path | None) -> None:
    """Writes the drawing of each answer to files: those that are named, or some in this folder that are free."""
    from elman.inspect import painting  # slow to import
    from elman.inspect.drawing import drawings

    found = drawings(answers)
    if wanted is not None and not found:
        log(f"{wanted} is not written: the answer has no attention over an image")
    if wanted is not None and len(found) > 1:
        raise UserError(f"`image` {wanted} is one file: give one image at a time, or leave it out")
    for drawing in found:
        path = unused(wanted or Path(f"{drawing.name}.png"), drawing.files)
        painting.log_uncovered(drawing.title, log)
        try:
            for suffix, make in drawing.files.items():
                write(path.with_suffix(suffix), make())
                log(f"{drawing.what}: {path.with_suffix(suffix)}")
        except UserError as error:
            if wanted is not None:
                raise
            log(f"no image of the {drawing.what}: {error}")
