"""The kernels as an operator of torch, `torch.ops.elman.unroll`, for programs that torch records: `torch.compile`,
`torch.export`, `torch.jit.trace`.

The operator has no state: its first argument is the kernel as text, its graph and sizes, so that a program that was
saved runs wherever elman is imported. Derivatives of higher order are those of the other path, `fused_autograd`.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.cells.draws import Draws
from elman.cells.graph import Graph
from elman.errors import UserError
from elman.kernels.kernel import Kernel
from elman.recurrent.arguments import check_bounds
from elman.recurrent.backend import Span, States
from elman.recurrent.fused_autograd import FusedCall, Kept, output_dtype, run_backward, run_forward
from elman.recurrent.fused_weights import PackedWeights, padding
from elman.recurrent.loop import reset_steps
from elman.recurrent.transforms import jit_traced


class _KernelOfLayer(NamedTuple):
    """A kernel, the names of the weights, the sizes of the layer."""

    kernel: Kernel
    names: list[str]
    inputs: int
    hidden: int


def kernel_text(kernel: Kernel, names: Sequence[str], inputs: int, hidden: int) -> str:
    """The first argument of the operator: a kernel, the names of the weights in their order, the sizes of the layer."""
    graph = kernel.program.graph.to_json() | {"names": kernel.program.graph.result_names}
    fields = {"graph": graph, "dtype": str(kernel.dtype).removeprefix("torch."), "weights": [*names],
              "input_size": inputs, "hidden_size": hidden}  # fmt: skip
    return json.dumps(fields, separators=(",", ":"))


@functools.cache
def _read(text: str) -> _KernelOfLayer:
    fields = json.loads(text)
    kernel = Kernel(Graph.from_json(fields["graph"]), getattr(torch, fields["dtype"]))
    return _KernelOfLayer(kernel, fields["weights"], fields["input_size"], fields["hidden_size"])


def run_operator(kernel: str, weights: Sequence[Tensor], span: Span, random: bool) -> tuple[Tensor, States]:
    """`run_fused` as an operator. random: whether the step draws random numbers."""
    reset = reset_steps(span)
    initial = () if reset is None else span.initial
    inputs = [span.x, *weights, *span.state, *initial]
    backward = jit_traced() or (torch.is_grad_enabled() and any(value.requires_grad for value in inputs))
    seed = torch.randint(1 << 62, (1,)) if random else None
    y, *rest = torch.ops.elman.unroll(
        kernel,
        span.x,
        list(weights),
        list(span.state),
        list(initial),
        span.lengths,
        reset,
        seed,
        span.reverse,
        backward,
    )
    return y, tuple(rest[: len(span.state)])


@torch.library.custom_op("elman::unroll", mutates_args=(), device_types="cpu")
def unroll(
    kernel: str, x: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor], initial: Sequence[Tensor],
    lengths: Tensor | None, reset: Tensor | None, seed: Tensor | None, reverse: bool, backward: bool,
) -> list[Tensor]:  # fmt: skip
    """One direction of one layer: the outputs (B, T, H), the last states, and with `backward` what `unroll_backward`
    needs. reset (B, T): before which steps the state is `initial`, in the order in which they run."""
    call = _call(kernel, x, weights, state, initial, lengths, reset, seed, reverse, backward)
    found = run_forward(call, x, [*weights, *state, *initial])
    return [found.y, *found.states, *(found.kept if backward else ())]


@torch.library.custom_op("elman::unroll_backward", mutates_args=(), device_types="cpu")
def unroll_backward(
    kernel: str, of_outputs: Sequence[Tensor], x: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor],
    initial: Sequence[Tensor], lengths: Tensor | None, reset: Tensor | None, seed: Tensor | None,
    kept: Sequence[Tensor], reverse: bool, of_x: bool, of_weights: bool,
) -> list[Tensor]:  # fmt: skip
    """The gradients of x and of the weights, where they are needed, of the states and of the initial states."""
    call = _call(kernel, x, weights, state, initial, lengths, reset, seed, reverse, True)
    found = run_backward(call, Kept(*kept), of_outputs, of_x, of_weights).gradients
    pairs = zip(found, (x, *weights, *state, *initial), strict=True)
    # clones: an operator returns no views of one tensor
    return [g.to(value.dtype).clone(memory_format=torch.contiguous_format) for g, value in pairs if g is not None]


@unroll.register_fake
def _unroll_shapes(
    kernel: str, x: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor], initial: Sequence[Tensor],
    lengths: Tensor | None, reset: Tensor | None, seed: Tensor | None, reverse: bool, backward: bool,
) -> list[Tensor]:  # fmt: skip
    of, (B, T, I) = _read(kernel), x.shape
    inside, computed = of.kernel.dtype, of.kernel.computed
    output = of.kernel.output_size(of.hidden, of.inputs)
    results = [x.new_empty(B, T, output, dtype=output_dtype(of.kernel, weights)), *map(_like, state)]
    kept = [
        x.new_empty(T, B, I + padding(of.kernel, of.inputs), dtype=inside),
        x.new_empty(sum(of.kernel.sizes("stored", of.hidden, of.inputs)) * T * B, dtype=inside),
        x.new_empty(len(of.kernel.schedule.row_stored), T, B, dtype=computed),
    ]
    return results + (kept if backward else [])


@unroll_backward.register_fake
def _gradient_shapes(
    kernel: str, of_outputs: Sequence[Tensor], x: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor],
    initial: Sequence[Tensor], lengths: Tensor | None, reset: Tensor | None, seed: Tensor | None,
    kept: Sequence[Tensor], reverse: bool, of_x: bool, of_weights: bool,
) -> list[Tensor]:  # fmt: skip
    return [*map(_like, [*([x] if of_x else []), *(weights if of_weights else []), *state, *initial])]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    kernel, x, weights, state, initial, lengths, reset, seed, reverse, _ = inputs
    ctx.call, ctx.counts = (kernel, reverse), (len(weights), len(state), len(initial))
    ctx.optional = [value is not None for value in (lengths, reset, seed)]
    others = [value for value in (lengths, reset, seed) if value is not None]
    ctx.save_for_backward(x, *weights, *state, *initial, *output[1 + len(state) :], *others)


def _gradients(ctx: Any, of_outputs: list[Tensor]) -> tuple[Any, ...]:
    (kernel, reverse), counts = ctx.call, ctx.counts
    x, *saved = ctx.saved_tensors
    parts = iter(saved)
    weights, state, initial, kept = ([next(parts) for _ in range(count)] for count in (*counts, 3))
    lengths, reset, seed = (next(parts) if given else None for given in ctx.optional)
    of_x, *of_inputs = ctx.needs_input_grad[1:5]
    of_weights = any(of_inputs[0])
    given = [*of_outputs[: 1 + len(state)]]
    found = iter(unroll_backward(kernel, given, x, weights, state, initial, lengths, reset, seed, kept, reverse, of_x,
                                 of_weights))  # fmt: skip
    of_x = next(found) if of_x else None
    lists = [[next(found) for _ in values] if wanted else [None] * len(values)
             for values, wanted in ((weights, of_weights), (state, True), (initial, True))]  # fmt: skip
    return None, of_x, *lists, None, None, None, None, None


unroll.register_autograd(_gradients, setup_context=_keep)


def _call(
    kernel: str, x: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor], initial: Sequence[Tensor],
    lengths: Tensor | None, reset: Tensor | None, seed: Tensor | None, reverse: bool, backward: bool,
) -> FusedCall:  # fmt: skip
    of = _read(kernel)
    if not torch._C._get_mkldnn_enabled():
        raise UserError("the operator elman::unroll needs oneDNN, and mkldnn is switched off")
    if lengths is not None:
        check_bounds(lengths, x.shape[1])
    packed = PackedWeights(of.kernel, dict(zip(of.names, weights, strict=True)), of.inputs, of.hidden)
    return FusedCall.of(packed, x, lengths, reset, reverse, backward, Draws(None if seed is None else int(seed)))


def _like(value: Tensor) -> Tensor:
    return value.new_empty(value.shape)
