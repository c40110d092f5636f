"""The backend of generated kernels: any cell that can be traced, on the CPU, as fast as a built-in one."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import pad

from elman.cells.cell import Cell
from elman.cells.tap import Record, holding, record, recording
from elman.cells.trace import NotTraceable, signature, trace
from elman.kernels.compiler import NoKernel
from elman.kernels.kernel import Kernel
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent.backend import Span, States
from elman.recurrent.decoder import Decoder
from elman.recurrent.loop import Loop, starts

LARGEST_TABLE = 1 << 26  # numbers: what a decoder may hold of all tokens' shares of the input


class Fused:
    """One call of the cell's own kernel for all steps; see `elman.kernels`. A gradient that shall have a gradient
    itself comes from the loop.

    All products are torch's brgemm: those of the input and of the weights' gradients for some steps at a time, while
    what they need is still in the processor's cache.
    """

    name = "fused"

    def refuses(self, cell: Cell, span: Span) -> str | None:
        if cell.W.device.type != "cpu":
            return f"it runs on the CPU, not on {cell.W.device.type}"
        if _dtype(cell) not in (torch.float32, torch.float64, torch.bfloat16):
            return f"it has no {str(_dtype(cell)).removeprefix('torch.')}"
        if holding():
            return "a held unit would change the equation"
        if not torch._C._get_mkldnn_enabled():
            return "its products are oneDNN's, and mkldnn is switched off"
        kernel = _kernel(cell)
        return kernel if isinstance(kernel, str) else None

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        return _run(cell, Weights(cell, _made(cell)), span)

    def stepper(self, cell: Cell, place: str) -> Callable[[Tensor, States], States]:
        weights = Weights(cell, _made(cell))
        single = functools.cache(lambda rows, dtype: _Single(weights, rows, dtype))

        def advance(x: Tensor, state: States) -> States:
            if torch.is_grad_enabled() or recording() is not None:
                return _run(cell, weights, Span(x[:, None], state, state, place=place))[1]
            return single(len(x), state[0].dtype)(x, state)

        return advance

    def decoder(self, cells: list[Cell], lookup: Tensor, head: nn.Linear, residual: bool) -> Decoder | None:
        """What writes tokens without coming back to Python after each; None where only `stepper` does. All cells are of
        one kind; lookup (V, I)."""
        kernels = [_made(cell) for cell in cells]
        table = len(lookup) * len(cells[0].b)
        if recording() is not None or kernels[0].dtype != torch.float32 or table > LARGEST_TABLE:
            return None
        return Decoder(
            [Weights(cell, kernel) for cell, kernel in zip(cells, kernels, strict=True)], lookup, head, residual
        )


_kernels: WeakKeyDictionary[Cell, dict[Any, Kernel | str]] = WeakKeyDictionary()
_by_graph: dict[Any, Kernel | str] = {}


def _dtype(cell: Cell) -> torch.dtype:
    """What the cell is to be computed in."""
    autocast = cell.W.dtype == torch.float32 and torch.is_autocast_enabled("cpu")
    return torch.get_autocast_dtype("cpu") if autocast else cell.W.dtype


def _kernel(cell: Cell) -> Kernel | str:
    """The kernel for this cell as it is called now, or why there is none."""
    dtype = _dtype(cell)
    if dtype == torch.bfloat16 and (cell.hidden_size % 2 or not bfloat16_hardware(cell.W.device)):
        dtype = torch.float32  # brgemm takes the rows of bfloat16 in pairs
    key = (dtype, recording() is not None, signature(cell))
    known = _kernels.setdefault(cell, {})
    if key not in known:
        known[key] = _make(cell, dtype, recording() is not None)
    return known[key]


def _make(cell: Cell, dtype: torch.dtype, recorded: bool) -> Kernel | str:
    try:
        graph = trace(cell)
    except NotTraceable as reason:
        return f"its equation cannot be traced: {reason}"
    key = (repr(graph), dtype, recorded)
    if key not in _by_graph:
        try:
            _by_graph[key] = Kernel(graph, dtype, recorded)
        except NoKernel as reason:
            _by_graph[key] = str(reason)
    return _by_graph[key]


def _made(cell: Cell) -> Kernel:
    kernel = _kernel(cell)
    assert isinstance(kernel, Kernel)
    return kernel


class Weights:
    """The weights of a cell as a kernel wants them."""

    def __init__(self, cell: Cell, kernel: Kernel):
        self.kernel, self.program = kernel, kernel.program
        self.inputs, self.hidden = cell.input_size, cell.hidden_size
        self.matrices, self.vectors = cell.matrices(), cell.vectors()
        self.parameters = [cell.W, cell.b, *self.matrices.values(), *self.vectors.values()]
        self.padded = cell.input_size % 2 if kernel.dtype == torch.bfloat16 else 0  # brgemm takes bfloat16 in pairs
        with torch.no_grad():
            self.b = cell.b.to(kernel.computed)
            vectors = [self.vectors[name].to(kernel.computed) for name in self.program.vectors]
            self.stacked = torch.stack(vectors) if vectors else None
            self.W = kernel.packed(self._padded(cell.W), self.hidden)
        self.forward = [
            kernel.packed(self.matrices[name], self.hidden) for name in map(self.name, self.program.products)
        ]

    @cached_property
    def backward(self) -> tuple[Tensor, list[Tensor]]:
        """W, and a piece of a recurrent matrix for each of the program's runs, for the backward pass."""
        pieces = [self.rows(product, block, length) for product, block, _, length in self.program.runs]
        pieces = [self.matrices[name][rows] for name, rows in pieces]
        return self.kernel.packed(self._padded(self.parameters[0])), [self.kernel.packed(piece) for piece in pieces]

    def memory(self, rows: int) -> dict[str, Tensor]:
        """What one step of so many rows needs, when no gradient will be asked for."""
        kernel, shape = self.kernel, (rows, self.hidden)
        vectors = {} if self.stacked is None else {"vectors": self.stacked}
        return vectors | {
            "x": torch.zeros(1, rows, self.inputs + self.padded, dtype=kernel.dtype), "W": self.W, "bias": self.b,
            "y": torch.empty(1, *shape, dtype=kernel.dtype),
            "state": torch.empty(2, len(self.program.states), *shape, dtype=kernel.computed),
            "stored": torch.empty(len(kernel.source.stored), 2, *shape, dtype=kernel.dtype),
            "row_stored": torch.empty(len(kernel.source.row_stored), 2, rows, dtype=kernel.computed),
        }  # fmt: skip

    def one_step(self, rows: int) -> dict[str, int]:
        """The numbers of a call of one step, of one thread."""
        return {
            "T": 1, "B": rows, "I": self.inputs + self.padded, "H": self.hidden, "places": 2, "y_step": 0,
            "y_row": self.hidden, "row_parts": 1, "column_parts": 1, "reverse": 0,
        }  # fmt: skip

    def name(self, product: int) -> str:
        """The name of a product's matrix."""
        return "_".join(self.program.ops[product].detail)

    def rows(self, product: int, block: int, length: int) -> tuple[str, slice]:
        """Some blocks of a product: the matrix and its rows."""
        return self.name(product), slice(block * self.hidden, (block + length) * self.hidden)

    def _padded(self, W: Tensor) -> Tensor:
        return pad(W.detach(), (0, self.padded)) if self.padded else W


