"""Rows of cells: comma separated values, tab separated values, and plain lines with tabs."""

import csv
import io
from collections import Counter
from collections.abc import Iterator

from elman.data.content import Content
from elman.data.formats.format import Format, RawTable, ReadContext, file_row, register
from elman.errors import UserError

MAX_CELL = 2**31 - 1  # characters
Record = tuple[int, list[str] | str]  # the number of a row, and its cells or its problem


def _read_csv(content: Content, context: ReadContext) -> RawTable:
    text = content.text(context.encoding)
    head = text.split("\n", 1)[0]
    delimiter = next((mark for mark in ",;\t" if mark in head), ",")
    return _rows(content, context, list(_records(text, delimiter)), header=True)


def _read_tsv(content: Content, context: ReadContext) -> RawTable:
    text = content.text(context.encoding)
    records = list(_records(text, "\t"))
    if len({isinstance(cells, str) or len(cells) for _, cells in records if cells}) > 1:
        # many such files are written without quoting: quotes are then part of the text
        plain = list(_records(text, "\t", quoted=False))
        if len({len(cells) for _, cells in plain if cells}) == 1:
            records = plain
            context.notes.append(f"{content.name}: quotes are not balanced, and are read as part of the text")
    return _rows(content, context, records, header=True)


def _read_pairs(content: Content, context: ReadContext) -> RawTable:
    lines = context.lines(content)
    return _rows(content, context, [(number, line.split("\t")) for number, line in lines], header=False)


def _records(text: str, delimiter: str, quoted: bool = True) -> Iterator[Record]:
    """The rows in their order; a blank line is one without cells. Numbers are lines where no cell has a line end."""
    csv.field_size_limit(MAX_CELL)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    number = 0
    while True:
        number += 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"is malformed: {error}"


def _rows(content: Content, context: ReadContext, records: list[Record], header: bool) -> RawTable:
    full = [(number, cells) for number, cells in records if cells]
    last = full[-1][0] if full else 0
    context.note_blank(content, sum(number < last and not cells for number, cells in records))
    if not full:
        raise UserError(f"{content.name} has no rows")
    names = _names(content, context, full, header)
    kept, numbers = list[list[str]](), list[int]()
    for number, cells in full:
        if isinstance(cells, str):
            context.bad(file_row(content, number), cells)
        elif len(cells) != len(names):
            context.bad(file_row(content, number), f"has {len(cells)} cells, not {len(names)}")
        else:
            kept.append(cells)
            numbers.append(number)
    return RawTable({name: [cells[index] for cells in kept] for index, name in enumerate(names)}, numbers)


def _names(content: Content, context: ReadContext, full: list[Record], header: bool) -> list[str]:
    """The names of the columns; removes the row that has them. A column without a name is named by its number."""
    number, first = full[0]
    if isinstance(first, str):
        raise UserError(f"{file_row(content, number)} {first}")
    if not (header if context.header is None else context.header):
        return [str(index + 1) for index in range(len(first))]
    names = [name.strip() or str(index) for index, name in enumerate(first, 1)]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{content.name}: the header has {count} columns named '{name}'; `no_header` reads it as a row")
    del full[0]
    context.notes.append(f"{content.name}: the first row names the columns {', '.join(names)}")
    return names


def _are_csv(lines: list[str]) -> bool:
    records = [cells for _, cells in _records("\n".join(lines), ",") if cells]
    widths = {0 if isinstance(cells, str) else len(cells) for cells in records}
    return len(records) > 1 and len(widths) == 1 and widths.pop() > 1


def _are_pairs(lines: list[str]) -> bool:
    counts = {line.count("\t") for line in lines if line.strip()}
    return len(counts) == 1 and counts.pop() > 0


CSV = register(
    Format("csv", "comma separated values", _read_csv, (".csv",), matches=_are_csv, header=True, priority=60)
)
TSV = register(Format("tsv", "tab separated values", _read_tsv, (".tsv",), header=True, priority=61))
PAIRS = register(
    Format("pairs", "lines with tabs between their columns", _read_pairs, matches=_are_pairs, header=True, priority=40)
)
