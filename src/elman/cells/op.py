"""The operations of a graph: what each kind takes and what it computes."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.cells import ops

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
    """One operation. `inputs` are the numbers of earlier operations.

    kind                 detail                  value
    input                gate                    the gate's block of W x + b
    state                state                   the state before the step
    vector               parameter (p_i)         a vector parameter
    constant             number                  a number
    product              (name, gate, ...)       a recurrent matrix times inputs[0]
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
OPERANDS = {
    **dict.fromkeys(("input", "state", "vector", "constant"), 0), **dict.fromkeys(("product", "block"), 1),
    **dict.fromkeys(UNARY, 1), **dict.fromkeys(BINARY, 2),
}  # fmt: skip


def apply(kind: str, *inputs: Any) -> Any:
    """One pointwise operation on tensors or numbers."""
    if kind in UNARY:
        return UNARY[kind](inputs[0])
    left, right = inputs
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return BINARY[kind](left, right)
    return _WITH_NUMBER[kind](left, right)  # Python's operators keep the dtype of the tensor


def _bounded(choose: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    def with_number(left: Any, right: Any) -> Tensor:
        tensor, number = (left, right) if isinstance(left, Tensor) else (right, left)
        return choose(tensor, torch.full_like(tensor, number))

    return with_number


_WITH_NUMBER: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "maximum": _bounded(torch.maximum), "minimum": _bounded(torch.minimum),
}  # fmt: skip
