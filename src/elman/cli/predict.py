"""`elman predict`: what a trained model says of a text, of a file's rows, of standard input."""

import csv
import io
import json
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from elman.cli.log import log
from elman.data import table, table_reader
from elman.data.content import content, encoding_name
from elman.data.table import Table
from elman.data.table_reader import TableOptions
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.errors import UserError
from elman.files import STANDARD_INPUT, write
from elman.options import CountInt, check, restore
from elman.tasks.task import Answer
from elman.training.run import Which
from elman.training.trained_model import Model, load

SEPARATORS = {".csv": ",", ".tsv": "\t"}


@Parameter(name="*")
@dataclass(frozen=True)
class Asking:
    """What is asked, and how it is answered."""

    file: str | None = None
    """A table whose rows are answered, in their order."""
    column: str | None = None
    """The column of the file that is read; the one trained on when not given."""
    images: str | None = None
    """The folder or zip of the pictures that the file names; found beside the file when not given."""
    encoding: str = "utf-8"
    """How the bytes of the file, or of standard input, are characters."""
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
    """A .csv, .tsv or .jsonl to write: the columns of the file, and the answers."""
    picture: Path | None = None
    """The .png to write of where was looked in a photo; beside you, under the photo's name, when not given."""
    silent: Annotated[bool, Parameter(name="--no-picture", negative=())] = False
    """Write no such picture."""
    json: bool = False
    """Print everything that is known of an answer, as a line of JSON each."""
    skip_bad: bool = False
    """Leave rows of the file that cannot be read out, and those without a value unanswered, and count both, instead of
    stopping."""
    sample: bool = False
    """Draw the answers of a translator instead of searching for the likeliest."""
    seed: CountInt = 0
    """Of what is drawn."""
    weights: Which = "best"
    """The best on the validation part, or the last."""
    device: str = "cpu"
    """Where to compute."""


def predict_(
    run: Path, /, *inputs: str, asking: Asking = Asking(), search: Search = Search(), sampling: Sampling = Sampling()
) -> None:
    """What a trained model says: the class, the tags, the translation, one line for each input.

    Parameters
    ----------
    run
        The run folder.
    inputs
        What it is asked about; the lines of standard input when neither these nor --file are given.
    """
    check(asking, search, sampling)
    if asking.file is not None and inputs:
        raise UserError(f"--file {asking.file} and '{inputs[0]}' exclude each other")
    if asking.out is not None and asking.file is None:
        raise UserError(f"--out {asking.out} goes with --file: it has the file's rows, and the answers")
    if asking.images is not None and asking.file is None:
        raise UserError(f"--images {asking.images} goes with --file, whose pictures it has")
    if asking.picture is not None and asking.picture.suffix != ".png":
        raise UserError(f"--picture {asking.picture} must end in .png")
    if asking.picture is not None and (asking.silent or asking.file is not None):
        other = "--no-picture" if asking.silent else f"--file {asking.file}"
        raise UserError(f"--picture {asking.picture} and {other} exclude each other")
    if asking.out is not None and asking.out.suffix not in (*SEPARATORS, ".jsonl"):
        raise UserError(f"--out {asking.out} must end in .csv, .tsv or .jsonl")
    model = load(run, asking.device, asking.weights)
    if not model.task.asks:
        model.predict([])  # says why it answers nothing
    rows = _lines(model, list(inputs), asking.encoding) if asking.file is None else _file(model, asking.file, asking)
    asked = rows if asking.file is None else rows.renamed(_columns(model, rows, asking.column))
    kept = table.complete(asked, model.task.asks, asking.skip_bad)
    log(*kept.notes)
    said = model.predict(kept, log, search=search, sampling=sampling, drawn=asking.sample, seed=asking.seed)
    answers = dict(zip(map(kept.where, range(len(kept))), said, strict=True))  # several files count rows from 1
    found = [answers.get(rows.where(row)) for row in range(len(rows))]
    if asking.out is not None:
        write(asking.out, _written(rows, found, asking.out.suffix).encode("utf-8", "surrogateescape"))
        print(f"written: {asking.out}, {len(rows):,} rows")
        return
    line = model.task.told if inputs and len(found) == 1 else model.task.line
    for answer in found:
        print(json.dumps(answer, ensure_ascii=False) if asking.json else line(answer) if answer else "")
    if inputs and not asking.silent and (model.task.sees or asking.picture is not None):
        _draw(model, kept, said, asking.picture)


