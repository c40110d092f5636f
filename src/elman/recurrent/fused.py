"""The backend of generated kernels: any cell that can be traced, on the CPU, as fast as a built-in one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elman.cells.cell import Cell
from elman.cells.tap import holding, recording
from elman.cells.trace import NotTraceable, trace
from elman.kernels.compiler import NoKernel
from elman.kernels.kernel import Kernel
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent.backend import Span, States
from elman.recurrent.loop import starts


class Fused:
    """One call of the cell's own kernel for all steps; see `elman.kernels`.

    The products before and after the loop over time, the input's share and the gradients of the weights, are torch's.
    """

    name = "fused"

    def refuses(self, cell: Cell, span: Span) -> str | None:
        if cell.W.device.type != "cpu":
            return f"it runs on the CPU, not on {cell.W.device.type}"
        if cell.W.dtype not in (torch.float32, torch.float64, torch.bfloat16):
            return f"it has no {str(cell.W.dtype).removeprefix('torch.')}"
        if holding():
            return "a held unit would change the equation"
        if not torch._C._get_mkldnn_enabled():
            return "its products are oneDNN's, and mkldnn is switched off"
        kernel = _kernel(cell)
        return kernel if isinstance(kernel, str) else None

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        return _run(cell, _Weights(cell, _made(cell)), span)

    def stepper(self, cell: Cell, place: str) -> Callable[[Tensor, States], States]:
        weights = _Weights(cell, _made(cell))

        def advance(x: Tensor, state: States) -> States:
            return _run(cell, weights, Span(x[:, None], state, state, place=place))[1]

        return advance


_kernels: WeakKeyDictionary[Cell, dict[Any, Kernel | str]] = WeakKeyDictionary()
_by_graph: dict[Any, Kernel | str] = {}


def _kernel(cell: Cell) -> Kernel | str:
    """The kernel for this cell as it is called now, or why there is none."""
    dtype = cell.W.dtype
    if torch.is_autocast_enabled("cpu") and dtype == torch.float32:
        dtype = torch.get_autocast_dtype("cpu")
    if dtype == torch.bfloat16 and (cell.hidden_size % 2 or not bfloat16_hardware(cell.W.device)):
        dtype = torch.float32  # brgemm takes the rows of bfloat16 in pairs
    key = (dtype, recording() is not None, *cell.options.values())
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


class _Weights:
    """The weights of a cell as a kernel wants them."""

    def __init__(self, cell: Cell, kernel: Kernel):
        self.kernel, self.program = kernel, kernel.program
        self.matrices, self.vectors = cell.matrices(), cell.vectors()
        self.parameters = [cell.W, cell.b, *self.matrices.values(), *self.vectors.values()]
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            self.W, self.b = cell.W.to(kernel.dtype), cell.b.to(kernel.dtype)
            self.forward = [kernel.packed(self.matrix(p), across=True) for p in self.program.products]
            vectors = [self.vectors[name].to(kernel.computed) for name in self.program.vectors]
            self.stacked = torch.stack(vectors) if vectors else None

    def name(self, product: int) -> str:
        return "_".join(self.program.ops[product].detail)

    def matrix(self, product: int) -> Tensor:
        return self.matrices[self.name(product)]

    def backward(self, hidden: int) -> list[Tensor]:
        """The matrices of the backward pass: a stretch of blocks each."""
        return [
            self.kernel.packed(self.matrix(product)[block * hidden : (block + length) * hidden])
            for product, block, _, length in self.program.runs
        ]


@dataclass(frozen=True)
class _How:
    """What a call has beside tensors that have gradients."""

    weights: _Weights
    lengths: Tensor | None
    fresh: Tensor | None  # (T, B) uint8
    reverse: bool
    row_parts: int
    column_parts: int
    keep: bool  # a backward pass may come

    def numbers(self, x: Tensor, hidden: int, places: int, y_stride: int) -> dict[str, int]:
        steps, rows = x.shape[:2]
        return {"T": steps, "B": rows, "H": hidden, "row_parts": self.row_parts, "column_parts": self.column_parts,
                "reverse": int(self.reverse), "places": places, "y_stride": y_stride}  # fmt: skip


def _run(cell: Cell, weights: _Weights, span: Span) -> tuple[Tensor, States]:
    """One direction of one layer: outputs (B, T, H) and the last states (B, H)."""
    fresh = starts(span)
    initial = span.initial if fresh is not None else ()
    inputs = [span.x, *span.state, *initial, *weights.parameters]
    how = _How(
        weights, span.lengths, None if fresh is None else fresh.t().contiguous().view(torch.uint8), span.reverse,
        *_parts(len(span.x), cell.hidden_size, weights), torch.is_grad_enabled() and any(v.requires_grad for v in inputs),
    )  # fmt: skip
    y, *rest = _Unroll.apply(how, *inputs)  # type: ignore[misc]
    state, taps = rest[: len(cell.states)], rest[len(cell.states) :]
    record = recording()
    if record is not None:
        for name, tap in zip(weights.program.names, taps, strict=True):
            record.add(span.place + name, tap.transpose(0, 1))
    return y.transpose(0, 1), tuple(state)


def _parts(rows: int, hidden: int, weights: _Weights) -> tuple[int, int]:
    """Among how many threads the rows are parted, and among how many the units."""
    threads, units = torch.get_num_threads(), (hidden + 63) // 64
    if rows >= 4 * threads or weights.program.of_rows or units < threads:
        return max(1, min(threads, rows)), 1
    return 1, threads


class _Unroll(torch.autograd.Function):
    """The loop over time with its gradient. Inside, time comes first: (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, how: _How, *inputs: Tensor) -> Any:
        weights, kernel, program = how.weights, how.weights.kernel, how.weights.program
        x, states, hidden = inputs[0], len(program.states), inputs[1].shape[-1]
        with torch.autocast("cpu", enabled=False):
            x = x.transpose(0, 1).to(kernel.dtype).contiguous()
            steps, rows = x.shape[:2]
            share = torch.addmm(weights.b, x.flatten(0, 1), weights.W.t())
        places = steps if how.keep else 2
        state = torch.empty(2, states, rows, hidden, dtype=kernel.computed)
        for k, value in enumerate(inputs[1 : 1 + states]):
            state[0, k] = value
        initial = None
        if how.fresh is not None:
            initial = torch.stack([value.to(kernel.computed) for value in inputs[1 + states : 1 + 2 * states]])
        y = torch.empty(steps, rows, hidden, dtype=kernel.dtype)
        stored = torch.empty(len(kernel.source.stored), places, rows, hidden, dtype=kernel.dtype)
        row_stored = torch.empty(len(kernel.source.row_stored), places, rows, dtype=kernel.computed)
        taps = torch.empty(len(program.names), steps, rows, hidden, dtype=kernel.computed)
        tensors = {"lengths": how.lengths, "fresh": how.fresh, "x": share, "y": y, "state": state, "initial": initial,
                   "stored": stored, "row_stored": row_stored, "vectors": weights.stacked, "taps": taps}  # fmt: skip
        kernel.run("forward", how.numbers(x, hidden, places, rows * hidden), tensors, weights.forward)
        if how.keep:
            ctx.how, ctx.kept = how, (stored, row_stored, share if program.keeps_input else None)
            ctx.dtypes = [value.dtype for value in inputs]
            ctx.save_for_backward(x, *weights.parameters)
            ctx.set_materialize_grads(False)
        last = state[steps % 2].to(inputs[1].dtype).unbind()
        return y, *last, *taps.unbind()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        how, (stored, row_stored, share) = ctx.how, ctx.kept
        weights, kernel, program = how.weights, how.weights.kernel, how.weights.program
        x, *_ = ctx.saved_tensors
        steps, rows, hidden, states = *x.shape[:2], stored.shape[-1] if len(stored) else 0, len(program.states)
        hidden = weights.parameters[0].shape[0] // len(program.graph.gates)
        state = torch.zeros(2, states, rows, hidden, dtype=kernel.computed)
        for k, g in enumerate(gradients[1 : 1 + states]):
            if g is not None:
                state[0, k] = g
        y = gradients[0]
        y_stride = 0 if y is None else rows * hidden
        y = torch.zeros(rows, hidden, dtype=kernel.dtype) if y is None else y.to(kernel.dtype).contiguous()
        taps = torch.zeros(len(program.names), steps, rows, hidden, dtype=kernel.computed)
        for k, g in enumerate(gradients[1 + states :]):
            if g is not None:
                taps[k] = g
        initial = torch.zeros(states, rows, hidden, dtype=kernel.computed) if how.fresh is not None else None
        columns = torch.empty(steps * rows, len(program.columns) * hidden, dtype=kernel.dtype)
        sums = torch.zeros(
            how.row_parts, len(program.graph.gates) + len(program.vectors), hidden, dtype=kernel.computed
        )
        tensors = {"lengths": how.lengths, "fresh": how.fresh, "x": share, "y": y, "state": state, "initial": initial,
                   "stored": stored, "row_stored": row_stored, "vectors": weights.stacked, "columns": columns,
                   "sums": sums, "taps": taps}  # fmt: skip
        kernel.run("backward", how.numbers(x, hidden, steps, y_stride), tensors, weights.backward(hidden))
        with torch.autocast("cpu", enabled=False):
            return None, *_gradients(ctx, how, x, columns, sums.sum(0), state[steps % 2], initial, stored)


