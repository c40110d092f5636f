"""What a command prints to standard output."""

import json
import sys
from typing import Any

from rich.table import Table
from rich.text import Text

from elman.printable import UNPRINTABLE, one_line, printable


def for_terminal(text: str) -> str:
    """Text without control characters, where standard output is a terminal; a file or a pipe gets it unchanged."""
    return printable(text) if sys.stdout.isatty() else text


def for_line(text: str) -> str:
    """Text in one line, tabs kept, without control characters."""
    return printable(" ".join(text.split("\n")))


def as_json(value: Any) -> str:
    """JSON in one line, with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def metric(name: str, value: Any) -> str:
    """A name and its value in a few characters; "" for what is not a single value. `correct` is a fraction."""
    if isinstance(value, bool) or not isinstance(value, float | int | str):
        return ""
    if name == "correct":
        return f"{name} {value:.1%}" if isinstance(value, float) else f"{name} {value}"
    return for_line(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")


def add_row(table: Table, *values: str) -> None:
    """Adds a row of plain text to a table: without markup or control characters."""
    table.add_row(*(Text(one_line(value)) for value in values))
