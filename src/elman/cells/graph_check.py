"""The rules of a graph: what may be built, run and compiled, whoever wrote it.

Without them a stored graph could read outside memory (a block that the product does not have), call what is no
operation, or fill memory and time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from elman.cells.cell import Cell
from elman.cells.op import OPERANDS, Op
from elman.cells.validation import as_identifier, as_integer, as_number, as_text, shown
from elman.errors import UserError, unknown

MOST_OPS = 10_000
MOST = 64  # gates, states, vectors, matrices, and gates of one matrix
MOST_BLOCKS = 256  # (H, H) blocks of all recurrent matrices together

# what a value varies over: a number, the units (H,), or rows and units (B, H); a product's blocks are not yet apart
NUMBER, UNITS, ROWS = range(3)


def check_graph(
    gates: Sequence[Any], states: Sequence[Any], ops: Sequence[Op], outputs: Sequence[Any], names: Mapping[str, Any],
    where: str,
) -> None:  # fmt: skip
    """Raises UserError, naming the field behind `where`, for the first rule that is broken."""
    _names(gates, f"{where}.gates")
    _names(states, f"{where}.states")
    if not 0 < len(ops) <= MOST_OPS:
        raise UserError(f"{where}.ops must be 1 to {MOST_OPS:,} operations, not {len(ops):,}")
    varies: list[int] = []
    for number, op in enumerate(ops):
        varies.append(_varies(op, ops, varies, gates, states, f"{where}.ops[{number}]"))
    _parameters(ops, where)
    if len(outputs) != len(states):
        raise UserError(f"{where}.outputs must be one operation for each of {len(states)} states, not {len(outputs)}")
    for number, output in enumerate(outputs):
        i = as_integer(output, f"{where}.outputs[{number}]", 0, len(ops) - 1)
        if varies[i] != ROWS or ops[i].kind == "product":
            raise UserError(f"{where}.outputs[{number}]: operation {i} is no state (B, hidden_size)")
    if len(names) > len(ops) + len(states):
        raise UserError(f"{where}.names has {len(names):,} names for {len(ops):,} operations")
    for name, value in names.items():
        as_text(name, f"{where}.names")
        i = as_integer(value, f"{where}.names[{shown(name)}]", 0, len(ops) - 1)
        if varies[i] != ROWS or ops[i].kind == "product":
            raise UserError(f"{where}.names[{shown(name)}]: operation {i} has no value (B, hidden_size)")


def _names(names: Sequence[Any], where: str) -> None:
    if not 0 < len(names) <= MOST:
        raise UserError(f"{where} must be 1 to {MOST} names, not {len(names)}")
    for number, name in enumerate(names):
        if "_" in as_identifier(name, f"{where}[{number}]"):
            raise UserError(f"{where}[{number}] must have no _, not {shown(name)}")
    if len(set(names)) < len(names):
        raise UserError(f"{where} has a name twice")


def _varies(
    op: Op, ops: Sequence[Op], varies: list[int], gates: Sequence[str], states: Sequence[str], where: str
) -> int:
    """What the value of an operation varies over, once the operation is checked."""
    if not isinstance(op.kind, str) or op.kind not in OPERANDS:
        raise unknown(f"operation in {where}:", shown(op.kind).strip("'"), OPERANDS)
    if len(op.inputs) != OPERANDS[op.kind]:
        raise UserError(f"{where}: {op.kind} has {OPERANDS[op.kind]} operands, not {len(op.inputs)}")
    for i in op.inputs:
        if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < len(varies):
            raise UserError(f"{where}: an operand must be the number of an earlier operation, not {shown(i)}")
        if (ops[i].kind == "product") != (op.kind == "block"):
            raise UserError(f"{where}: the operand of {op.kind} must be {'a' if op.kind == 'block' else 'no'} product")
    operands = max((varies[i] for i in op.inputs), default=NUMBER)
    match op.kind:
        case "input" | "state":
            known = gates if op.kind == "input" else states
            if op.detail not in known:
                raise UserError(f"{where}: {op.kind} must be one of {', '.join(known)}, not {shown(op.detail)}")
            return ROWS
        case "vector":
            name = as_identifier(op.detail, f"{where}: a vector")
            if not name.startswith("p_") or hasattr(Cell, name):
                raise UserError(f"{where}: the name of a vector must begin with p_, not be {shown(name)}")
            return UNITS
        case "constant":
            as_number(op.detail, f"{where}: a constant")
            return NUMBER
        case "product":
            _matrix(op.detail, f"{where}: a matrix")
        case "block":
            as_integer(op.detail, f"{where}: a block", 0, len(ops[op.inputs[0]].detail) - 2)
        case _ if op.detail is not None:
            raise UserError(f"{where}: {op.kind} has no detail, not {shown(op.detail)}")
    if operands == NUMBER:
        raise UserError(f"{where}: {op.kind} of numbers alone")
    return operands


def _matrix(detail: Any, where: str) -> None:
    if not isinstance(detail, tuple) or not 2 <= len(detail) <= MOST + 1:
        raise UserError(f"{where} must be a name and 1 to {MOST} gates, not {shown(detail)}")
    as_identifier(detail[0], where)
    _names(detail[1:], f"{where}: its gates")
    name = "_".join(detail)
    if hasattr(Cell, name) or name.startswith("p_"):
        raise UserError(f"{where} must not be named {shown(name)}, as a vector or an attribute of every cell is")


def _parameters(ops: Sequence[Op], where: str) -> None:
    matrices = {op.detail for op in ops if op.kind == "product"}
    vectors = {op.detail for op in ops if op.kind == "vector"}
    joined = ["_".join(matrix) for matrix in matrices]
    for what, count, most in (
        ("vectors", len(vectors), MOST), ("recurrent matrices", len(matrices), MOST),
        ("blocks of recurrent matrices", sum(len(matrix) - 1 for matrix in matrices), MOST_BLOCKS),
    ):  # fmt: skip
        if count > most:
            raise UserError(f"{where}.ops has {count} {what}: at most {most}")
    if len({*joined, *vectors}) < len(joined) + len(vectors):
        raise UserError(f"{where}.ops has two recurrent matrices or vectors of one name")
