"""The equation of a cell as data: a list of operations that can be run, stored, and read back without running code.

`elman.cells.trace` makes it from a cell's `step`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.graph_check import MOST_OPS, check_graph
from elman.cells.op import SOURCES, Op, apply
from elman.cells.tap import tap
from elman.cells.validation import as_list, as_mapping, as_number


@dataclass(frozen=True)
class Graph:
    """A step as operations in the order of their execution.

    `outputs` are the numbers of the operations that are the new states, `names` maps the name of a value to its
    operation.
    """

    gates: tuple[str, ...]
    states: tuple[str, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]
    names: Mapping[str, int]

    @property
    def matrices(self) -> set[tuple[str, ...]]:
        """The recurrent matrices that the step uses, each (name, gate, ...)."""
        return {op.detail for op in self.ops if op.kind == "product"}

    @property
    def vectors(self) -> set[str]:
        """The vectors `p_...` that the step uses."""
        return {op.detail for op in self.ops if op.kind == "vector"}

    def run(self, cell: Cell, x: Any, *state: Tensor) -> tuple[Tensor, ...]:
        """One step, as `cell.step(x, *state)`, that passes every named value through `tap`."""
        before = dict(zip(self.states, state, strict=True))
        names: dict[int, list[str]] = {}
        for name, number in self.names.items():
            names.setdefault(number, []).append(name)
        values: list[Any] = []
        for number, op in enumerate(self.ops):
            inputs = [values[i] for i in op.inputs]
            if op.kind in SOURCES:
                value = SOURCES[op.kind](cell, x, before, op.detail, *inputs)
            else:
                value = apply(op.kind, *inputs)
            for name in names.get(number, ()):
                value = tap(name, value)
            values.append(value)
        return tuple(values[i] for i in self.outputs)

    def check(self, where: str = "graph") -> None:
        """Raises UserError, naming the field, where the graph breaks a rule of `check_graph`."""
        check_graph(self.gates, self.states, self.ops, self.outputs, self.names, where)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers; `Graph.from_json` reads them back."""
        details = [list(op.detail) if isinstance(op.detail, tuple) else op.detail for op in self.ops]
        ops = [[op.kind, list(op.inputs), detail] for op, detail in zip(self.ops, details, strict=True)]
        return {"gates": list(self.gates), "states": list(self.states), "ops": ops,
                "outputs": list(self.outputs), "names": dict(self.names)}  # fmt: skip

    @staticmethod
    def from_json(value: Any, where: str = "graph") -> "Graph":
        """Reads what `to_json` returned. Anything else is a UserError that names the field, `where` before it."""
        fields = as_mapping(value, where, ("gates", "states", "ops", "outputs", "names"))
        gates, states, outputs = (tuple(as_list(fields[key], f"{where}.{key}", most)) for key, most in _TUPLES.items())
        names = as_mapping(fields["names"], f"{where}.names")
        ops = tuple(
            _op(op, f"{where}.ops[{number}]")
            for number, op in enumerate(as_list(fields["ops"], f"{where}.ops", MOST_OPS))
        )
        graph = Graph(gates, states, ops, outputs, dict(names))
        graph.check(where)
        return graph


_TUPLES = {"gates": 64, "states": 64, "outputs": 64}


def _op(value: Any, where: str) -> Op:
    kind, inputs, detail = as_list(value, where, 3, least=3)
    inputs = tuple(as_list(inputs, f"{where}: the operands", 2))
    if kind == "constant":
        detail = as_number(detail, f"{where}: a constant")
    return Op(kind, inputs, tuple(as_list(detail, f"{where}: a matrix", 65)) if isinstance(detail, list) else detail)


@dataclass(frozen=True)
class ModeGraphs:
    """The graphs of a step in training and in evaluation; for most cells they are equal."""

    training: Graph
    evaluation: Graph

    def of(self, training: bool) -> Graph:
        """The graph of a mode."""
        return self.training if training else self.evaluation

    @property
    def same(self) -> bool:
        """Whether the step is the same in both modes."""
        return self.training == self.evaluation
