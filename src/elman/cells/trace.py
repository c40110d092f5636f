"""From a cell's `step` to its graph: the step is run once on stand-ins that write down what is done to them.

Every value that the equation names is known under that name: an assignment `i = sigmoid(...)` in `step` gives the value
the name `i`, as `tap("i", ...)` does.
"""

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elman.cells.cell import Cell, blocks
from elman.cells.graph import BINARY, SOURCES, UNARY, Graph, Op
from elman.cells.tap import Listener, listening

_KIND_OF = {function: kind for kind, function in (UNARY | BINARY).items()} | {
    F.relu: "relu", F.sigmoid: "sigmoid", F.tanh: "tanh", torch.true_divide: "div", torch.divide: "div",
    torch.subtract: "sub", torch.multiply: "mul", torch.negative: "neg",
    Tensor.add: "add", Tensor.sub: "sub", Tensor.mul: "mul", Tensor.div: "div",
    Tensor.__rsub__: "rsub", Tensor.__rtruediv__: "rdiv", Tensor.__rdiv__: "rdiv",
}  # fmt: skip


class NotTraceable(Exception):
    """The step does something that is not one of the known operations; the message names it."""


class _Value:
    """Stands for a tensor while `step` is traced: every operation on it is written down."""

    def __init__(self, trace: list[Op], op: Op):
        if op in trace:  # the same operation on the same inputs is the same value
            self.number = trace.index(op)
        else:
            self.number = len(trace)
            trace.append(op)
        self.trace = trace

    def made(self, kind: str, *inputs: Any) -> "_Value":
        if kind in ("rsub", "rdiv"):
            kind, inputs = kind[1:], inputs[::-1]
        return _Value(self.trace, Op(kind, tuple(self.number_of(value) for value in inputs)))

    def number_of(self, value: Any) -> int:
        if isinstance(value, _Value):
            return value.number
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _Value(self.trace, Op("constant", (), float(value))).number
        raise NotTraceable(f"a {type(value).__name__} that is neither a number, a gate, a state nor a p_ vector")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> "_Value":
        known = _KIND_OF.get(function)
        options = [name for name, value in (kwargs or {}).items() if value]  # `inplace=False` is none
        if known is None or options:
            name = getattr(function, "__name__", function)
            raise NotTraceable(f"the operation {name}" + (f" with {', '.join(options)}" if options else ""))
        value = next(arg for arg in args if isinstance(arg, _Value))
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


class _Traced:
    """Put in front of a cell's class: its parameters and products become values of the trace."""

    def recur(self, *gates: str, of: Any, name: str = "U") -> Any:
        trace = self.__dict__["_trace"]
        product = _Value(trace, Op("product", (of.number,), (name, *gates)))
        return blocks(gates)(*[_Value(trace, Op("block", (product.number,), i)) for i in range(len(gates))])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("p_"):
            return _Value(self.__dict__["_trace"], Op("vector", (), name))
        return super().__getattr__(name)  # type: ignore[misc]


def trace(cell: Cell) -> Graph:
    """The graph of a cell's step. Raises NotTraceable, naming what is not a known operation."""
    stored = getattr(cell, "graph", None)
    if isinstance(stored, Graph):
        return stored
    with _random_numbers_kept():
        graph = _traced(cell)
        if _traced(cell) != graph:
            raise NotTraceable("a step that is another at every call")
    return graph


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """What a step draws while it is traced is drawn again afterwards: that it was traced changes no training."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 - a cell may draw from it
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)  # noqa: NPY002


def _traced(cell: Cell) -> Graph:
    written: list[Op] = []
    double = object.__new__(type("Traced", (_Traced, type(cell)), {}))
    double.__dict__.update(cell.__dict__, _trace=written)
    x = blocks(cell.gates)(*[_Value(written, Op("input", (), gate)) for gate in cell.gates])
    state = [_Value(written, Op("state", (), name)) for name in cell.states]
    try:
        new, local = _call(double.step, x, *state)
    except NotTraceable:
        raise
    except Exception as error:
        raise NotTraceable(f"{type(error).__name__}: {error}") from error
    if not isinstance(new, Sequence) or not all(isinstance(value, _Value) for value in new):
        raise NotTraceable("a new state that is not computed from the gates and states")
    names = {name: value.number for name, value in zip(cell.states, new, strict=True)}
    for name, value in local.items():  # one name for a value: as a state, else as it was tapped, else as a variable
        if written[value.number].kind not in SOURCES and value.number not in names.values():
            names.setdefault(name, value.number)
    return Graph(cell.gates, cell.states, tuple(written), tuple(value.number for value in new), names)


def said(cell: Cell) -> list[str]:
    """The names under which the values of a step are known; of a step that cannot be traced its taps and states."""
    try:
        return list(trace(cell).names)
    except NotTraceable:
        listener, zero = Listener({}), cell.W.new_zeros(1, cell.hidden_size)
        with listening(listener), torch.no_grad():
            cell.step(blocks(cell.gates)(*[zero for _ in cell.gates]), *[zero for _ in cell.states])
        return [*listener.values, *cell.states]


def _call(step: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, _Value]]:
    """Calls `step`; also returns the values that its local variables, and its taps, gave a name."""
    code, local = inspect.unwrap(step).__code__, {}

    class Names:
        def __call__(self, name: str, value: Any) -> Any:
            local[name] = value
            return value

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            local.update({name: value for name, value in frame.f_locals.items() if isinstance(value, _Value)})

    before = sys.getprofile()
    with listening(Names()):  # type: ignore[arg-type]
        sys.setprofile(watch)
        try:
            return step(*args), local
        finally:
            sys.setprofile(before)
