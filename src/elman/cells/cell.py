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
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells import draws
from elman.cells.cell_check import check_names, check_results
from elman.cells.cell_options import converted
from elman.cells.initialization import Start, initialize
from elman.cells.made_class import ClassOf, new
from elman.cells.replaced_weights import replacements
from elman.errors import UserError

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
        for option, value in converted(self.name, options, self.option_types()).items():
            setattr(self, option, value)
        check_names(self)
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
        parts = self.biases()
        zeros = {gate: torch.zeros(self.size_of(gate)).to(self.weight("b")) for gate in self.gates}
        return torch.cat([*(zeros | parts).values()])

    def biases(self) -> dict[str, Tensor]:
        """The bias of each gate that has one."""
        sizes = [self.size_of(gate) for gate in self.biased]
        return dict(zip(self.biased, self.weight("b").split(sizes), strict=True)) if sizes else {}

    def size_of(self, name: str) -> int:
        """The size of a gate, a state or a vector."""
        return self.sizes.get(name, self.hidden_size)

    @property
    def gate_sizes(self) -> list[int]:
        """The sizes of the gates."""
        sizes = self.sizes
        return [sizes.get(gate, self.hidden_size) for gate in self.gates]

    @property
    def state_sizes(self) -> list[int]:
        """The sizes of the states."""
        sizes = self.sizes
        return [sizes.get(state, self.hidden_size) for state in self.states]

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
        check_results(self, new)

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
            if name in (replaced := replacements(self)):
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
        replaced = replacements(self)
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
        replaced = replacements(self)
        return replaced[name] if name in replaced else getattr(self, name)

    def matrices(self) -> dict[str, Tensor]:
        """The recurrent matrices by name, each (gates H, H), and those of `project`."""
        return {name: value for name, value in self.weights.items() if name not in "Wb" and not name.startswith("p_")}

    def vectors(self) -> dict[str, Tensor]:
        """The vectors `p_...` by name, each (H,)."""
        return {name: value for name, value in self.weights.items() if name.startswith("p_")}

    def reset_parameters(self) -> None:
        """Initializes every parameter; see `start`."""
        initialize(self, self.start)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return new, (ClassOf(type(self)),), self.__getstate__()  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Cell":
        memo[id(self)] = copied = new(type(self))
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, gates={self.gates}, states={self.states}"
