"""The equation of a cell as data: a list of operations that can be run, stored, and read back without running code.

`elman.cells.trace` makes it from a cell's `step`."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.cells import ops
from elman.cells.cell import Cell
from elman.cells.tap import tap

UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": torch.neg, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "abs": torch.abs, "log_sigmoid": ops.log_sigmoid, "normalize": ops.normalize,
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "maximum": torch.maximum, "minimum": torch.minimum,
}  # fmt: skip


@dataclass(frozen=True)
class Op:
    """One operation. `inputs` are numbers of earlier operations.

    kind                 detail                  value
    input                gate                    the gate's share of the input
    state                state                   the state before the step
    vector               parameter (p_i)         a vector parameter
    constant             number                  a number
    product              [name, gate, ...]       a recurrent matrix times inputs[0]
    block                index                   one gate's block of the product inputs[0]
    sigmoid, add, ...                            see UNARY and BINARY
    """

    kind: str
    inputs: tuple[int, ...] = ()
    detail: Any = None


SOURCES: dict[str, Callable[..., Any]] = {
    "input": lambda cell, x, state, detail: getattr(x, detail),
    "state": lambda cell, x, state, detail: state[detail],
    "vector": lambda cell, x, state, detail: getattr(cell, detail),
    "constant": lambda cell, x, state, detail: detail,
    "product": lambda cell, x, state, detail, of: cell.recur(*detail[1:], of=of, name=detail[0]),
    "block": lambda cell, x, state, detail, product: product[detail],
}


@dataclass(frozen=True)
class Graph:
    """A step as operations in the order of their execution.

    `outputs` are the operations that are the new states, `names` gives the operation of every named value.
    """

    gates: tuple[str, ...]
    states: tuple[str, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]
    names: Mapping[str, int]

    def run(self, cell: Cell, x: Any, *state: Tensor) -> tuple[Tensor, ...]:
        """One step, as `cell.step(x, *state)`, that says every named value to `tap`."""
        before = dict(zip(self.states, state, strict=True))
        said: dict[int, list[str]] = {}
        for name, number in self.names.items():
            said.setdefault(number, []).append(name)
        values: list[Any] = []
        for number, op in enumerate(self.ops):
            inputs = [values[i] for i in op.inputs]
            if op.kind in SOURCES:
                value = SOURCES[op.kind](cell, x, before, op.detail, *inputs)
            else:
                value = apply(op.kind, *inputs)
            for name in said.get(number, ()):
                value = tap(name, value)
            values.append(value)
        return tuple(values[i] for i in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers; `Graph.from_json` reads them back."""
        details = [list(op.detail) if isinstance(op.detail, tuple) else op.detail for op in self.ops]
        listed = [[op.kind, list(op.inputs), detail] for op, detail in zip(self.ops, details, strict=True)]
        return {"gates": list(self.gates), "states": list(self.states), "ops": listed,
                "outputs": list(self.outputs), "names": dict(self.names)}  # fmt: skip

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Graph":
        """Reads what `to_json` gave; raises ValueError for anything that is not a graph."""
        try:
            listed = tuple(
                Op(kind, tuple(inputs), tuple(detail) if isinstance(detail, list) else detail)
                for kind, inputs, detail in stored["ops"]
            )
            gates, states, outputs = (tuple(stored[key]) for key in ("gates", "states", "outputs"))
            graph = Graph(gates, states, listed, outputs, dict(stored["names"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stored graph: {error!r}") from error
        for number, op in enumerate(listed):
            if op.kind not in SOURCES | UNARY | BINARY or any(not 0 <= i < number for i in op.inputs):
                raise ValueError(f"operation {number} of the stored graph is not valid: {op}")
        if any(not 0 <= number < len(listed) for number in (*graph.outputs, *graph.names.values())):
            raise ValueError("an output or a name of the stored graph is no operation of it")
        return graph


def apply(kind: str, *inputs: Any) -> Any:
    """One pointwise operation on tensors or numbers."""
    if kind in UNARY:
        return UNARY[kind](inputs[0])
    left, right = inputs
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return BINARY[kind](left, right)
    return _PYTHON[kind](left, right)  # a number on one side: Python's operators keep the dtype


def _bounded(choose: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    def with_number(left: Any, right: Any) -> Tensor:
        tensor, number = (left, right) if isinstance(left, Tensor) else (right, left)
        return choose(tensor, torch.full_like(tensor, number))

    return with_number


_PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "maximum": _bounded(torch.maximum), "minimum": _bounded(torch.minimum),
}  # fmt: skip