@dataclass(frozen=True)
class _How:
    """What a call has beside tensors that have gradients."""

    cell: Cell
    weights: Weights
    span: Span
    lengths: Tensor | None
    fresh: Tensor | None  # (T, B) uint8
    parts: tuple[int, int]  # of the rows, of the units
    keep: bool  # a backward pass may come

    def numbers(self, x: Tensor, places: int) -> dict[str, int]:
        """The numbers of a call; x (T, B, I)."""
        return {
            "T": len(x), "B": x.shape[1], "I": x.shape[2], "H": self.weights.hidden, "places": places,
            "row_parts": self.parts[0], "column_parts": self.parts[1], "reverse": int(self.span.reverse),
        }  # fmt: skip


class _Single:
    """One step of a batch of one size, without gradient: all memory is there, only numbers move."""

    def __init__(self, weights: Weights, rows: int, dtype: torch.dtype):
        kernel = weights.kernel
        self.kernel, self.dtype, self.inputs = kernel, dtype, weights.inputs
        memory = weights.memory(rows)
        self.x, self.before, self.after = memory["x"], memory["state"][0], memory["state"][1]
        self.call, needed = kernel.call(weights.one_step(rows), memory, weights.forward)
        self.kept = (memory, needed)  # the call holds their addresses

    def __call__(self, x: Tensor, state: States) -> States:
        self.x[0, :, : self.inputs] = x
        for place, value in zip(self.before, state, strict=True):
            place.copy_(value)
        self.kernel.start("forward", self.call)
        return self.after.to(self.dtype, copy=True).unbind()


