"""The rules of a graph: what may be built, run and compiled, whoever wrote it.

Without them a stored graph could read outside memory (a block that the product does not have), call what is no
operation, or fill memory and time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from elman.cells.cell import Cell
from elman.cells.op import OPERANDS, Op
from elman.cells.shape import Mismatch, Shape, shape_of
from elman.cells.size import HIDDEN, Size, as_size, factors
from elman.cells.validation import as_identifier, as_integer, as_number, as_text, shown
from elman.errors import UserError, unknown

MOST_OPS = 10_000
MOST = 64  # gates, states, vectors, matrices, and gates of one matrix
MOST_BLOCKS = 256  # (H, H) blocks of all matrices together, in a layer of LARGE units and inputs
LARGE = 1024


class Checkable(Protocol):
    """The fields of a graph."""

    @property
    def gates(self) -> tuple[str, ...]: ...
    @property
    def states(self) -> tuple[str, ...]: ...
    @property
    def ops(self) -> tuple[Op, ...]: ...
    @property
    def outputs(self) -> tuple[int, ...]: ...
    @property
    def output(self) -> str: ...
    @property
    def names(self) -> Mapping[str, int]: ...
    @property
    def sizes(self) -> Mapping[str, Size]: ...
    @property
    def bias(self) -> tuple[str, ...]: ...


def check_graph(graph: Checkable, where: str) -> None:
    """Raises UserError, naming the field behind `where`, for the first rule that is broken."""
    gates, states, ops, outputs, names = graph.gates, graph.states, graph.ops, graph.outputs, graph.names
    _names(gates, f"{where}.gates", 0)
    _names(states, f"{where}.states", 1)
    _names(graph.bias, f"{where}.bias", 0)
    if not set(graph.bias) <= set(gates):
        raise UserError(f"{where}.bias has a name that is no gate")
    for name, size in graph.sizes.items():
        as_text(name, f"{where}.sizes")
        as_size(size, f"{where}.sizes[{shown(name)}]")
    if not 0 < len(ops) <= MOST_OPS:
        raise UserError(f"{where}.ops must be 1 to {MOST_OPS:,} operations, not {len(ops):,}")
    shapes: list[Shape] = []
    for number, op in enumerate(ops):
        _check_op(op, shapes, graph, f"{where}.ops[{number}]")
        try:
            shapes.append(shape_of(op, [shapes[i] for i in op.inputs], graph.sizes))
        except Mismatch as error:
            raise UserError(f"{where}.ops[{number}]: {op.kind} {error}") from error
    _parameters(graph, shapes, where)
    _memory(graph, shapes, where)
    expected = [graph.sizes.get(name, HIDDEN) for name in states]
    if len(outputs) != len(states):
        raise UserError(f"{where}.outputs must be one operation for each of {len(states)} states, not {len(outputs)}")
    for number, output in enumerate(outputs):
        i = as_integer(output, f"{where}.outputs[{number}]", 0, len(ops) - 1)
        if not shapes[i].is_value or shapes[i].size != expected[number]:
            raise UserError(f"{where}.outputs[{number}]: operation {i} is no state (B, {expected[number]})")
    if len(names) > len(ops) + len(states) + 1:
        raise UserError(f"{where}.names has {len(names):,} names for {len(ops):,} operations")
    for name, value in names.items():
        as_text(name, f"{where}.names")
        i = as_integer(value, f"{where}.names[{shown(name)}]", 0, len(ops) - 1)
        if not shapes[i].is_value:
            raise UserError(f"{where}.names[{shown(name)}]: operation {i} has no value (B, size)")
    if graph.output != "":
        _names([graph.output], f"{where}.output")
        if graph.output not in names or shapes[names[graph.output]].size != graph.sizes.get(graph.output, HIDDEN):
            raise UserError(f"{where}.output: {shown(graph.output)} is no named value of its size")
        if graph.output in (*gates, *states):
            raise UserError(f"{where}.output: {shown(graph.output)} is the name of a gate or a state")


def _names(names: Sequence[Any], where: str, least: int = 1) -> None:
    if not least <= len(names) <= MOST:
        raise UserError(f"{where} must be {least} to {MOST} names, not {len(names)}")
    for number, name in enumerate(names):
        if "_" in as_identifier(name, f"{where}[{number}]"):
            raise UserError(f"{where}[{number}] must have no _, not {shown(name)}")
    if len(set(names)) < len(names):
        raise UserError(f"{where} has a name twice")


def _check_op(op: Op, before: Sequence[Shape], graph: Checkable, where: str) -> None:
    """Checks the kind, the operands and the detail of an operation."""
    if not isinstance(op.kind, str) or op.kind not in OPERANDS:
        raise unknown(f"operation in {where}:", shown(op.kind).strip("'"), OPERANDS)
    if len(op.inputs) != OPERANDS[op.kind]:
        raise UserError(f"{where}: {op.kind} has {OPERANDS[op.kind]} operands, not {len(op.inputs)}")
    for i in op.inputs:
        if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < len(before):
            raise UserError(f"{where}: an operand must be the number of an earlier operation, not {shown(i)}")
        if before[i].product != (op.kind == "block"):
            raise UserError(f"{where}: the operand of {op.kind} must be {'a' if op.kind == 'block' else 'no'} product")
    match op.kind:
        case "input" | "state":
            known = graph.gates if op.kind == "input" else graph.states
            if op.detail not in known:
                raise UserError(f"{where}: {op.kind} must be one of {', '.join(known)}, not {shown(op.detail)}")
        case "vector":
            name = as_identifier(op.detail, f"{where}: a vector")
            if not name.startswith("p_") or hasattr(Cell, name):
                raise UserError(f"{where}: the name of a vector must begin with p_, not be {shown(name)}")
        case "constant":
            as_number(op.detail, f"{where}: a constant")
        case "product":
            _matrix(op.detail, f"{where}: a matrix")
        case "block":
            product = graph.ops[op.inputs[0]].detail
            as_integer(op.detail, f"{where}: a block", 0, len(product) - 4)
        case "uniform":
            draw, per = op.detail if isinstance(op.detail, tuple) and len(op.detail) == 2 else (None, None)
            as_integer(draw, f"{where}: the number of a draw", 0, MOST_OPS)
            if draw != sum(other.kind == "uniform" for other in graph.ops[: len(before)]):
                raise UserError(f"{where}: draws must be numbered in their order from 0, not {draw}")
            if per not in ("step", "sequence"):
                raise UserError(f"{where}: random numbers must be of a step or a sequence, not {shown(per)}")
        case "outer" | "matvec" | "repeat_interleave" | "sum_groups":
            as_size(op.detail, f"{where}: the detail of {op.kind}")
        case _ if op.detail is not None:
            raise UserError(f"{where}: {op.kind} has no detail, not {shown(op.detail)}")


def _matrix(detail: Any, where: str) -> None:
    if not isinstance(detail, tuple) or not 4 <= len(detail) <= MOST + 3:
        raise UserError(f"{where} must be a size, heads, a name and 1 to {MOST} gates, not {shown(detail)}")
    as_size(detail[0], f"{where}: its size")
    as_size(detail[1], f"{where}: its heads")
    as_identifier(detail[2], where)
    _names(detail[3:], f"{where}: its gates")
    name = "_".join(detail[2:])
    if hasattr(Cell, name) or name.startswith("p_"):
        raise UserError(f"{where} must not be named {shown(name)}, as a vector or an attribute of every cell is")


def _parameters(graph: Checkable, shapes: Sequence[Shape], where: str) -> None:
    products = {(op.detail, shapes[op.inputs[0]].size) for op in graph.ops if op.kind == "product"}
    vectors = {op.detail for op in graph.ops if op.kind == "vector"}
    joined = ["_".join(detail[2:]) for detail, _ in products]
    for what, count in (("vectors", len(vectors)), ("recurrent matrices", len(products))):
        if count > MOST:
            raise UserError(f"{where}.ops has {count} {what}: at most {MOST}")
    if len({*joined, *vectors}) < len(joined) + len(vectors):
        raise UserError(f"{where}.ops has two recurrent matrices or vectors of one name")
    weights = sum(map(_large, _sizes(graph, graph.gates))) * LARGE + sum(
        (len(detail) - 3) * _large(detail[0]) * _large(size) / _large(detail[1]) for detail, size in products
    )
    if weights > MOST_BLOCKS * LARGE**2:
        raise UserError(f"{where} has {weights / LARGE**2:,.0f} blocks of matrices: at most {MOST_BLOCKS}")


def _memory(graph: Checkable, shapes: Sequence[Shape], where: str) -> None:
    """As much as a graph of the most operations on values of `hidden` needs."""
    sizes = [shape.size for shape in shapes if shape.size is not None] + _sizes(graph, graph.states)
    values, most = sum(map(_large, sizes)), (MOST_OPS + MOST) * LARGE
    if values > most:
        raise UserError(
            f"{where}.ops computes {values:,.0f} values a row in a layer of {LARGE} units: at most {most:,}"
        )


def _sizes(graph: Checkable, names: Sequence[str]) -> list[Size]:
    return [graph.sizes.get(name, HIDDEN) for name in names]


def _large(size: Size | None) -> float:
    """A size in a layer of LARGE units and inputs."""
    assert size is not None
    of, times, over = factors(size)
    return times / over * (LARGE if of else 1)
