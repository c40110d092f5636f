"""The contract of a cell: one step of recurrence, written as its equation.

    class MGU(Cell, name="mgu"):
        gates = ("f", "n")                                    # named blocks of W and b: x.f is W_f x + b_f

        def step(self, x, h):
            f = sigmoid(x.f + self.recur("f", of=h).f)        # U_f h
            n = tanh(x.n + self.recur("n", of=f * h).n)       # U_n (f h)
            return ((1 - f) * h + f * n,)                     # the new states; the first is the output

Nothing else is declared: the recurrent matrices and vectors are found by running `step` once on zeros, so a gate
without a recurrent product has no recurrent weights.
"""

import functools
import keyword
import math
from collections import namedtuple
from collections.abc import Mapping
from typing import Any, ClassVar, get_args, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.errors import UserError, unknown

Start = Mapping[str, float | str]


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
    - `p_i` (H,): the vector `self.p_i`
    """

    gates: ClassVar[tuple[str, ...]] = ()
    states: ClassVar[tuple[str, ...]] = ("h",)
    at_one: ClassVar[Mapping[str, str]] = {}  # the effect of a gate in [0, 1] at 1, in a word: {"f": "keep"}
    registered: ClassVar[dict[str, type["Cell"]]] = {}
    name: ClassVar[str] = ""

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
        self.W = nn.Parameter(torch.empty(len(self.gates) * hidden_size, input_size))
        self.b = nn.Parameter(torch.empty(len(self.gates) * hidden_size))
        self._declare()
        self.reset_parameters()

    def step(self, x: Any, *state: Any, **_: Any) -> tuple[Tensor, ...]:
        """The equation. `x.i` is gate i's block of the input projection, `W_i x + b_i`, (B, H); every state is (B, H).
        Returns the new states in the order of `states`; the first is the output. A step must depend on nothing but its
        arguments, the parameters, the options and the mode (`self.training`), or it cannot be traced."""
        raise NotImplementedError(f"{type(self).__name__} has no equation: define step(self, x, *state)")

    def recur(self, *gates: str, of: Any, name: str = "U") -> Any:
        """Named blocks of the product of a recurrent matrix with `of` (B, H): `u.i` is `U_i @ of`. The same gates and
        name in one step are the same matrix; a second matrix of the same gates needs another `name`."""
        return self.split(gates, F.linear(of, self._matrix("_".join((name, *gates)), len(gates))))

    def split(self, names: tuple[str, ...], value: Tensor) -> Any:
        """The blocks of the last axis, (..., G H) as G named tensors (..., H)."""
        return blocks(names)(*value.chunk(len(names), -1))

    def project(self, x: Tensor) -> Tensor:
        """The input projection `W x + b`: (..., I) to (..., G H)."""
        return F.linear(x, self.W, self.b)

    @property
    def start(self) -> Start:
        """The initialization where it differs from the default: of a gate's bias (`"f": 1.0`; default 0), of a vector
        (`"p_f": 1.0`; default 0), of the recurrent matrices (`"U": "identity"`; default orthogonal, gate by gate), or
        the standard deviation of the input weights (`"W": 0.001`; default Glorot uniform, gate by gate)."""
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

    def _declare(self) -> None:
        """Runs `step` once on zeros; `recur` and `p_...` create the parameters that it uses."""
        for names in (self.gates, self.states):
            if not names or len(set(names)) < len(names) or not all(map(_is_name, names)):
                raise UserError(f"the gates and the states of the cell {self.name} must each be different words of "
                                f"letters and digits, at least one, not {names}")  # fmt: skip
        state = [torch.zeros(1, self.hidden_size) for _ in self.states]
        x = blocks(self.gates)(*[torch.zeros(1, self.hidden_size) for _ in self.gates])
        self.__dict__["_declaring"] = True
        try:
            with torch.no_grad():
                new = self.step(x, *state)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"the cell {self.name} cannot take a step: {type(error).__name__}: {error}; its gates are "
                            f"{', '.join(self.gates)}, its states {', '.join(self.states)}") from error  # fmt: skip
        finally:
            del self.__dict__["_declaring"]
        right = isinstance(new, tuple) and len(new) == len(state)
        if not right or any(not isinstance(s, Tensor) or s.shape != state[0].shape for s in new):
            raise UserError(f"the step of the cell {self.name} must return a tuple with the {len(state)} new states "
                            f"({', '.join(self.states)}), each (B, hidden_size)")  # fmt: skip

    def _matrix(self, name: str, count: int) -> nn.Parameter:
        if "_declaring" in self.__dict__ and name not in self._parameters:
            self._parameters[name] = nn.Parameter(torch.zeros(count * self.hidden_size, self.hidden_size))
        return getattr(self, name)

    def __getattr__(self, name: str) -> Any:
        # nn.Module calls this for parameters; while the step is declared, a missing vector is created
        if name.startswith("p_") and "_declaring" in self.__dict__ and name not in self._parameters:
            self._parameters[name] = nn.Parameter(torch.zeros(self.hidden_size))
        return super().__getattr__(name)

    def matrices(self) -> dict[str, nn.Parameter]:
        """The recurrent matrices by name, each (gates H, H)."""
        return {name: value for name, value in self.named_parameters() if value.dim() == 2 and name != "W"}

    def vectors(self) -> dict[str, nn.Parameter]:
        """The vectors `p_...` by name, each (H,)."""
        return {name: value for name, value in self.named_parameters() if name.startswith("p_")}

    def reset_parameters(self) -> None:
        """Initializes every parameter; see `start`."""
        start, size = dict(self.start), self.hidden_size
        with torch.no_grad():
            for rows in self.W.split(size):
                if "W" in start:
                    rows.normal_(0.0, float(start["W"]))
                else:
                    rows.uniform_(-1, 1).mul_(math.sqrt(6 / (self.input_size + size)))
            for gate, rows in zip(self.gates, self.b.split(size), strict=True):
                rows.fill_(start.get(gate, 0.0))  # type: ignore[arg-type]
            for matrix in self.matrices().values():
                for rows in matrix.split(size):
                    _INITIALIZERS[str(start.get("U", "orthogonal"))](rows)
            for name, vector in self.vectors().items():
                vector.fill_(start.get(name, 0.0))  # type: ignore[arg-type]
        known = {"W", "U", *self.gates, *self.vectors()}
        if not known >= start.keys():
            raise unknown(f"entry of {self.name}.start", (start.keys() - known).pop(), known)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, gates={self.gates}, states={self.states}"


_INITIALIZERS = {"orthogonal": nn.init.orthogonal_, "identity": nn.init.eye_}


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