def _run(cell: Cell, weights: Weights, span: Span) -> tuple[Tensor, States]:
    """One direction of one layer: outputs (B, T, H) and the last states (B, H)."""
    fresh = starts(span)
    inputs = [span.x, *weights.parameters, *span.state, *(() if fresh is None else span.initial)]
    how = _How(
        cell,
        weights,
        span,
        lengths=None if span.lengths is None else span.lengths.contiguous(),
        fresh=None if fresh is None else fresh.t().contiguous().view(torch.uint8),
        parts=_parts(len(span.x), weights),
        keep=torch.is_grad_enabled() and any(value.requires_grad for value in inputs),
    )
    y, *rest = _Unroll.apply(how, *inputs)  # type: ignore[misc]
    states, record = len(span.state), recording()
    if record is not None:
        for name, tap in zip(weights.program.names, rest[states:], strict=True):
            record.add(span.place + name, tap.transpose(0, 1))
    return y, tuple(rest[:states])


def _parts(rows: int, weights: Weights) -> tuple[int, int]:
    """Among how many threads the rows are parted, and among how many the units: these wait for each other at each
    product, and a mean over the units cannot be parted."""
    threads, panels = torch.get_num_threads(), (weights.hidden + 63) // 64
    if rows >= 4 * threads:
        return threads, 1
    return 1, 1 if weights.program.of_rows else min(threads, panels)


class _Unroll(torch.autograd.Function):
    """The loop over time with its gradient. Inside, time comes first: (T, B, H).

    Inputs: x (B, T, I), the cell's parameters, the states, and with `fresh` the initial states. Outputs: y (B, T, H),
    the states, and the recorded values (T, B, H).
    """

    @staticmethod
    def forward(ctx: Any, how: _How, given: Tensor, *inputs: Tensor) -> Any:
        weights, kernel, program = how.weights, how.weights.kernel, how.weights.program
        x = torch.empty(given.shape[1], given.shape[0], given.shape[2] + weights.padded, dtype=kernel.dtype)
        x[..., : given.shape[2]] = given.transpose(0, 1)
        x[..., given.shape[2] :] = 0
        shape = (*x.shape[:2], weights.hidden)
        count, states = len(weights.parameters), len(program.states)
        before, initial = inputs[count : count + states], inputs[count + states :]
        places = len(x) if how.keep else 2
        stored = torch.empty(len(kernel.source.stored), places, *shape[1:], dtype=kernel.dtype)
        row_stored = torch.empty(len(kernel.source.row_stored), places, shape[1], dtype=kernel.computed)
        state = torch.empty(2, states, *shape[1:], dtype=kernel.computed)
        y = torch.empty(shape[1], shape[0], shape[2], dtype=kernel.dtype)
        taps = torch.empty(len(program.names), *shape, dtype=kernel.computed)
        for place, value in zip(state[0], before, strict=True):
            place.copy_(value)
        tensors = {
            "lengths": how.lengths, "fresh": how.fresh, "x": x, "W": weights.W, "bias": weights.b, "y": y,
            "state": state, "initial": torch.stack(initial).to(kernel.computed) if initial else None, "stored": stored,
            "row_stored": row_stored, "vectors": weights.stacked, "taps": taps,
        }  # fmt: skip
        kernel.run(
            "forward", how.numbers(x, places) | {"y_step": y.stride(1), "y_row": y.stride(0)}, tensors, weights.forward
        )
        if how.keep:
            ctx.how, ctx.kept = how, (x, stored, row_stored)
            ctx.dtypes = [value.dtype for value in (given, *inputs)]
            ctx.save_for_backward(given, *inputs)
            ctx.set_materialize_grads(False)
        y = y.to(torch.bfloat16) if weights.parameters[0].dtype == torch.bfloat16 else y
        last = [value.to(before[0].dtype, copy=True) for value in state[len(x) % 2]]  # each its own: no views
        return y, *last, *taps.unbind()

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor | None) -> Any:  # type: ignore[override]
        if torch.is_grad_enabled():  # the gradient shall have a gradient
            return None, *_by_the_loop(ctx.how, ctx.saved_tensors, of_outputs)
        of_y, *gradients = of_outputs
        how, (x, stored, row_stored), _ = ctx.how, ctx.kept, ctx.saved_tensors  # raises if a weight was changed since
        weights, kernel, program = how.weights, how.weights.kernel, how.weights.program
        shape, states, wanted = (*x.shape[:2], weights.hidden), len(program.states), ctx.needs_input_grad[1:]
        state = torch.zeros(2, states, *shape[1:], dtype=kernel.computed)
        taps = torch.zeros(len(program.names), *shape, dtype=kernel.computed)
        for place, value in zip((*state[0], *taps), gradients, strict=True):
            if value is not None:
                place.copy_(value)
        y = torch.zeros(weights.hidden).expand(x.shape[1], *shape[::2]) if of_y is None else of_y
        y = y.to(kernel.dtype)
        y = y if y.stride(2) == 1 else y.contiguous()
        initial = torch.zeros(states, *shape[1:], dtype=kernel.computed) if how.fresh is not None else None
        sums = torch.zeros(
            how.parts[0], len(program.graph.gates) + len(program.vectors), weights.hidden, dtype=kernel.computed
        )
        products = _Products(how, x.shape[2]) if any(wanted[1 : 1 + len(weights.parameters)]) else None
        of_x = torch.empty(x.shape, dtype=kernel.computed) if wanted[0] else None
        W, matrices = weights.backward
        tensors = {
            "lengths": how.lengths, "fresh": how.fresh, "x": x, "W": W, "input_gradient": of_x, "y": y, "state": state,
            "initial": initial, "stored": stored, "row_stored": row_stored, "vectors": weights.stacked, "taps": taps,
            "columns": torch.empty(*shape[:2], len(program.columns), weights.hidden, dtype=kernel.dtype),
            "sums": sums, **({} if products is None else products.memory),
        }  # fmt: skip
        kernel.run(
            "backward", how.numbers(x, len(x)) | {"y_step": y.stride(1), "y_row": y.stride(0)}, tensors, matrices
        )
        of_x = None if of_x is None else of_x[..., : x.shape[2] - weights.padded].transpose(0, 1)
        of_weights = [None] * len(weights.parameters) if products is None else products.gradients(sums.sum(0))
        found = [of_x, *of_weights, *state[len(x) % 2], *(() if initial is None else initial)]
        return None, *[g if g is None else g.to(dtype) for g, dtype in zip(found, ctx.dtypes, strict=True)]