def _gradients(
    ctx: Any, how: _How, x: Tensor, columns: Tensor, sums: Tensor, state: Tensor, initial: Tensor | None, stored: Tensor
) -> list[Tensor | None]:
    """The gradients of `_Unroll`'s inputs: large products of what the loop has left."""
    weights, program, hidden = how.weights, how.weights.program, state.shape[-1]
    gates = len(program.graph.gates)
    of_gates = columns[:, : gates * hidden]
    of_x = (of_gates @ weights.W).unflatten(0, x.shape[:2]).transpose(0, 1) if ctx.needs_input_grad[1] else None
    of_matrices = {name: torch.zeros_like(matrix) for name, matrix in weights.matrices.items()}
    for product, block, column, length in program.runs:
        operand = stored[how.weights.kernel.source.stored.index(program.ops[product].inputs[0])].flatten(0, 1)
        of_matrices[weights.name(product)][block * hidden : (block + length) * hidden] += (
            columns[:, column * hidden : (column + length) * hidden].t() @ operand
        )
    of_vectors = {name: sums[gates + k] for k, name in enumerate(program.vectors)}
    found = [of_x, *state, *(() if initial is None else initial), of_gates.t() @ x.flatten(0, 1),
             sums[:gates].flatten(), *of_matrices.values(), *[of_vectors[name] for name in weights.vectors]]  # fmt: skip
    return [None if g is None else g.to(dtype) for g, dtype in zip(found, ctx.dtypes, strict=True)]
