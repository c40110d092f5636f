"""The splits of a table: training, validation and test."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.content import ARCHIVE, similar
from elman.data.hub import PREFIX as HUB
from elman.data.split_names import SPLIT, SPLITS
from elman.data.table import Table, complete, deduplicated
from elman.data.table_reader import TableOptions, read
from elman.errors import UserError, unknown
from elman.files import STANDARD_INPUT

HELD_OUT = ("valid", "test")


def split(table: Table, by: str, options: TableOptions, wanted: Sequence[str] = ()) -> dict[str, Table]:
    """The splits train, valid and test; valid and test may be empty.

    A column or a file may define a split. Any other is a fraction of the remaining rows, chosen by the hash of their
    value in column `by`: it does not depend on their order, and equal values are in one split. `wanted` are the columns
    that a file must have without a missing value. Notes are on the training split, after those of the table.
    """
    notes, given = list[str](), {name: _given(name, getattr(options, name)) for name in HELD_OUT}
    rest, found = _by_column(table, options, given, notes)
    files = {n: _read(path, table, [by, *wanted], options) for n, path in given.items() if isinstance(path, str)}
    for name, part in files.items():
        notes += part.notes
        found[name] = replace(part, notes=[])
    fractions = {n: share for n, share in given.items() if not isinstance(share, str) and n not in found}
    found |= _by_hash(rest, by, fractions)
    if not len(found["train"]):
        sizes = ", ".join(f"{name} {len(found[name]):,}" for name in HELD_OUT)
        raise UserError(
            f"none of the {len(table):,} rows of {table.name} is left to train on ({sizes}): give more rows"
        )
    notes += _overlaps(found, by, [name for name in HELD_OUT if name not in fractions])
    return {"train": found["train"].noted(*notes), **{name: found[name] for name in HELD_OUT}}


def _given(name: str, text: str) -> float | str:
    """A fraction, or the name of a file."""
    try:
        fraction = float(text)
    except ValueError:
        return _existing(name, text)
    if not 0 <= fraction < 1:
        raise UserError(f"`{name}` {text} must be from 0 up to, not including, 1, or a file")
    return fraction


def _existing(name: str, text: str) -> str:
    if text.startswith(HUB) or text == STANDARD_INPUT or ARCHIVE in text:
        return text
    try:
        if text and Path(text).exists():
            return text
        hint = similar(Path(text)) if text else ""
    except OSError:  # a name that is too long, for example
        hint = ""
    raise UserError(f"`{name}` {text[:80]} is neither a fraction such as 0.1 nor a file{hint}")


def _by_column(
    table: Table, options: TableOptions, given: dict[str, float | str], notes: list[str]
) -> tuple[Table, dict[str, Table]]:
    """The rows for training and for splits that the column does not name, and the splits that it names."""
    column = options.split or _split_column(table)
    if column is None:
        return table, {}
    rows: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for row, word in enumerate(table.column(column)):
        name = SPLITS.get(str(word or "").strip().lower())
        if name is None:
            raise unknown(f"split in column {column} of {table.where(row)}", str(word or ""), SPLITS)
        rows[name].append(row)
    for name in HELD_OUT:
        if rows[name] and isinstance(given[name], str):
            raise UserError(
                f"`{name}` {given[name]}: column {column} of {table.name} already has the rows of {name}; "
                "pass only one of the two"
            )
    counts = ", ".join(f"{name} {len(own):,}" for name, own in rows.items())
    notes.append(f"{table.name}: split by column {column} ({counts})")
    named = {name: replace(table.take(own), notes=[]) for name, own in rows.items() if own and name != "train"}
    return table.take(rows["train"]), named


def _split_column(table: Table) -> str | None:
    """The column with the default name, if it has at least one name of a split."""
    words = (str(word).strip().lower() for word in table.columns.get(SPLIT, []))
    return SPLIT if any(word in SPLITS for word in words) else None


def _read(path: str, table: Table, columns: list[str], options: TableOptions) -> Table:
    part = read([path], options, like=table)
    columns = list(dict.fromkeys(columns))
    part = complete(part, columns, options.skip_bad)
    return deduplicated(part, columns) if options.deduplicate else part


def _by_hash(table: Table, by: str, fractions: dict[str, Any]) -> dict[str, Table]:
    """Splits of the table with these fractions; the rest is train."""
    if sum(fractions.values()) >= 1:
        text = " and ".join(f"`{name}` {share:g}" for name, share in fractions.items())
        raise UserError(f"{text} leave nothing to train on: together they must be below 1")
    test = fractions.get("test", 0.0)
    held_out = test + fractions.get("valid", 0.0)
    hashes = [_hash(value) for value in table.column(by)]
    rows = {
        "train": [row for row, value in enumerate(hashes) if value >= held_out],
        "valid": [row for row, value in enumerate(hashes) if test <= value < held_out],
        "test": [row for row, value in enumerate(hashes) if value < test],
    }
    found = {name: table.take(own) for name, own in rows.items() if name == "train" or name in fractions}
    return {name: part if name == "train" else replace(part, notes=[]) for name, part in found.items()}


def _hash(value: Any) -> float:
    """A number in [0, 1) that depends on the value alone."""
    digest = hashlib.blake2b(_bytes(value), digest_size=6).digest()  # 48 bits: exact in a float
    return int.from_bytes(digest, "big") / 2**48


def _bytes(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    text = "\n".join(value) if isinstance(value, list) else str(value or "")
    return text.encode("utf-8", "surrogatepass")


def _overlaps(found: dict[str, Table], by: str, named: list[str]) -> list[str]:
    """Notes on splits that the user gave and whose inputs are in the training split as well."""
    trained = {_bytes(value) for value in found["train"].column(by)} if named else set()
    counts = Counter({name: sum(_bytes(v) in trained for v in found[name].column(by)) for name in named})
    return [
        f"{found[name].name}: {count:,} of {len(found[name]):,} rows of the {name} split are also in the training split"
        for name, count in counts.items()
        if count
    ]