class _Loop(nn.Module):
    """The loop as a module of a cell, so that the cell can be called with other weights."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = cell

    def forward(self, span: Span) -> tuple[Tensor, States, Record]:
        with record() as seen:
            return *Loop().unroll(self.cell, span), seen


def _by_the_loop(how: _How, inputs: tuple[Tensor, ...], of_outputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """The gradients as operations of torch, which have gradients themselves."""
    weights, span = how.weights, how.span
    own = [value.view_as(value) for value in inputs]  # one input may be computed from another: that is not our part
    count, states = 1 + len(weights.parameters), len(span.state)
    names = {id(parameter): f"cell.{name}" for name, parameter in how.cell.named_parameters()}
    parameters = {names[id(key)]: value for key, value in zip(weights.parameters, own[1:count], strict=True)}
    initial = tuple(own[count + states :]) or span.initial
    span = replace(span, x=own[0], state=tuple(own[count : count + states]), initial=initial)
    y, last, seen = functional_call(_Loop(how.cell), parameters, (span,))
    taps = [seen[span.place + name].transpose(0, 1) for name in weights.program.names]
    pairs = zip((y, *last, *taps), of_outputs, strict=True)
    pairs = [(value, g.to(value.dtype)) for value, g in pairs if g is not None and value.requires_grad]
    wanted = [value for value in own if value.requires_grad]
    outputs, gradients = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, gradients, create_graph=True, allow_unused=True))
    return [next(found) if value.requires_grad else None for value in own]


class _Products:
    """The gradients of the weights as a kernel leaves them: of each factor (columns, width of the left side), one after
    another."""

    def __init__(self, how: _How, width: int):
        self.weights, kernel, hidden = how.weights, how.weights.kernel, how.weights.hidden
        self.shapes = [(length * hidden, width if left < 0 else hidden) for left, _, length in kernel.source.factors]
        size = sum(rows * columns for rows, columns in self.shapes)
        self.memory = {
            "products": torch.empty(how.parts[0], size, dtype=kernel.computed),
            "gradients": torch.empty(size, dtype=kernel.computed),
        }

    def gradients(self, sums: Tensor) -> list[Tensor]:
        """The gradient of each of the cell's parameters; sums (gates and vectors, H)."""
        weights, program = self.weights, self.weights.program
        gates = len(program.graph.gates)
        factors = self.memory["gradients"].split([rows * columns for rows, columns in self.shapes])
        of_W, *of_runs = [factor.view(shape) for factor, shape in zip(factors, self.shapes, strict=True)]
        of_matrices: dict[str, Tensor] = {}
        for (product, block, _, length), g in zip(program.runs, of_runs, strict=True):
            name, rows = weights.rows(product, block, length)
            if g.shape == weights.matrices[name].shape and name not in of_matrices:
                of_matrices[name] = g
            else:
                of_matrices.setdefault(name, torch.zeros_like(weights.matrices[name], dtype=g.dtype))[rows] += g
        of_vectors = dict(zip(program.vectors, sums[gates:], strict=True))
        return [
            of_W[:, : of_W.shape[1] - weights.padded], sums[:gates].flatten(),
            *[of_matrices[name] for name in weights.matrices], *[of_vectors[name] for name in weights.vectors],
        ]  # fmt: skip
