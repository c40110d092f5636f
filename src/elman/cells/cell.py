"""The contract of a cell: one step of recurrence, written as its equation.

    class MGU(Cell, name="mgu"):
        gates = ("f", "n")                                    # named blocks of W and b: x.f is W_f x + b_f

        def step(self, x, h):
            f = sigmoid(x.f + self.recur("f", of=h).f)        # U_f h
            n = tanh(x.n + self.recur("n", of=f * h).n)       # U_n (f h)
            return ((1 - f) * h + f * n,)                     # the new states; the first is the output

Nothing else is declared: the recurrent matrices and vectors are found by running `step` once on zeros, so a gate
without a recurrent product has no recurrent weights.

All is of size H unless a size is given: of a gate, a state or a vector by the property `sizes`, of a product by
`size=`. `x.raw` is the input itself, (B, I).
"""

import copy
import functools
import keyword
import math
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, get_args, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells import draws
from elman.errors import UserError, unknown

Start = Mapping[str, float | str | Tensor | Callable[[Tensor], Any]]
Period = Literal["step", "sequence"]


@functools.cache
def blocks(names: tuple[str, ...]) -> Any:
    """The tuple type whose fields are gates, as in `x.i` and `u.f`."""
    return namedtuple("blocks", names)


class Cell(nn.Module):
    """One step of recurrence: named gates, named states, `step(x, *state) -> state`.

    A class attribute with an annotation is an option (`forget_bias: float = 1.0`), set by `Cell(..., forget_bias=0)`
    or, in a name, by `lstm:forget_bias=0`.

    Parameters of a cell, I the input size and H the hidden size:

    - `W` (G H, I) and `b` (G H,): a block of H rows for each of the G gates, in the order of `gates`
    - `U_i_f_g_o` (4 H, H): the matrix of `self.recur("i", "f", "g", "o", of=h)`, blocks in the order of the call
    - `W_q` (H, I): the matrix of `self.project("q", of=...)`, for what is computed from `x.raw`
    - `p_i` (H,): the vector `self.p_i`

    Class attributes:

    - gates: the names of the blocks of W; states: those of the states, the first of which is the output
    - output: the name of an output that is not a state; `step` returns it before the new states
    - bias: whether the gates have a bias, or the gates that have one
    """

    gates: ClassVar[tuple[str, ...]] = ()
    states: ClassVar[tuple[str, ...]] = ("h",)
    output: ClassVar[str] = ""
    bias: ClassVar[bool | tuple[str, ...]] = True
    at_one: ClassVar[Mapping[str, str]] = {}  # the effect of a gate in [0, 1] at 1, in a word: {"f": "keep"}
    registered: ClassVar[dict[str, type["Cell"]]] = {}
    name: ClassVar[str] = ""
    made_by: ClassVar[tuple[Any, ...]]  # the function that has made this class at run time, with its arguments

    def __init_subclass__(cls, name: str = "", **keywords):
        super().__init_subclass__(**keywords)
        cls.name = name or cls.__name__
        if name:
            other = Cell.registered.get(name, cls)
            if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise TypeError(f"two cells are named '{name}': {other.__qualname__} and {cls.__qualname__}")
            Cell.registered[name] = cls  # a class that is defined again, in a notebook, replaces itself

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise UserError(
                f"the sizes of a cell must be above 0, not input_size={input_size}, hidden_size={hidden_size}"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        for option, value in self._options(options).items():
            setattr(self, option, value)
        self._check_names()
        self.weight_names, self.projections = list[str](), set[str]()
        if self.gates:
            self._declare_parameter("W", sum(self.gate_sizes), input_size)
        if self.biased:
            self._declare_parameter("b", sum(map(self.size_of, self.biased)))
        self._declare()
        if not self.weight_names:
            raise UserError(f"the cell {self.name} has no gate, matrix or vector: nothing to train")
        self.reset_parameters()

    def forward(self, x: Tensor, state: tuple[Tensor, ...], unroll: Callable[..., Any]) -> Any:
        """`unroll(x, state)`. A layer calls its cells, so that the hooks of PyTorch run, as those of
        `torch.nn.utils.weight_norm`."""
        return unroll(x, state)

    def step(self, x: Any, *state: Any, **_: Any) -> tuple[Tensor, ...]:
        """The equation. `x.i` is gate i's block of the input projection, `W_i x + b_i`, (B, H), and `x.raw` the input
        (B, I); every state is (B, H). Returns the new states in the order of `states`, before them the output where it
        is not the first of them. A step must depend on nothing but its arguments, the parameters, the options and the
        mode (`self.training`), or it cannot be traced."""
        raise NotImplementedError(f"{type(self).__name__} has no equation: define step(self, x, *state)")

    @property
    def sizes(self) -> Mapping[str, int]:
        """The sizes of the gates, states and vectors that have not `hidden_size` values: `{"h": 64, "p_gain": 64}`."""
        return {}

    def recur(self, *gates: str, of: Any, name: str = "U", size: int | None = None, heads: int = 1) -> Any:
        """Named blocks of the product of a matrix with `of`, (B, H) or of any other size: `u.i` is `U_i @ of`.

        The same gates and name in one step are the same matrix; a second matrix of the same gates needs another `name`.

        - size: of a block, `hidden_size` unless given
        - heads: the matrix is block-diagonal: `of` and every block of the result are divided into so many parts, and
          each part of the result is computed from one part of `of` alone
        """
        return self.split(gates, self._product((name, *gates), of, self.hidden_size if size is None else size, heads))

    def project(self, *gates: str, of: Any, name: str = "W", size: int | None = None, heads: int = 1) -> Any:
        """`recur` for what is computed from the input, `of=x.raw * q`: a matrix that starts as those of the input do,
        and is not one of the recurrent ones."""
        self.projections.add("_".join((name, *gates)))
        return Cell.recur(self, *gates, of=of, name=name, size=size, heads=heads)

    def rand_like(self, value: Any, per: Period = "step") -> Any:
        """Uniform random numbers in [0, 1) of the size of `value`, new ones in each step, or the same in all steps of a
        sequence; the same in every backend. They come from a seed that torch's generator draws."""
        return draws.rand_like(value, per)

    def dropout(self, value: Any, p: float, per: Period = "step") -> Any:
        """In training `value` with every entry set to 0 with probability `p`, the rest divided by 1 - p; in evaluation
        `value`. See `rand_like`."""
        if not self.training or not p:
            return value
        return torch.where(self.rand_like(value, per) < p, 0.0, value / (1 - p))

    def split(self, names: Sequence[str], value: Tensor, sizes: Sequence[int] | None = None) -> Any:
        """The blocks of the last axis by their names, all of one size unless `sizes` are given."""
        return blocks(tuple(names))(*(value.chunk(len(names), -1) if sizes is None else value.split(sizes, -1)))

    def input_projection(self, x: Tensor) -> Tensor:
        """`W x + b`: (..., I) to (..., G H)."""
        return F.linear(x, self.weight("W"), self.full_bias) if self.gates else x[..., :0]

    def inputs(self, x: Tensor, projected: Tensor | None = None) -> Any:
        """The first argument of `step` for an input (B, I), whose projection may be given."""
        projected = self.input_projection(x) if projected is None else projected
        return blocks((*self.gates, "raw"))(*projected.split(self.gate_sizes, -1), x)

    @property
    def biased(self) -> tuple[str, ...]:
        """The gates with a bias."""
        return self.bias if isinstance(self.bias, tuple) else self.gates if self.bias else ()

    @property
    def full_bias(self) -> Tensor | None:
        """The bias of all gates, 0 for those without; None where no gate has one."""
        if not self.biased:
            return None
        if self.biased == self.gates:
            return self.weight("b")
        parts = self._biases()
        zeros = {gate: torch.zeros(self.size_of(gate)).to(self.weight("b")) for gate in self.gates}
        return torch.cat([*(zeros | parts).values()])

    def _biases(self) -> dict[str, Tensor]:
        sizes = [self.size_of(gate) for gate in self.biased]
        return dict(zip(self.biased, self.weight("b").split(sizes), strict=True)) if sizes else {}

    def size_of(self, name: str) -> int:
        """The size of a gate, a state or a vector."""
        return self.sizes.get(name, self.hidden_size)

    @property
    def gate_sizes(self) -> list[int]:
        """The sizes of the gates."""
        return [self.size_of(gate) for gate in self.gates]

    @property
    def state_sizes(self) -> list[int]:
        """The sizes of the states."""
        return [self.size_of(state) for state in self.states]

    @property
    def output_size(self) -> int:
        """The size of the output."""
        return self.size_of(self.output or self.states[0])

    def zero_state(self, rows: int) -> tuple[Tensor, ...]:
        """States of zeros."""
        return tuple(torch.zeros(rows, size, dtype=self.dtype, device=self.device) for size in self.state_sizes)

    def result(self, new: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The output and the new states, from what `step` returned."""
        return new[0], new[1:] if self.output else new

    @property
    def start(self) -> Start:
        """The initialization where it differs from the default, by the name of a parameter.

        - a gate, for its bias (default 0), or a vector `p_f` (default 0): a number, a tensor, or a function that fills
          a tensor, as those of `torch.nn.init`
        - `U` for all recurrent matrices, gate by gate (default `"orthogonal"`), or one by its name `U_i_f`: also
          `"identity"`
        - `W` for the input weights, gate by gate (default Glorot uniform): a number is a standard deviation
        """
        return {}

    @classmethod
    @functools.cache
    def option_types(cls) -> dict[str, Any]:
        """The options of this cell and their types."""
        hints = get_type_hints(cls)
        return {
            name: hints[name]
            for base in reversed(cls.__mro__)
            if issubclass(base, Cell) and base is not Cell
            for name in vars(base).get("__annotations__", {})
            if not str(hints[name]).startswith("typing.ClassVar")
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options of this cell and their values."""
        return {name: getattr(self, name) for name in self.option_types()}

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        types = self.option_types()
        for name in given:
            if name not in types:
                raise unknown(f"option of the cell {self.name}", name, types)
        return {name: _convert(f"{self.name}:{name}", given[name], types[name]) for name in given}

    def _check_names(self) -> None:
        lists = {"gates": (self.gates, 0), "states": (self.states, 1)}
        for what, (names, least) in lists.items():
            if len(names) < least or len(set(names)) < len(names) or not all(map(_is_name, names)):
                raise UserError(f"the {what} of the cell {self.name} must each be different words of letters and "
                                f"digits{', at least one' if least else ''}, not {names}")  # fmt: skip
        if "raw" in self.gates:
            raise UserError(f"no gate of the cell {self.name} can be named raw: x.raw is the input itself")
        if not set(self.biased) <= set(self.gates):
            raise unknown(f"gate in {self.name}.bias", (set(self.biased) - set(self.gates)).pop(), self.gates)
        for name, size in self.sizes.items():
            if name == "raw" and size == self.input_size:
                continue
            if name == "raw":
                raise UserError(f"the cell {self.name} needs input_size={size}, not {self.input_size}")
            known = (*self.gates, *self.states, self.output)
            if name not in known and not name.startswith("p_"):
                raise unknown(f"gate or state in {self.name}.sizes", name, [*known, "p_..."])
            if not isinstance(size, int) or size < 1:
                raise UserError(f"{self.name}.sizes: the size of {name} must be an integer above 0, not {size}")

    def _declare(self) -> None:
        """Runs `step` once on zeros; `recur` and `p_...` create the parameters that it uses."""
        state = [torch.zeros(1, size) for size in self.state_sizes]
        x = self.inputs(torch.zeros(1, self.input_size), torch.zeros(1, sum(self.gate_sizes)))
        self.__dict__["_declaring"] = True
        try:
            with torch.no_grad(), draws.drawing(draws.Draws(0)):  # torch's generator is that of the weights
                new = self.step(x, *state)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"the cell {self.name} cannot take a step: {type(error).__name__}: {error}; its gates are "
                            f"{', '.join(self.gates) or 'none'}, its states "
                            f"{', '.join(self.states)}") from error  # fmt: skip
        finally:
            del self.__dict__["_declaring"]
        expected = [(self.output, self.output_size)] if self.output else []
        expected += zip(self.states, self.state_sizes, strict=True)
        right = isinstance(new, tuple) and len(new) == len(expected)
        if not right or any(
            not isinstance(value, Tensor) or value.shape != (1, size)
            for value, (_, size) in zip(new, expected, strict=True)
        ):
            names = ", ".join(f"{name} (B, {size})" for name, size in expected)
            tensors = f"{len(expected)} tensor{'s' if len(expected) > 1 else ''}"
            raise UserError(f"the step of the cell {self.name} must return a tuple of {tensors}, "
                            f"{'the output and ' if self.output else ''}the new states: {names}")  # fmt: skip

    def _product(self, names: tuple[str, ...], of: Tensor, size: int, heads: int) -> Tensor:
        """The matrix of this name and these gates, made at the first call, times `of`."""
        columns, count = of.shape[-1], len(names) - 1
        if size < 1 or heads < 1 or columns % heads or size % heads:
            raise UserError(f"the sizes of a product, {columns} and {size}, must be multiples of heads={heads}")
        matrix = self._parameter("_".join(names), count * size, columns // heads)
        if heads == 1:
            return F.linear(of, matrix)
        parts = matrix.view(count, heads, size // heads, columns // heads)
        return torch.einsum("ghij,...hj->...ghi", parts, of.unflatten(-1, (heads, -1))).flatten(-3)

    def _parameter(self, name: str, *shape: int) -> Tensor:
        if "_declaring" in self.__dict__ and name not in self._parameters:
            self._declare_parameter(name, *shape)
        return self.weight(name)

    def _declare_parameter(self, name: str, *shape: int) -> None:
        self._parameters[name] = nn.Parameter(torch.zeros(shape))
        self.weight_names.append(name)

    def __getattr__(self, name: str) -> Any:
        # nn.Module calls this for parameters; while the step is declared, a missing vector is created
        if name.startswith("p_"):
            if "_declaring" in self.__dict__ and name not in self._parameters:
                return self._parameter(name, self.size_of(name))
            if name in (replaced := _replacements(self)):
                return replaced[name]
        return super().__getattr__(name)

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return self._any_weight().dtype

    @property
    def device(self) -> torch.device:
        """That of the weights."""
        return self._any_weight().device

    def _any_weight(self) -> Tensor:
        replaced = _replacements(self)
        for name in self.weight_names:
            if name in replaced or name in self._parameters:  # any other may have to be computed
                return self.weight(name)
        return self.weight(self.weight_names[0])

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights by name: W, b, the matrices and the vectors. Parameters, or what a parametrization of torch
        computes from some, or those of `weights_replaced`."""
        return {name: self.weight(name) for name in self.weight_names}

    def recurrent_matrices(self) -> dict[str, Tensor]:
        """The matrices of `recur`, without those of `project`."""
        return {name: value for name, value in self.matrices().items() if name not in self.projections}

    def weight(self, name: str) -> Tensor:
        """A weight by its name; see `weights`."""
        replaced = _replacements(self)
        return replaced[name] if name in replaced else getattr(self, name)

    def matrices(self) -> dict[str, Tensor]:
        """The recurrent matrices by name, each (gates H, H), and those of `project`."""
        return {name: value for name, value in self.weights.items() if name not in "Wb" and not name.startswith("p_")}

    def vectors(self) -> dict[str, Tensor]:
        """The vectors `p_...` by name, each (H,)."""
        return {name: value for name, value in self.weights.items() if name.startswith("p_")}

    def reset_parameters(self) -> None:
        """Initializes every parameter; see `start`."""
        start = dict(self.start)
        known = {"W", "U", *self.biased, *self.matrices(), *self.vectors()}
        if not known >= start.keys():
            raise unknown(f"entry of {self.name}.start", (start.keys() - known).pop(), known)
        with torch.no_grad():
            for rows in self.W.split(self.gate_sizes) if self.gates else ():
                _fill(rows, start.get("W", _glorot))
            for gate, rows in self._biases().items():
                _fill(rows, start.get(gate, 0.0))
            for name, matrix in self.matrices().items():
                _, *gates = name.split("_")
                if name in start:
                    _fill(matrix, start[name])
                    continue
                for rows in matrix.chunk(len(gates)):
                    _fill(rows, start.get("W", _glorot) if name in self.projections else start.get("U", "orthogonal"))
            for name, vector in self.vectors().items():
                _fill(vector, start.get(name, 0.0))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _new, (_ClassOf(type(self)),), self.__getstate__()  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Cell":
        memo[id(self)] = copied = _new(type(self))
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, gates={self.gates}, states={self.states}"


_replaced: ContextVar[Mapping[int, Mapping[str, Tensor]] | None] = ContextVar("weights", default=None)


def _replacements(cell: Cell) -> Mapping[str, Tensor]:
    if torch.compiler.is_dynamo_compiling():  # which knows no ContextVar; weights are arguments there
        return {}
    return (_replaced.get() or {}).get(id(cell), {})


@contextmanager
def weights_replaced(cell: Cell, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, the cell has these weights instead of its own of the same names."""
    others = _replaced.get() or {}
    token = _replaced.set({**others, id(cell): {**others.get(id(cell), {}), **weights}})
    try:
        yield
    finally:
        _replaced.reset(token)


def subclass(kind: type[Cell], made_by: tuple[Any, ...], **members: Any) -> type[Cell]:
    """A cell of the same name and options with some members of its own. made_by: the function that makes this class
    with its arguments, for pickle."""
    own = {**members, "__doc__": kind.__doc__, "__module__": kind.__module__, "made_by": made_by}
    made = type(kind.__name__, (kind,), own)
    made.name = kind.name
    return made


class _ClassOf:
    """Pickled in place of the class of a cell, which may have been made at run time."""

    def __init__(self, kind: type[Cell]):
        self.kind = kind

    def __reduce__(self) -> Any:
        made_by = vars(self.kind).get("made_by")
        if made_by is None:
            return _itself, (self.kind,)
        function, *arguments = made_by
        return function, tuple(_ClassOf(value) if isinstance(value, type) else value for value in arguments)


def _itself(kind: type[Cell]) -> type[Cell]:
    return kind


def _new(kind: type[Cell] | _ClassOf) -> Cell:
    kind = kind.kind if isinstance(kind, _ClassOf) else kind  # of copy.copy, which pickles nothing
    return kind.__new__(kind)


_INITIALIZERS = {"orthogonal": nn.init.orthogonal_, "identity": nn.init.eye_}


def _glorot(matrix: Tensor) -> None:
    matrix.uniform_(-1, 1).mul_(math.sqrt(6 / sum(matrix.shape)))


def _fill(parameter: Tensor, start: Any) -> None:
    """Gives a parameter its initial value; see `Cell.start`."""
    if isinstance(start, str):
        if start not in _INITIALIZERS:
            raise unknown("initialization", start, _INITIALIZERS)
        _INITIALIZERS[start](parameter)
    elif isinstance(start, Tensor):
        if start.shape != parameter.shape:
            raise UserError(f"an initial value must be {tuple(parameter.shape)}, not {tuple(start.shape)}")
        parameter.copy_(start)
    elif callable(start):
        start(parameter)
    elif parameter.dim() == 2:
        parameter.normal_(0.0, float(start))
    else:
        parameter.fill_(start)


def _is_name(word: str) -> bool:
    """Whether a word can name a gate: an identifier without _, which joins the gates in the name of a matrix."""
    return word.isidentifier() and "_" not in word and not keyword.iskeyword(word)


def _convert(what: str, value: Any, kind: Any) -> Any:
    """The value of an option converted to its type: of `rhn:depth=3` it is the text '3'."""
    choices = {"true": True, "false": False} if kind is bool else {str(choice): choice for choice in get_args(kind)}
    if choices:
        text = str(value).lower() if kind is bool else str(value)
        if text not in choices:
            raise unknown(f"value of {what}", text, choices)
        return choices[text]
    try:
        converted = kind(value)
        exact = math.isfinite(float(value)) and converted == float(value) if kind in (int, float) else True
    except (ValueError, TypeError, OverflowError):
        exact = False
    if not exact:
        raise UserError(f"{what}={value} must be a finite {getattr(kind, '__name__', kind)}")
    return converted  # type: ignore[possibly-unbound]