def _lines(model: Model, inputs: list[str], encoding: str) -> Table:
    """What was typed, or stands in standard input, one a line, as the columns that the task asks for."""
    if not inputs:
        if sys.stdin is None or sys.stdin.isatty():
            wanted = " ".join(f"'{name.upper()}'" for name in model.task.asks)
            raise UserError(
                f"what shall be answered? elman predict {model.path} {wanted}, or --file, or lines piped in"
            )
        inputs = content(STANDARD_INPUT).lines(encoding_name(encoding))
    names = model.task.asks
    if len(inputs) % len(names):
        raise UserError(f"a {model.task.kind} model is asked with {' and '.join(names)}, not {len(inputs)} words")
    columns = {name: inputs[number :: len(names)] for number, name in enumerate(names)}
    return Table("the input", columns, list(range(1, len(inputs) // len(names) + 1)))


def _draw(model: Model, rows: Table, answers: list[Answer], wanted: Path | None) -> None:
    """Writes where was looked in each picture, under a name that is free: the one that is wanted, or the picture's."""
    from elman.inspect import painting  # they take a second to import, and are not always needed
    from elman.inspect.look import strips

    found = strips(model, rows, answers)
    if isinstance(found, str):
        if wanted is not None:
            log(f"{wanted} is not written. {found}")
        return
    if wanted is not None and len(found) > 1:
        raise UserError(f"--picture {wanted} is one file: ask about one picture at a time, or leave it out")
    for strip in found:
        name = Path(strip.picture.name).stem.partition(":")[0]  # of a scene this alone is a name
        path = _unused(wanted or Path(f"{name}-attention.png"))
        painting.log_uncovered(strip.heading, log)
        try:
            write(path, strip.png())
            log(f"written: {path}")
        except UserError as error:
            if wanted is not None:
                raise
            log(f"no picture of where was looked: {error}")


def _unused(path: Path) -> Path:
    """The path, with a number where a file of that name is there already."""
    tried, number = path, 2
    while tried.exists():
        tried, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return tried


def _file(model: Model, name: str, asking: Asking) -> Table:
    """The rows of a file, read as those of the run were."""
    trained = restore(TableOptions, model.config["options"])
    how = replace(trained, format="auto", encoding=asking.encoding, skip_bad=asking.skip_bad, images=asking.images)
    rows = table_reader.read([name], how)
    log(*rows.notes)
    return replace(rows, notes=[])


def _columns(model: Model, rows: Table, named: str | None) -> dict[str, str]:
    """The columns of a file that the task asks for, and the roles they play: those that the run was trained on, or its
    only one."""
    if named is not None and len(model.task.asks) > 1:
        asked = " and ".join(model.task.asks)
        raise UserError(f"--column {named}: a {model.task.kind} model reads several, those of {asked} as in training")
    if named is None and len(rows.columns) == len(model.task.asks) == 1:
        named = next(iter(rows.columns))
    trained = model.config["data"]["columns"]
    return {named or trained[role]: role for role in model.task.asks}


def _written(rows: Table, answers: list[Answer | None], suffix: str) -> str:
    """The columns of the file, then the answers' single figures and texts; in JSON all of them."""
    figures = [(name, value) for answer in answers if answer for name, value in answer.items()]
    names = [
        name for name, value in dict(figures).items() if suffix == ".jsonl" or isinstance(value, str | int | float)
    ]
    header = [*rows.columns, *(_free(name, rows.columns) for name in names)]
    lines = [
        [*(_plain(values[row]) for values in rows.columns.values()), *((answer or {}).get(name) for name in names)]
        for row, answer in enumerate(answers)
    ]
    if suffix == ".jsonl":
        return "".join(json.dumps(dict(zip(header, line, strict=True)), ensure_ascii=False) + "\n" for line in lines)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=SEPARATORS[suffix], lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue()


def _free(name: str, taken: Collection[str]) -> str:
    """The name of a column that there is not yet."""
    while name in taken:
        name = f"predicted_{name}"
    return name


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _cell(value: Any) -> Any:
    """A value of JSON as a cell: words with spaces between them, as a table is read; an array as JSON."""
    if not isinstance(value, list):
        return value
    return " ".join(value) if all(isinstance(each, str) for each in value) else json.dumps(value)
