"""Finding a cell by its name, its class, its file, or its stored form."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import elman.cells
from elman.cells.cell import Cell
from elman.cells.graph import Graph
from elman.cells.graph_cell import graph_cell
from elman.cells.trace import NotTraceable, trace
from elman.errors import UserError, unknown
from elman.user_file import run_file

CellSpec = str | type[Cell] | Mapping[str, Any]

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)(?P<options>(?::.*)?)")


def shipped() -> dict[str, type[Cell]]:
    """The cells of this package by name: every module of `elman.cells` may define some."""
    for module in pkgutil.iter_modules(elman.cells.__path__):
        importlib.import_module(f"elman.cells.{module.name}")
    return dict(sorted(Cell.registered.items()))


def find(spec: CellSpec) -> tuple[type[Cell], dict[str, Any]]:
    """The class of a cell and its options. `spec` is a name with options (`lstm:forget_bias=0`), a class,
    `"file.py:Class"`, or what `stored` returned."""
    if isinstance(spec, str):
        match = _FILE.fullmatch(spec)
        if match:
            return _from_file(Path(match["file"]), match["name"]), _options(match["options"][1:], spec)
        name, _, options = spec.partition(":")
        if name not in shipped():
            raise unknown("cell", name, shipped())
        return shipped()[name], _options(options, spec)
    if isinstance(spec, Mapping):
        if "graph" in spec:
            return graph_cell(spec["name"], Graph.from_json(spec["graph"]), spec["start"]), {}
        file = spec.get("file")
        if file and not Path(file).is_absolute():  # so that it is never one that came along with a stranger's run
            raise UserError(f"the cell {spec['name']} comes from {file}, which is not a full path: it is not loaded")
        cell, _ = find(file or spec["name"])
        return cell, dict(spec["options"])
    if not (inspect.isclass(spec) and issubclass(spec, Cell)):
        raise UserError(f"a cell is given by its name, its class or 'file.py:Class', not by {spec!r}")
    return spec, {}


def listed(text: str) -> list[str]:
    """The different cells of `rnn,lstm:forget_bias=0,mine.py:MyCell`, a comma between them."""
    return list(dict.fromkeys(spec.strip() for spec in text.split(",") if spec.strip()))


def make(spec: CellSpec, input_size: int, hidden_size: int) -> Cell:
    """The cell, its weights fresh."""
    kind, options = find(spec)
    return kind(input_size, hidden_size, **options)


def stored(spec: CellSpec) -> dict[str, Any]:
    """The cell as JSON: a shipped one by name and options; a user's own by its graph, so that it can be made again
    without the user's code. One that cannot be traced is stored by where its class is."""
    kind, options = find(spec)
    cell = kind(1, 1, **options)
    if Cell.registered.get(cell.name) is kind and kind.__module__.startswith("elman.cells."):
        return {"name": cell.name, "options": cell.options}
    try:
        return {"name": cell.name, "graph": trace(cell).to_json(), "start": dict(cell.start)}
    except NotTraceable:
        return {"name": cell.name, "options": cell.options, "file": f"{inspect.getsourcefile(kind)}:{kind.__name__}"}


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


def _from_file(path: Path, name: str) -> type[Cell]:
    module = run_file(path, "cell")
    cells = {key: value for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Cell)}
    if name in vars(module) and name not in cells:
        raise UserError(f"{name} in {path} is no Cell: write class {name}(elman.Cell)")
    if name not in cells:
        own = [key for key, value in cells.items() if value.__module__ == module.__name__]
        raise unknown(f"cell in {path}", name, own)
    return cells[name]
