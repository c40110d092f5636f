"""The equation of a cell as data: a list of operations that can be run, stored, and read back without running code.

`elman.cells.trace` makes it from a cell's `step`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.graph_check import MOST_OPS, check_graph
from elman.cells.op import SIZED, SOURCES, Op, apply
from elman.cells.shape import Shape, shape_of
from elman.cells.size import Size, resolve
from elman.cells.tap import tap
from elman.cells.validation import as_list, as_mapping, as_number


@dataclass(frozen=True)
class Graph:
    """A step as operations in the order of their execution.

    - outputs: the operations that are the new states
    - output: the name of an output that is not the first state, else empty
    - names: the operations of the values that have a name
    - sizes: of the gates, states and vectors that have not `hidden` values
    - bias: the gates that have a bias
    """

    gates: tuple[str, ...]
    states: tuple[str, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]
    output: str
    names: Mapping[str, int]
    sizes: Mapping[str, Size]
    bias: tuple[str, ...]

    @cached_property
    def shapes(self) -> list[Shape]:
        """The shapes of the operations' values."""
        shapes: list[Shape] = []
        for op in self.ops:
            shapes.append(shape_of(op, [shapes[i] for i in op.inputs], self.sizes))
        return shapes

    @property
    def matrices(self) -> set[tuple[Any, ...]]:
        """The matrices that the step uses, each (size, heads, name, gate, ...)."""
        return {op.detail for op in self.ops if op.kind == "product"}

    @property
    def vectors(self) -> set[str]:
        """The vectors `p_...` that the step uses."""
        return {op.detail for op in self.ops if op.kind == "vector"}

    @cached_property
    def draws(self) -> bool:
        """Whether the step draws random numbers."""
        return any(op.kind == "uniform" for op in self.ops)

    @cached_property
    def reads_input(self) -> bool:
        """Whether the step uses the input itself, `x.raw`."""
        return any(op.kind == "raw" for op in self.ops)

    @property
    def results(self) -> tuple[int, ...]:
        """The operations of what a step returns: the output where it is not the first state, and the new states."""
        return (*((self.names[self.output],) if self.output else ()), *self.outputs)

    @property
    def result_names(self) -> dict[str, int]:
        """The names of what a step returns, without those of the values inside."""
        return dict(zip(((self.output,) if self.output else ()) + self.states, self.results, strict=True))

    def run(self, cell: Cell, x: Any, *state: Tensor, recur: Callable[..., Any] | None = None) -> tuple[Tensor, ...]:
        """One step, as `cell.step(x, *state)`, that passes every named value through `tap`. recur: what computes the
        products, `Cell.recur` unless given; what a cell does in a `recur` of its own is part of the graph."""
        recur = partial(Cell.recur, cell) if recur is None else recur
        before = dict(zip(self.states, state, strict=True))
        names: dict[int, list[str]] = {}
        for name, number in self.names.items():
            names.setdefault(number, []).append(name)
        values: list[Any] = []
        for number, op in enumerate(self.ops):
            inputs = [values[i] for i in op.inputs]
            if op.kind == "product":
                size, heads = (resolve(part, cell.hidden_size, cell.input_size) for part in op.detail[:2])
                value = recur(*op.detail[3:], of=inputs[0], name=op.detail[2], size=size, heads=heads)
            elif op.kind in SOURCES:
                value = SOURCES[op.kind](cell, x, before, op.detail, *inputs)
            elif op.kind in SIZED:
                value = SIZED[op.kind](*inputs, resolve(op.detail, cell.hidden_size, cell.input_size))
            else:
                value = apply(op.kind, *inputs)
            for name in names.get(number, ()):
                value = tap(name, value)
            values.append(value)
        return tuple(values[i] for i in self.results)

    def check(self, where: str = "graph") -> None:
        """Raises UserError, naming the field, where the graph breaks a rule of `check_graph`."""
        check_graph(self, where)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers; `Graph.from_json` reads them back."""
        details = [list(op.detail) if isinstance(op.detail, tuple) else op.detail for op in self.ops]
        ops = [[op.kind, list(op.inputs), detail] for op, detail in zip(self.ops, details, strict=True)]
        return {"gates": list(self.gates), "states": list(self.states), "ops": ops,
                "outputs": list(self.outputs), "output": self.output, "names": dict(self.names),
                "sizes": dict(self.sizes), "bias": list(self.bias)}  # fmt: skip

    @staticmethod
    def from_json(value: Any, where: str = "graph") -> "Graph":
        """Reads what `to_json` returned. Anything else is a UserError that names the field, `where` before it."""
        fields = as_mapping(value, where, [field.name for field in dataclass_fields(Graph)])
        gates, states, outputs, bias = (
            tuple(as_list(fields[key], f"{where}.{key}", 64)) for key in ("gates", "states", "outputs", "bias")
        )
        names, sizes = (dict(as_mapping(fields[key], f"{where}.{key}")) for key in ("names", "sizes"))
        ops = tuple(
            _op(op, f"{where}.ops[{number}]")
            for number, op in enumerate(as_list(fields["ops"], f"{where}.ops", MOST_OPS))
        )
        graph = Graph(gates, states, ops, outputs, fields["output"], names, sizes, bias)
        graph.check(where)
        return graph


def _op(value: Any, where: str) -> Op:
    kind, inputs, detail = as_list(value, where, 3, least=3)
    inputs = tuple(as_list(inputs, f"{where}: the operands", 3))
    if kind == "constant":
        detail = as_number(detail, f"{where}: a constant")
    return Op(kind, inputs, tuple(as_list(detail, f"{where}: the detail", 67)) if isinstance(detail, list) else detail)


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
