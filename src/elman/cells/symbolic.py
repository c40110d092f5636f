"""Symbolic values: what `step` is called with while it is traced. Each operation on one is recorded instead of run."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.cells import ops
from elman.cells.cell import blocks
from elman.cells.op import BINARY, COMPARISONS, UNARY, Op
from elman.cells.size import Size, relative

_KIND_OF = {function: kind for kind, function in (UNARY | BINARY).items()} | {
    F.relu: "relu", F.sigmoid: "sigmoid", F.tanh: "tanh", torch.true_divide: "div", torch.divide: "div",
    torch.subtract: "sub", torch.multiply: "mul", torch.negative: "neg",
    torch.lt: "lt", torch.less: "lt", torch.le: "le", torch.less_equal: "le", torch.gt: "gt", torch.greater: "gt",
    torch.ge: "ge", torch.greater_equal: "ge", torch.eq: "eq", torch.ne: "ne", torch.not_equal: "ne",
    torch.where: "where",
    Tensor.add: "add", Tensor.sub: "sub", Tensor.mul: "mul", Tensor.div: "div", Tensor.pow: "pow",
    Tensor.__rsub__: "rsub", Tensor.__rtruediv__: "rdiv", Tensor.__rdiv__: "rdiv", Tensor.__rpow__: "rpow",
}  # fmt: skip
_METHODS = {*UNARY, *BINARY, *COMPARISONS}

# functions with more arguments than values, and those that are made of others
_CALLS: dict[Any, Callable[..., Any]] = {
    torch.softmax: lambda v, dim, dtype=None: v.softmax(dim, dtype),
    F.softmax: lambda v, dim=None, _stacklevel=3, dtype=None: v.softmax(dim, dtype),
    torch.cumsum: lambda v, dim: v.cumsum(dim),
    torch.sum: lambda v, dim=None, keepdim=False: v.sum(dim, keepdim),
    torch.mean: lambda v, dim=None, keepdim=False: v.mean(dim, keepdim),
    torch.amax: lambda v, dim=None, keepdim=False: v.amax(dim, keepdim),
    torch.repeat_interleave: lambda v, repeats, dim=None: v.repeat_interleave(repeats, dim),
    torch.clamp: lambda v, min=None, max=None: v.clamp(min, max),
    torch.square: lambda v: v * v,
    torch.reciprocal: lambda v: 1.0 / v,
    torch.rsqrt: lambda v: 1.0 / torch.sqrt(v),
    torch.exp2: lambda v: 2.0**v,
    F.softplus: lambda v, beta=1.0, threshold=20.0: v.softplus() if beta == 1 else (v * beta).softplus() / beta,
    F.silu: lambda v, inplace=False: v * torch.sigmoid(v),
    F.elu: lambda v, alpha=1.0, inplace=False: torch.where(v > 0, v, alpha * (torch.exp(torch.minimum(v, v * 0)) - 1)),
    F.leaky_relu: lambda v, negative_slope=0.01, inplace=False: torch.where(v > 0, v, v * negative_slope),
    F.hardtanh: lambda v, min_val=-1.0, max_val=1.0, inplace=False: v.clamp(min_val, max_val),
    F.hardsigmoid: lambda v, inplace=False: (v / 6 + 0.5).clamp(0, 1),
    F.relu6: lambda v, inplace=False: v.clamp(0, 6),
    F.softsign: lambda v: v / (1 + abs(v)),
    ops.outer: lambda v, k, heads=1: v.made("outer", v, k, detail=v.size(heads)),
    ops.sum_groups: lambda v, size: v.made("sum_groups", v, detail=v.size(size)),
    ops.matvec: lambda m, q, heads=1: m.made("matvec", m, q, detail=m.size(heads)),
}


class NotTraceable(Exception):
    """The step does something that is not one of the known operations; the message names it."""


class Recorder:
    """The operations of a step in the order of their execution. The same operation on the same inputs is recorded
    once."""

    def __init__(self):
        self.ops: list[Op] = []
        self.draws = 0
        self._numbers: dict[Op, int] = {}

    def value(self, kind: str, *inputs: int, detail: Any = None) -> "SymbolicValue":
        """The value of an operation."""
        op = Op(kind, inputs, detail)
        if op not in self._numbers:
            self._numbers[op] = len(self.ops)
            self.ops.append(op)
        return SymbolicValue(self, self._numbers[op])


def _operator(kind: str) -> Callable[..., "SymbolicValue"]:
    """A method of Python's operator, whose first operand is the value."""
    return lambda self, *others: self.made(kind, self, *others)


def _reflected(kind: str) -> Callable[..., "SymbolicValue"]:
    """A method of Python's operator, whose first operand is another."""
    return lambda self, other: self.made(kind, other, self)


