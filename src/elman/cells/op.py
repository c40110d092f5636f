"""The operations of a graph: what each kind takes and what it computes."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.cells import ops

UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": torch.neg, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "abs": torch.abs, "sin": torch.sin, "cos": torch.cos,
    "floor": torch.floor, "sign": torch.sign, "softplus": F.softplus, "log_sigmoid": ops.log_sigmoid,
    "normalize": ops.normalize, "softmax": lambda v: torch.softmax(v, -1), "cumsum": lambda v: torch.cumsum(v, -1),
}  # fmt: skip
REDUCTIONS: dict[str, Callable[[Any], Any]] = {  # over the units: (B, H) to (B, 1)
    "sum": lambda v: v.sum(-1, keepdim=True), "mean": lambda v: v.mean(-1, keepdim=True),
    "amax": lambda v: v.amax(-1, keepdim=True),
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow,
    "maximum": torch.maximum, "minimum": torch.minimum,
}  # fmt: skip
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Op:
    """One operation. `inputs` are the numbers of earlier operations.

    kind                 detail                          value
    input                gate                            the gate's block of W x + b
    raw                                                  the input x
    state                state                           the state before the step
    vector               parameter (p_i)                 a vector parameter
    constant             number                          a number
    uniform              (draw, step or sequence)        random numbers in [0, 1) of the size of inputs[0],
                                                         the draws numbered in their order
    product              (size, heads, name, gate, ...)  a matrix times inputs[0]
    block                index                           one gate's block of the product inputs[0]
    outer, matvec        heads                           see ops.py
    repeat_interleave    count                           every unit so many times
    sum_groups           size                            the sum over every so many units
    sigmoid, add, ...                                    see UNARY, REDUCTIONS, BINARY, COMPARISONS; where
    """

    kind: str
    inputs: tuple[int, ...] = ()
    detail: Any = None


SOURCES: dict[str, Callable[..., Any]] = {
    "input": lambda cell, x, state, detail: getattr(x, detail),
    "raw": lambda cell, x, state, detail: x.raw,
    "state": lambda cell, x, state, detail: state[detail],
    "vector": lambda cell, x, state, detail: cell.weight(detail),
    "constant": lambda cell, x, state, detail: detail,
    "uniform": lambda cell, x, state, detail, like: cell.rand_like(like, detail[1]),
    "block": lambda cell, x, state, detail, product: product[detail],
}
# of values of other sizes than that of the result; detail: a number
SIZED: dict[str, Callable[..., Any]] = {
    "outer": ops.outer, "matvec": ops.matvec,
    "repeat_interleave": lambda v, count: v.repeat_interleave(count, -1), "sum_groups": ops.sum_groups,
}  # fmt: skip
OPERANDS = {
    **dict.fromkeys(("input", "raw", "state", "vector", "constant"), 0),
    **dict.fromkeys(("uniform", "product", "block", "repeat_interleave", "sum_groups", *UNARY, *REDUCTIONS), 1),
    **dict.fromkeys(("outer", "matvec", *BINARY, *COMPARISONS), 2), "where": 3,
}  # fmt: skip


_OF_TENSORS: dict[str, Callable[..., Any]] = {**UNARY, **REDUCTIONS, **COMPARISONS, "where": torch.where}


def apply(kind: str, *inputs: Any) -> Any:
    """One pointwise operation on tensors or numbers."""
    if kind in _OF_TENSORS:
        return _OF_TENSORS[kind](*inputs)
    left, right = inputs
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return BINARY[kind](left, right)
    return _WITH_NUMBER[kind](left, right)  # Python's operators keep the dtype of the tensor


def _bounded(choose: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    def with_number(left: Any, right: Any) -> Tensor:
        tensor, number = (left, right) if isinstance(left, Tensor) else (right, left)
        # a symbolic value takes the number itself
        return choose(tensor, torch.full_like(tensor, number)) if isinstance(tensor, Tensor) else choose(left, right)

    return with_number


_WITH_NUMBER: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "pow": operator.pow,
    "maximum": _bounded(torch.maximum), "minimum": _bounded(torch.minimum),
}  # fmt: skip
