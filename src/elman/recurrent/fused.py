"""The backend of generated kernels: any cell that can be traced, on the CPU, as fast as a built-in one."""

import functools
import itertools
import os
import threading
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from elman.cells.cell import Cell
from elman.cells.draws import Draws
from elman.cells.tap import holding, recording
from elman.cells.trace import NotTraceable, signature, trace
from elman.errors import UserError
from elman.kernels.compiler import NoKernel
from elman.kernels.kernel import Kernel
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent.backend import Span, States, StepFunction
from elman.recurrent.decoder import Decoder
from elman.recurrent.fused_autograd import run_fused
from elman.recurrent.fused_operator import kernel_text, run_operator
from elman.recurrent.fused_steps import for_steps
from elman.recurrent.fused_weights import PackedWeights
from elman.recurrent.transforms import dispatched, transform, undispatched

LARGEST_TABLE = 1 << 26  # numbers: of W x of all tokens, which a decoder holds


class Fused:
    """One call of the cell's own kernel for all steps; see `elman.kernels`. Gradients of higher order come from the
    loop.

    All products are torch's brgemm: those of the input and of the weights' gradients for some steps at a time, while
    their operands are in the cache.
    """

    name = "fused"

    def refuses(self, cell: Cell, span: Span) -> str | None:
        if cell.device.type != "cpu":
            return f"it runs on the CPU, not on {cell.device.type}"
        if _dtype(cell) not in (torch.float32, torch.float64, torch.bfloat16):
            return f"it has no {str(_dtype(cell)).removeprefix('torch.')}"
        if known := transform():
            return f"a kernel has no rule for {known}"
        if dispatched() and recording() is not None:
            return "a program that torch records has no recorded values"
        if holding():
            return "a held unit would change the equation"
        if not torch._C._get_mkldnn_enabled() and not torch.compiler.is_exporting():  # which switches it off
            return "its products are oneDNN's, and mkldnn is switched off"
        kernel = _kernel(cell)
        return kernel if isinstance(kernel, str) else None

    def unroll(self, cell: Cell, span: Span) -> tuple[Tensor, States]:
        if dispatched():
            text, random = self.operator(cell)
            return run_operator(text, [*cell.weights.values()], span, random)
        return run_fused(cell, _packed(cell), span)

    def operator(self, cell: Cell) -> tuple[str, bool]:
        """The kernel of `run_operator`, and whether the step draws random numbers."""
        kernel = _compiled(cell)
        return kernel_text(kernel, cell.weight_names, cell.input_size, cell.hidden_size), kernel.program.graph.draws

    def step_function(self, cell: Cell, prefix: str) -> StepFunction:
        graph = _compiled(cell).program.graph
        weights = functools.cache(lambda: _packed(cell))
        common = functools.cache(lambda: for_steps(weights()))
        single = functools.cache(lambda rows, dtype: _SingleStep(weights(), rows, dtype))
        draws, steps = Draws(), itertools.count()

        def advance(x: Tensor, state: States) -> tuple[Tensor, States]:
            recorded = dispatched()
            if not (recorded or torch.is_grad_enabled() or recording() is not None or graph.draws):
                return single(len(x), state[0].dtype)(x, state)
            span = Span(x[:, None], state, state, prefix=prefix)
            if recorded and graph.draws:
                raise UserError("a program of single steps has no random numbers: call eval() first")
            if recorded:
                y, new = self.unroll(cell, span)
            else:
                now = draws.at(next(steps)) if graph.draws else None
                y, new = run_fused(cell, weights(), span, common() if torch.is_grad_enabled() else None, now)
            return y[:, 0] if graph.output else new[0], new

        return advance

    def decoder(self, cells: list[Cell], embedding: Tensor, head: nn.Linear, residual: bool) -> Decoder | None:
        kernels = [_compiled(cell) for cell in cells]
        table = len(embedding) * sum(cells[0].gate_sizes)
        first = kernels[0]
        plain = not first.schedule.other_sizes and not first.program.graph.reads_input
        right = plain and first.dtype == torch.float32 and all(kernel is first for kernel in kernels)
        if recording() is not None or not right or table > LARGEST_TABLE:
            return None
        return Decoder([*map(_packed, cells)], embedding, head, residual)


_kernels: WeakKeyDictionary[Cell, dict[Any, Kernel | str]] = WeakKeyDictionary()
_by_graph: dict[Any, Kernel | str] = {}
_compiling = threading.RLock()


def _unlock() -> None:
    global _compiling
    _compiling = threading.RLock()  # a thread that held it does not survive a fork


os.register_at_fork(after_in_child=_unlock)


def _dtype(cell: Cell) -> torch.dtype:
    """The dtype in which the cell is computed."""
    autocast = cell.dtype == torch.float32 and torch.is_autocast_enabled("cpu")
    return torch.get_autocast_dtype("cpu") if autocast else cell.dtype


def _kernel(cell: Cell) -> Kernel | str:
    """The kernel for this cell as it is called now, in its present mode, or the reason why there is none."""
    dtype = _dtype(cell)
    if dtype == torch.bfloat16 and not bfloat16_hardware(cell.device):
        dtype = torch.float32
    key = (dtype, recording() is not None, signature(cell))
    known = _kernels.setdefault(cell, {})
    if key not in known:
        with _compiling, undispatched():
            known[key] = known.get(key) or _compile(cell, dtype, recording() is not None)
    return known[key]


def _has_odd_size(cell: Cell) -> bool:
    """Whether a value has an odd size: of a gate, a state, or the factors of a product."""
    sizes = [*cell.gate_sizes, *cell.state_sizes, cell.hidden_size]
    products = [
        size for name, matrix in cell.matrices().items() for size in (len(matrix) // name.count("_"), matrix.shape[1])
    ]
    return any(size % 2 for size in sizes + products)


def _compile(cell: Cell, dtype: torch.dtype, recorded: bool) -> Kernel | str:
    if dtype == torch.bfloat16 and _has_odd_size(cell):
        dtype = torch.float32  # brgemm takes the rows of bfloat16 in pairs
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


def _compiled(cell: Cell) -> Kernel:
    kernel = _kernel(cell)
    assert isinstance(kernel, Kernel)
    return kernel


def _packed(cell: Cell) -> PackedWeights:
    return PackedWeights(_compiled(cell), cell.weights, cell.input_size, cell.hidden_size)


class _SingleStep:
    """One step of a batch of one size, without gradient, in memory that is allocated once."""

    def __init__(self, weights: PackedWeights, rows: int, dtype: torch.dtype):
        kernel = weights.kernel
        memory = weights.memory(rows)
        self.before, self.after = (weights.views(half, "state", rows) for half in memory["state"])
        self.x, self.y, self.dtype = memory["x"][0, :, : weights.inputs], memory["y"][0], dtype
        call, scratch = kernel.call(weights.one_step(rows), memory, weights.forward)
        self.forward, self.output = kernel.prepared("forward", call), weights.program.graph.output
        self.alive = (call, memory, scratch)  # whose addresses the kernel reads

    def __call__(self, x: Tensor, state: States) -> tuple[Tensor, States]:
        self.x.copy_(x)
        for target, value in zip(self.before, state, strict=True):
            target.copy_(value)
        self.forward()
        after = tuple(value.to(self.dtype, copy=True) for value in self.after)
        return self.y.to(self.dtype, copy=True) if self.output else after[0], after
