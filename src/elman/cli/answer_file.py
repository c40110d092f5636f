"""The file of answers that `elman predict --out` writes."""

import csv
import io
import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from elman.data.table import Table
from elman.tasks.answer import Answer

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def encoded(rows: Table, answers: Sequence[Answer | None], suffix: str) -> bytes:
    """The columns of a table, then the values of the answers: those that are a number or a text; in JSON Lines all of
    them."""
    found = {name: value for answer in answers if answer is not None for name, value in answer.values.items()}
    names = [name for name, value in found.items() if suffix == ".jsonl" or isinstance(value, str | int | float)]
    header = [*rows.columns, *(_free(name, rows.columns) for name in names)]
    lines = [
        [*(_plain(values[row]) for values in rows.columns.values()),
         *(None if answer is None else answer.values.get(name) for name in names)]
        for row, answer in enumerate(answers)
    ]  # fmt: skip
    if suffix == ".jsonl":
        records = (json.dumps(dict(zip(header, line, strict=True)), ensure_ascii=False) for line in lines)
        return "".join(f"{record}\n" for record in records).encode("utf-8", "surrogateescape")
    text = io.StringIO()
    file = csv.writer(text, delimiter=SEPARATORS[suffix], lineterminator="\n")
    file.writerow(header)
    file.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _free(name: str, taken: Collection[str]) -> str:
    """The name of a column that does not exist yet."""
    while name in taken:
        name = f"predicted_{name}"
    return name


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray) else value if _is_json(value) else str(value)


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | list)


def _cell(value: Any) -> Any:
    """A value as a cell of a table: words with spaces between them, as a table is read; an array as JSON."""
    if not isinstance(value, list):
        return value
    return " ".join(value) if all(isinstance(each, str) for each in value) else json.dumps(value)