class SymbolicValue:
    """Stands for a tensor (B, H) while `step` is traced."""

    def __init__(self, recorder: Recorder, number: int):
        self.recorder, self.number = recorder, number

    def made(self, kind: str, *inputs: Any, detail: Any = None) -> "SymbolicValue":
        """The value of an operation on values and numbers."""
        if kind in ("rsub", "rdiv", "rpow"):
            kind, inputs = kind[1:], inputs[::-1]
        return self.recorder.value(kind, *(self.number_of(value) for value in inputs), detail=detail)

    def size(self, number: Any) -> Size:
        """A size or a number of heads in a graph."""
        try:
            return relative(number)
        except (ValueError, TypeError) as error:
            raise NotTraceable(str(error)) from error

    def number_of(self, value: Any) -> int:
        """The number of the operation that computes an operand."""
        if isinstance(value, SymbolicValue):
            return value.number
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.recorder.value("constant", detail=float(value)).number
        raise NotTraceable(f"a {type(value).__name__} that is neither a number, a gate, a state nor a p_ vector")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> "SymbolicValue":
        if function in _CALLS:
            return _CALLS[function](*args, **(kwargs or {}))
        known = _KIND_OF.get(function)
        options = [name for name, value in (kwargs or {}).items() if value]  # `inplace=False` is none
        if known is None or options:
            name = getattr(function, "__name__", function)
            raise NotTraceable(f"the operation {name}" + (f" with {', '.join(options)}" if options else ""))
        value = next(arg for arg in args if isinstance(arg, SymbolicValue))
        return value.made(known, *args)

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return lambda *others: self.made(name, self, *others)
        raise NotTraceable(f"the operation {name}")

    def __getitem__(self, index: Any) -> "SymbolicValue":
        raise NotTraceable("an index into a value")

    def __bool__(self) -> bool:
        raise NotTraceable("a branch on a value")

    __hash__ = None  # type: ignore[assignment]
    __abs__, __neg__ = _operator("abs"), _operator("neg")
    __lt__, __le__, __gt__, __ge__ = map(_operator, ("lt", "le", "gt", "ge"))
    __eq__, __ne__ = _operator("eq"), _operator("ne")  # type: ignore[assignment]
    __add__, __sub__, __mul__, __truediv__ = map(_operator, ("add", "sub", "mul", "div"))
    __radd__, __rsub__, __rmul__, __rtruediv__, __rpow__ = map(_reflected, ("add", "sub", "mul", "div", "pow"))

    def __pow__(self, power: Any):
        square = not isinstance(power, SymbolicValue) and power == 2
        return self.made("mul", self, self) if square else self.made("pow", self, power)

    def softmax(self, dim: Any, dtype: Any = None):
        """Over the units."""
        return self._over_units("softmax", dim, dtype is None)

    def cumsum(self, dim: Any):
        """Over the units."""
        return self._over_units("cumsum", dim)

    def sum(self, dim: Any = None, keepdim: bool = False):
        """Over the units."""
        return self._over_units("sum", dim, keepdim)

    def mean(self, dim: Any = None, keepdim: bool = False):
        """Over the units."""
        return self._over_units("mean", dim, keepdim)

    def amax(self, dim: Any = None, keepdim: bool = False):
        """Over the units."""
        return self._over_units("amax", dim, keepdim)

    def repeat_interleave(self, repeats: Any, dim: Any = None):
        """Every unit so many times."""
        if dim not in (-1, 1):
            raise NotTraceable("repeat_interleave without dim=-1, the units")
        return self.made("repeat_interleave", self, detail=self.size(repeats))

    def clamp(self, min: Any = None, max: Any = None):
        """Between two bounds."""
        value = self if min is None else self.made("maximum", self, min)
        return value if max is None else value.made("minimum", value, max)

    def where(self, condition: Any, other: Any):
        """Where the condition holds, else another value."""
        return self.made("where", condition, self, other)

    def square(self):
        """Times itself."""
        return self * self

    def _over_units(self, kind: str, dim: Any, right: bool = True) -> "SymbolicValue":
        if dim not in (-1, 1) or not right:
            raise NotTraceable(f"{kind} other than over the units: write dim=-1, keepdim=True")
        return self.made(kind, self)


class SymbolicProduct(SymbolicValue):
    """The product of a matrix, of which only the blocks are values."""

    def chunk(self, count: int, dim: int) -> list[SymbolicValue]:
        """The blocks."""
        return [self.recorder.value("block", self.number, detail=index) for index in range(count)]


def symbolic_inputs(recorder: Recorder, gates: tuple[str, ...]) -> Any:
    """The first argument of a step: the gates, and `raw`, which becomes an operation where it is used."""
    raw = property(lambda _: recorder.value("raw"))
    values = [recorder.value("input", detail=gate) for gate in gates]
    return type("Inputs", (blocks(gates),), {"raw": raw})(*values)


class SymbolicParameters:
    """Put in front of a cell's class: its vectors, its products and its random numbers become symbolic values."""

    def _product(self, names: tuple[str, ...], of: Any, size: int, heads: int) -> Any:
        if not isinstance(of, SymbolicValue):
            raise NotTraceable(f"a product of a {type(of).__name__}")
        product = of.made("product", of, detail=(of.size(size), of.size(heads), *names))
        return SymbolicProduct(product.recorder, product.number)

    def rand_like(self, value: Any, per: str = "step") -> Any:
        """The numbers as an operation; see `Cell.rand_like`."""
        recorder: Recorder = self.__dict__["_recorder"]
        recorder.draws += 1
        return value.made("uniform", value, detail=(recorder.draws - 1, per))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("p_"):
            return self.__dict__["_recorder"].value("vector", detail=name)
        return super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        raise NotTraceable(f"a step that sets the attribute {name}")


def symbolic_vectors(names: Iterable[str]) -> dict[str, Any]:
    """Members of a class in front of a cell's, by which its vectors are symbolic values: an attribute or a property of
    that name, as of a parametrization of torch, is not used."""

    def member(name: str) -> property:
        return property(lambda self: self.__dict__["_recorder"].value("vector", detail=name))

    return {name: member(name) for name in names if name.startswith("p_")}
