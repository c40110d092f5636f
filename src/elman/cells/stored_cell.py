"""The stored form of a cell: what a run folder holds of it. Reading one runs no code and opens no file."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from elman.cells.cell import Cell
from elman.cells.graph import Graph, ModeGraphs
from elman.cells.graph_cell import graph_cell
from elman.cells.shipped import shipped
from elman.cells.validation import LONGEST_NAME, as_integer, as_list, as_mapping, as_number, shown
from elman.errors import UserError, unknown

INITIALIZATIONS = ("orthogonal", "identity")  # of the recurrent matrices
NAME = re.compile(rf"[^\W\d][\w-]{{0,{LONGEST_NAME - 1}}}")


@dataclass(frozen=True)
class StoredCell(ABC):
    """A cell as data: a shipped one by its name and options, another by its graphs, one that cannot be traced by its
    name alone. `elman.cells.registry.stored` makes it; `to_json` and `from_json` are its form in a file."""

    name: str

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers; `StoredCell.from_json` reads them back."""

    @abstractmethod
    def find(self) -> tuple[type[Cell], dict[str, Any]]:
        """The class of the cell and its options. Raises UserError for a cell that could not be traced."""

    @property
    def traceable(self) -> bool:
        """Whether the cell can be made from its stored form."""
        return True

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def from_json(value: Any, where: str = "cell") -> "StoredCell":
        """Reads what `to_json` returned. Anything else, a name of a file above all, is a UserError that names the
        field, `where` before it."""
        fields = as_mapping(value, where)
        for key, form in FORMS.items():
            if key in fields:
                return form.read(fields, where)
        raise UserError(f"{where} must have one of {', '.join(FORMS)}: it is no stored cell")


@dataclass(frozen=True)
class ShippedCell(StoredCell):
    """A cell of this package."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "options": dict(self.options)}

    def find(self) -> tuple[type[Cell], dict[str, Any]]:
        return shipped()[self.name], dict(self.options)

    def __str__(self) -> str:
        kind = shipped()[self.name]
        given = [f"{key}={value}" for key, value in self.options.items() if value != getattr(kind, key)]
        return ":".join([self.name, *given])

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str) -> "ShippedCell":
        """See `StoredCell.from_json`."""
        name, options = _named(as_mapping(fields, where, ("name", "options")), where), fields["options"]
        if name not in shipped():
            raise unknown(f"cell in {where}.name", name, shipped())
        types = shipped()[name].option_types()
        for key, value in as_mapping(options, f"{where}.options").items():
            if key not in types:
                raise unknown(f"option in {where}.options", shown(key).strip("'"), types)
            _option(value, types[key], f"{where}.options.{key}")
        return cls(name, dict(options))


@dataclass(frozen=True)
class TracedCell(StoredCell):
    """A cell of the user's own: its graphs and where its parameters start.

    - projections: the matrices of `project`
    - given: the class and options that were traced, whose `start` may have tensors and functions; not stored
    """

    graphs: ModeGraphs
    start: Mapping[str, float | str]
    projections: tuple[str, ...] = ()
    given: tuple[type[Cell], Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        value = {"name": self.name, "graph": self.graphs.training.to_json(), "start": dict(self.start)}
        value |= {"projections": list(self.projections)} if self.projections else {}
        return value if self.graphs.same else value | {"evaluation": self.graphs.evaluation.to_json()}

    def find(self) -> tuple[type[Cell], dict[str, Any]]:
        return graph_cell(self.name, self.graphs, self.start, self.projections, self.given), {}

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str) -> "TracedCell":
        """See `StoredCell.from_json`."""
        keys = ("name", "graph", "start", *(key for key in ("evaluation", "projections") if key in fields))
        name = _named(as_mapping(fields, where, keys), where)
        training = Graph.from_json(fields["graph"], f"{where}.graph")
        evaluation = Graph.from_json(fields.get("evaluation", fields["graph"]), f"{where}.evaluation")
        fixed = [(g.gates, g.states, g.output, g.sizes, g.bias) for g in (training, evaluation)]
        same = fixed[0] == fixed[1]
        if not same or not evaluation.matrices <= training.matrices or not evaluation.vectors <= training.vectors:
            raise UserError(f"{where}.evaluation has other gates, states or parameters than {where}.graph")
        matrices = {"_".join(matrix[2:]) for matrix in training.matrices}
        projections = tuple(as_list(fields.get("projections", []), f"{where}.projections", len(matrices)))
        for title in projections:
            if not isinstance(title, str) or title not in matrices:
                raise UserError(f"{where}.projections must be names of matrices, not {shown(title)}")
        known = {"W", "U", *training.bias, *training.vectors, *matrices}
        start = as_mapping(fields["start"], f"{where}.start")
        for key, value in start.items():
            if key not in known:
                raise unknown(f"parameter in {where}.start", shown(key).strip("'"), known)
            if key in ("U", *matrices) and isinstance(value, str) and value not in INITIALIZATIONS:
                raise UserError(f"{where}.start.{key} must be {' or '.join(INITIALIZATIONS)}, not {shown(value)}")
            if not (key in ("U", *matrices) and isinstance(value, str)):
                as_number(value, f"{where}.start.{key}", *((0.0,) if key == "W" else ()))
        return cls(name, ModeGraphs(training, evaluation), dict(start), projections)


@dataclass(frozen=True)
class UntraceableCell(StoredCell):
    """A cell of the user's own whose step is no graph: only its name is stored, so its code must be given again.

    - given: its class and options, where the user has given them; not stored
    """

    given: tuple[type[Cell], Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "untraceable": True}

    def find(self) -> tuple[type[Cell], dict[str, Any]]:
        if self.given is None:
            raise UserError(f"the cell {self.name} of this run could not be traced into an equation: give it with "
                            f"`cell` FILE.py:{self.name}")  # fmt: skip
        return self.given[0], dict(self.given[1])

    @property
    def traceable(self) -> bool:
        return False

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str) -> "UntraceableCell":
        """See `StoredCell.from_json`."""
        name = _named(as_mapping(fields, where, ("name", "untraceable")), where)
        if fields["untraceable"] is not True:
            raise UserError(f"{where}.untraceable must be true, not {shown(fields['untraceable'])}")
        return cls(name)


FORMS: dict[str, type[ShippedCell] | type[TracedCell] | type[UntraceableCell]] = {
    "options": ShippedCell, "graph": TracedCell, "untraceable": UntraceableCell,
}  # fmt: skip


def valid_name(name: str) -> bool:
    """Whether a cell can be stored under this name: no path, no options, short."""
    return NAME.fullmatch(name) is not None


def _named(fields: Mapping[str, Any], where: str) -> str:
    name = fields["name"]
    if not isinstance(name, str) or not valid_name(name):
        raise UserError(f"{where}.name must be the name of a cell, not {shown(name)}")
    return name


def _option(value: Any, kind: Any, where: str) -> None:
    """Checks an option's value against its declared type."""
    if choices := get_args(kind):
        if not isinstance(value, str) or value not in choices:
            raise UserError(f"{where} must be one of {', '.join(map(str, choices))}, not {shown(value)}")
    elif kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{where} must be true or false, not {shown(value)}")
    elif kind is int:
        as_integer(value, where, -(2**31), 2**31)
    else:
        as_number(value, where)
