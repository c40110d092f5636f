"""Rows of cells: comma separated values, tab separated values, and plain lines with tabs."""

import csv
import io
from collections import Counter
from collections.abc import Iterator

from elman.data.content import Content
from elman.data.formats.format import Form, How, Rows, file_row
from elman.errors import UserError

LARGEST_CELL = 2**31 - 1
Record = tuple[int, list[str] | str]  # the number of a row, and its cells or what is wrong with it


def _comma(content: Content, how: How) -> Rows:
    text = content.text(how.encoding)
    head = text.split("\n", 1)[0]
    delimiter = next((mark for mark in ",;\t" if mark in head), ",")
    return _rows(content, how, list(_records(text, delimiter)), header=True)


def _tab(content: Content, how: How) -> Rows:
    text = content.text(how.encoding)
    records = list(_records(text, "\t"))
    if len({isinstance(cells, str) or len(cells) for _, cells in records if cells}) > 1:
        # many write such files without a thought to quotes, which are then part of the text
        plain = list(_records(text, "\t", quoted=False))
        if len({len(cells) for _, cells in plain if cells}) == 1:
            records = plain
            how.notes.append(f"{content.name}: quotes do not pair, and are read as part of the text")
    return _rows(content, how, records, header=True)


def _pairs(content: Content, how: How) -> Rows:
    lines = how.lines(content)
    return _rows(content, how, [(number, line.split("\t")) for number, line in lines], header=False)


def _records(text: str, delimiter: str, quoted: bool = True) -> Iterator[Record]:
    """The rows as they stand; a blank line is one without cells. Numbers are lines where no cell has line ends."""
    csv.field_size_limit(LARGEST_CELL)
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
            yield number, f"is not whole: {error}"


def _rows(content: Content, how: How, records: list[Record], header: bool) -> Rows:
    full = [(number, cells) for number, cells in records if cells]
    last = full[-1][0] if full else 0
    how.blank(content, sum(number < last and not cells for number, cells in records))
    if not full:
        raise UserError(f"{content.name} has no rows")
    names = _names(content, how, full, header)
    kept, numbers = list[list[str]](), list[int]()
    for number, cells in full:
        if isinstance(cells, str):
            how.bad(file_row(content, number), cells)
        elif len(cells) != len(names):
            how.bad(file_row(content, number), f"has {len(cells)} cells, not {len(names)}")
        else:
            kept.append(cells)
            numbers.append(number)
    return Rows({name: [cells[place] for cells in kept] for place, name in enumerate(names)}, numbers)


def _names(content: Content, how: How, full: list[Record], header: bool) -> list[str]:
    """The names of the columns; takes the row that gives them off. A column without a name has its number for one."""
    number, first = full[0]
    if isinstance(first, str):
        raise UserError(f"{file_row(content, number)} {first}")
    if not (header if how.header is None else how.header):
        return [str(place + 1) for place in range(len(first))]
    names = [name.strip() or str(place) for place, name in enumerate(first, 1)]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{content.name}: the header has {count} columns named '{name}'; --no-header takes it as a row")
    del full[0]
    how.notes.append(f"{content.name}: the first row names the columns {', '.join(names)}")
    return names


def _commas(lines: list[str]) -> bool:
    records = [cells for _, cells in _records("\n".join(lines), ",") if cells]
    widths = {0 if isinstance(cells, str) else len(cells) for cells in records}
    return len(records) > 1 and len(widths) == 1 and widths.pop() > 1


def _tabs(lines: list[str]) -> bool:
    counts = {line.count("\t") for line in lines if line.strip()}
    return len(counts) == 1 and counts.pop() > 0


CSV = Form("csv", "comma separated values", _comma, (".csv",), _commas, header=True)
TSV = Form("tsv", "tab separated values", _tab, (".tsv",), header=True)
PAIRS = Form("pairs", "lines with tabs between their columns", _pairs, (), _tabs, header=True)
