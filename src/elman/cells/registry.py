"""Finding a cell by its name, its class, its file, or its stored form."""

import inspect
import re
from pathlib import Path
from typing import Any

import torch

from elman.cells.cell import Cell
from elman.cells.shipped import registered, shipped
from elman.cells.stored_cell import ShippedCell, StoredCell, TracedCell, UntraceableCell, valid_name
from elman.cells.trace import NotTraceable, trace_modes
from elman.errors import UserError, unknown
from elman.user_file import run_file

CellSpec = str | type[Cell] | StoredCell

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)(?P<options>(?::.*)?)")


def find(spec: CellSpec) -> tuple[type[Cell], dict[str, Any]]:
    """The class of a cell and its options. `spec` is a name with options (`lstm:forget_bias=0`) or `"file.py:Class"`,
    which only ever come from the user; a class; or what `stored` returned."""
    if isinstance(spec, StoredCell):
        return spec.find()
    if isinstance(spec, str):
        match = _FILE.fullmatch(spec)
        if match:
            return from_file(match["file"], match["name"]), _options(match["options"][1:], spec)
        name, _, options = spec.partition(":")
        if name not in registered():
            raise unknown("cell", name, registered())
        return registered()[name], _options(options, spec)
    if not (inspect.isclass(spec) and issubclass(spec, Cell)):
        raise UserError(f"a cell is given by its name, its class or 'file.py:Class', not by {spec!r}")
    return spec, {}


def cell_names(text: str) -> list[str]:
    """The different cells of `rnn,lstm:forget_bias=0,mine.py:MyCell`, separated by commas."""
    return list(dict.fromkeys(spec.strip() for spec in text.split(",") if spec.strip()))


def make(spec: CellSpec, input_size: int, hidden_size: int) -> Cell:
    """The cell with newly initialized parameters."""
    kind, options = find(spec)
    return kind(input_size, hidden_size, **options)


def make_any(kind: type[Cell], options: dict[str, Any], *sizes: tuple[int, int]) -> Cell:
    """The cell with the first of these input and hidden sizes that it can have: one that adds `x.raw` to a state needs
    equal ones, one with heads a multiple of them. Without sizes, with some of many divisors."""
    *others, last = sizes or ((120, 240), (240, 240))
    for inputs, hidden in others:
        try:
            return kind(inputs, hidden, **options)
        except UserError:
            continue
    return kind(*last, **options)


def stored(spec: CellSpec) -> StoredCell:
    """The stored form of a cell: a shipped one by name and options; another by its graphs, so that it can be made again
    without the user's code. Of one that cannot be traced the name alone is stored."""
    kind, options = find(spec)
    with torch.random.fork_rng(devices=[]):  # the weights of this one are of no use
        cell = make_any(kind, options)
    if isinstance(spec, StoredCell):
        return spec
    if shipped().get(cell.name) is kind:
        return ShippedCell(cell.name, cell.options)
    name = cell.name if valid_name(cell.name) else "Cell"
    try:
        graphs = trace_modes(cell)
    except NotTraceable:
        return UntraceableCell(name, (kind, options))
    # tensors and functions are not stored: a run has the weights
    start = {key: value if isinstance(value, str) else float(value)
             for key, value in cell.start.items() if isinstance(value, str | int | float)}  # fmt: skip
    return TracedCell(name, graphs, start, tuple(sorted(cell.projections)), (kind, options))


def resolve(of_run: StoredCell, given: CellSpec | None) -> StoredCell:
    """The cell of a run. `given` is the cell that the user names, which is needed for a cell that could not be traced;
    any other must be the same as that of the run."""
    if given is None:
        return of_run
    with torch.random.fork_rng(devices=[]):
        named = stored(given)
    if of_run.traceable:
        if named != of_run:
            raise UserError(f"`cell` {named} differs from {of_run}, the cell of this run: leave it out")
        return of_run
    if named != of_run:
        raise UserError(f"`cell` {named} is not the cell of this run: give `cell` FILE.py:{of_run.name}")
    return named


def _options(text: str, spec: str) -> dict[str, str]:
    options = {}
    for part in filter(None, text.split(":")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(
                f"'{part}' in the cell '{spec}' is not an option: write name=value, as in lstm:forget_bias=0"
            )
        options[name] = value
    return options


def from_file(file: str, name: str) -> type[Cell]:
    """The cell of that name in a Python file."""
    path = Path(file)
    module = run_file(path, "cell")
    cells = {key: value for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Cell)}
    if name in vars(module) and name not in cells:
        raise UserError(f"{name} in {path} is no Cell: write class {name}(elman.Cell)")
    if name not in cells:
        own = [key for key, value in cells.items() if value.__module__ == module.__name__]
        raise unknown(f"cell in {path}", name, own)
    if cells[name].__module__ == module.__name__:
        cells[name].made_by = (from_file, str(path.absolute()), name)
    return cells[name]
