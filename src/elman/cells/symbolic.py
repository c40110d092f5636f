"""Symbolic values: what `step` is called with while it is traced. Each operation on one is recorded instead of run."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.cells.cell import blocks
from elman.cells.op import BINARY, UNARY, Op

_KIND_OF = {function: kind for kind, function in (UNARY | BINARY).items()} | {
    F.relu: "relu", F.sigmoid: "sigmoid", F.tanh: "tanh", torch.true_divide: "div", torch.divide: "div",
    torch.subtract: "sub", torch.multiply: "mul", torch.negative: "neg",
    Tensor.add: "add", Tensor.sub: "sub", Tensor.mul: "mul", Tensor.div: "div",
    Tensor.__rsub__: "rsub", Tensor.__rtruediv__: "rdiv", Tensor.__rdiv__: "rdiv",
}  # fmt: skip


class NotTraceable(Exception):
    """The step does something that is not one of the known operations; the message names it."""


class Recorder:
    """The operations of a step in the order of their execution. The same operation on the same inputs is recorded
    once."""

    def __init__(self):
        self.ops: list[Op] = []
        self._numbers: dict[Op, int] = {}

    def value(self, kind: str, *inputs: int, detail: Any = None) -> "SymbolicValue":
        """The value of an operation."""
        op = Op(kind, inputs, detail)
        if op not in self._numbers:
            self._numbers[op] = len(self.ops)
            self.ops.append(op)
        return SymbolicValue(self, self._numbers[op])


class SymbolicValue:
    """Stands for a tensor (B, H) while `step` is traced."""

    def __init__(self, recorder: Recorder, number: int):
        self.recorder, self.number = recorder, number

    def made(self, kind: str, *inputs: Any) -> "SymbolicValue":
        """The value of an operation on values and numbers."""
        if kind in ("rsub", "rdiv"):
            kind, inputs = kind[1:], inputs[::-1]
        return self.recorder.value(kind, *(self.number_of(value) for value in inputs))

    def number_of(self, value: Any) -> int:
        """The number of the operation that computes an operand."""
        if isinstance(value, SymbolicValue):
            return value.number
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.recorder.value("constant", detail=float(value)).number
        raise NotTraceable(f"a {type(value).__name__} that is neither a number, a gate, a state nor a p_ vector")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> "SymbolicValue":
        known = _KIND_OF.get(function)
        options = [name for name, value in (kwargs or {}).items() if value]  # `inplace=False` is none
        if known is None or options:
            name = getattr(function, "__name__", function)
            raise NotTraceable(f"the operation {name}" + (f" with {', '.join(options)}" if options else ""))
        value = next(arg for arg in args if isinstance(arg, SymbolicValue))
        return value.made(known, *args)

    def __getattr__(self, name: str) -> Any:
        if name in UNARY or name in BINARY:
            return lambda *others: self.made(name, self, *others)
        raise NotTraceable(f"the operation {name}")

    def __bool__(self) -> bool:
        raise NotTraceable("a branch on a value")

    def _compared(self, other: object) -> bool:
        raise NotTraceable("a comparison of values")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compared
    __hash__ = None  # type: ignore[assignment]

    def __abs__(self):
        return self.made("abs", self)

    def __neg__(self):
        return self.made("neg", self)

    def __add__(self, other: Any):
        return self.made("add", self, other)

    def __radd__(self, other: Any):
        return self.made("add", other, self)

    def __sub__(self, other: Any):
        return self.made("sub", self, other)

    def __rsub__(self, other: Any):
        return self.made("sub", other, self)

    def __mul__(self, other: Any):
        return self.made("mul", self, other)

    def __rmul__(self, other: Any):
        return self.made("mul", other, self)

    def __truediv__(self, other: Any):
        return self.made("div", self, other)

    def __rtruediv__(self, other: Any):
        return self.made("div", other, self)

    def __pow__(self, power: Any):
        if power != 2:
            raise NotTraceable(f"the power {power}; only the square is known")
        return self.made("mul", self, self)


class SymbolicParameters:
    """Put in front of a cell's class: its vectors and recurrent products become symbolic values."""

    def recur(self, *gates: str, of: Any, name: str = "U") -> Any:
        """The product as operations; see `Cell.recur`."""
        recorder: Recorder = self.__dict__["_recorder"]
        product = recorder.value("product", of.number, detail=(name, *gates))
        return blocks(gates)(*[recorder.value("block", product.number, detail=i) for i in range(len(gates))])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("p_"):
            return self.__dict__["_recorder"].value("vector", detail=name)
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        raise NotTraceable(f"a step that sets the attribute {name}")
