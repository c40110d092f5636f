"""One call of a kernel over time as an autograd function."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.draws import Draws
from elman.cells.replaced_weights import weights_replaced
from elman.cells.tap import record, recording
from elman.kernels.kernel import Kernel
from elman.recurrent.backend import Span, States
from elman.recurrent.fused_steps import Step, StepGradients, StepWeights
from elman.recurrent.fused_weights import PackedWeights, WeightGradients
from elman.recurrent.loop import Loop, reset_steps
from elman.recurrent.transforms import batched, transform


@dataclass(frozen=True)
class FusedCall:
    """The arguments of a call that have no gradient."""

    weights: PackedWeights
    lengths: Tensor | None
    reset: Tensor | None  # (T, B) uint8
    reverse: bool
    parts: tuple[int, int]  # of the rows, of the units
    backward: bool  # whether a backward pass may follow
    draws: Draws  # of the random numbers of its steps

    @staticmethod
    def of(
        weights: PackedWeights, x: Tensor, lengths: Tensor | None, reset: Tensor | None, reverse: bool, backward: bool,
        draws: Draws,
    ) -> "FusedCall":  # fmt: skip
        """A call with x (B, T, I), lengths (B,), and reset (B, T), before which steps the state is reset."""
        lengths = None if lengths is None else lengths.contiguous()
        reset = None if reset is None else reset.t().contiguous().view(torch.uint8)
        return FusedCall(weights, lengths, reset, reverse, weights.parts(len(x)), backward, draws)

    def numbers(self, x: Tensor, slots: int, y: Tensor) -> dict[str, int]:
        """The numbers of a call; x (T, B, I), y (B, T, H)."""
        others = {"y_step": y.stride(1), "y_row": y.stride(0), "first_step": self.draws.first}
        if self.weights.program.graph.draws:
            others["seed"] = self.draws.seed
        return self.weights.numbers(x.shape, self.parts, slots=slots, reverse=int(self.reverse), **others)


class Origin(NamedTuple):
    """What a call is made of; steps computes the gradients of the weights, where this is one of many calls with
    them."""

    cell: Cell
    span: Span
    steps: StepGradients | None


def run_fused(
    cell: Cell, weights: PackedWeights, span: Span, common: StepWeights | None = None, draws: Draws | None = None
) -> tuple[Tensor, States]:
    """One direction of one layer: outputs (B, T, H) and the last states (B, H). common, draws: where this is one of
    many calls with the same weights, in one sequence."""
    steps, handle = (None, None) if common is None or not common.handle.requires_grad else common
    reset = reset_steps(span)
    inputs = [span.x, *weights.parameters, *span.state, *(() if reset is None else span.initial)]
    backward = torch.is_grad_enabled() and any(value.requires_grad for value in inputs)
    draws = Draws() if draws is None else draws
    call = FusedCall.of(weights, span.x, span.lengths, reset, span.reverse, backward, draws)
    y, *rest = _Unroll.apply(call, Origin(cell, span, steps), handle, *inputs)  # type: ignore[misc]
    states, active = len(span.state), recording()
    if active is not None:
        for name, tap in zip(weights.program.names, rest[states:], strict=True):
            active.add(span.prefix + name, tap.transpose(0, 1))
    return y, tuple(rest[:states])


class Kept(NamedTuple):
    """What a forward pass leaves for the backward pass: x (T, B, I), time first and padded, and the stored values."""

    x: Tensor
    stored: Tensor
    row_stored: Tensor


class Forward(NamedTuple):
    """The results of a forward pass: y (B, T, H), the states, the recorded values (T, B, H)."""

    y: Tensor
    states: list[Tensor]
    taps: list[Tensor]
    kept: Kept


def run_forward(call: FusedCall, given: Tensor, inputs: Sequence[Tensor]) -> Forward:
    """given: x (B, T, I); inputs: the weights, the states, and with `reset` the initial states."""
    weights, kernel, program = call.weights, call.weights.kernel, call.weights.program
    x = torch.empty(given.shape[1], given.shape[0], given.shape[2] + weights.padding, dtype=kernel.dtype)
    x[..., : given.shape[2]] = given.transpose(0, 1)
    x[..., given.shape[2] :] = 0
    T, B = x.shape[:2]
    count, states = len(weights.parameters), len(program.states)
    before, initial = inputs[count : count + states], inputs[count + states :]
    slots = len(x) if call.backward else 2
    stored = torch.empty(sum(weights.sizes("stored")) * slots * B, dtype=kernel.dtype)
    row_stored = torch.empty(len(kernel.schedule.row_stored), slots, B, dtype=kernel.computed)
    state = torch.empty(2, sum(weights.sizes("state")) * B, dtype=kernel.computed)
    y = torch.empty(B, T, weights.output_size, dtype=kernel.dtype)
    taps = torch.empty(sum(weights.sizes("tap")) * T * B, dtype=kernel.computed)
    _copy(weights.views(state[0], "state", B), before)
    tensors = {
        "lengths": call.lengths, "reset": call.reset, "x": x, "W": weights.W, "bias": weights.b, "y": y,
        "state": state, "stored": stored, "row_stored": row_stored, "vectors": weights.vectors, "taps": taps,
        "initial": torch.cat([value.flatten() for value in initial]).to(kernel.computed) if initial else None,
    }  # fmt: skip
    kernel.run("forward", call.numbers(x, slots, y), tensors, weights.forward)
    last = weights.views(state[T % 2], "state", B)
    last = [value.to(before[0].dtype, copy=True) for value in last]  # no views of one tensor
    return Forward(
        y.to(output_dtype(kernel, weights.parameters)),
        last,
        weights.views(taps, "tap", T, B),
        Kept(x, stored, row_stored),
    )


def output_dtype(kernel: Kernel, weights: Sequence[Tensor]) -> torch.dtype:
    """That of the outputs."""
    return torch.bfloat16 if weights[0].dtype == torch.bfloat16 else kernel.dtype


class Backward(NamedTuple):
    """The results of a backward pass: the gradients of x, the weights, the states, the initial states; the columns and
    sums of `Step`."""

    gradients: list[Tensor | None]
    columns: Tensor
    sums: Tensor


def run_backward(
    call: FusedCall, kept: Kept, of_outputs: Sequence[Tensor | None], of_x: bool, of_weights: bool
) -> Backward:
    """of_x, of_weights: whether these gradients are needed."""
    x, stored, row_stored = kept
    weights, kernel, program = call.weights, call.weights.kernel, call.weights.program
    state, taps, y = _of_outputs(call, x, of_outputs)
    T, B = x.shape[:2]
    initial = torch.zeros_like(state[0]) if call.reset is not None else None
    sums = torch.zeros(call.parts[0], sum(weights.sizes("sum")), dtype=kernel.computed)
    reads = program.graph.reads_input  # the step has a gradient for x beside that of the products
    input_gradient = torch.empty(x.shape, dtype=kernel.computed) if of_x or reads else None
    columns = torch.empty(T, B, sum(weights.sizes("column")), dtype=kernel.dtype)
    gradients = WeightGradients(weights, call.parts[0], x.shape[2]) if of_weights else None
    W, matrices = weights.backward
    tensors = {
        "lengths": call.lengths, "reset": call.reset, "x": x, "W": W, "input_gradient": input_gradient, "y": y,
        "state": state, "initial": initial, "stored": stored, "row_stored": row_stored, "vectors": weights.vectors,
        "taps": taps, "sums": sums, "columns": columns, **({} if gradients is None else gradients.memory),
    }  # fmt: skip
    kernel.run("backward", call.numbers(x, len(x), y), tensors, matrices)
    sums, width = sums.sum(0), x.shape[2] - weights.padding
    found = [input_gradient[..., :width].transpose(0, 1) if input_gradient is not None and of_x else None]
    found += [None] * len(weights.parameters) if gradients is None else gradients.of_parameters(sums)
    found += weights.views(state[T % 2], "state", B)
    found += [] if initial is None else weights.views(initial, "state", B)
    return Backward(found, columns, sums)


class _Unroll(torch.autograd.Function):
    """The loop over time with its gradient. Inside, time is the first axis: (T, B, H).

    Inputs: the handle of `StepWeights`, x (B, T, I), the weights of the cell, the states, and with `reset` the
    initial states. Outputs: y (B, T, H), the states, and the recorded values (T, B, H).
    """

    @staticmethod
    def forward(
        ctx: Any, call: FusedCall, origin: Origin, handle: Tensor | None, given: Tensor, *inputs: Tensor
    ) -> Any:
        y, states, taps, kept = run_forward(call, given, inputs)
        if call.backward:
            ctx.call, ctx.origin, ctx.of_weights = call, origin, None if handle is None else handle.grad_fn
            ctx.dtypes = [value.dtype for value in (given, *inputs)]
            ctx.save_for_backward(*kept, given, *inputs)
            ctx.set_materialize_grads(False)
        return y, *states, *taps

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor | None) -> Any:  # type: ignore[override]
        call, origin, saved = ctx.call, ctx.origin, ctx.saved_tensors  # raises if a weight was changed since
        kept, inputs = Kept(*saved[:3]), saved[3:]
        if torch.is_grad_enabled() or transform() or batched(of_outputs):  # create_graph=True, jacrev
            return None, None, None, *_differentiable(call, origin, inputs, of_outputs)
        steps, wanted = origin.steps, ctx.needs_input_grad[3:]
        of_weights = steps is None and any(wanted[1 : 1 + len(call.weights.parameters)])
        found, columns, sums = run_backward(call, kept, of_outputs, wanted[0], of_weights)
        if steps is not None and torch._C._will_engine_execute_node(ctx.of_weights):
            T, B = kept.x.shape[:2]
            steps.add(Step(kept.x, call.weights.views(kept.stored, "stored", T, B), columns, sums))
        found = [g if g is None else g.to(dtype) for g, dtype in zip(found, ctx.dtypes, strict=True)]
        return None, None, None if steps is None else torch.zeros(()), *found


def _copy(to: Any, values: Any) -> None:
    for target, value in zip(to, values, strict=True):
        if value is not None:
            target.copy_(value)


def _of_outputs(call: FusedCall, x: Tensor, of_outputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the states (2, STATES), the taps (TAPS) and the output (B, T, H); 0 where there is none."""
    weights, kernel, (T, B) = call.weights, call.weights.kernel, x.shape[:2]
    of_y, *rest = of_outputs
    state = torch.zeros(2, sum(weights.sizes("state")) * B, dtype=kernel.computed)
    taps = torch.zeros(sum(weights.sizes("tap")) * T * B, dtype=kernel.computed)
    _copy([*weights.views(state[0], "state", B), *weights.views(taps, "tap", T, B)], rest)
    y = torch.zeros(weights.output_size).expand(B, T, -1) if of_y is None else of_y
    y = y.to(kernel.dtype)
    return state, taps, y if y.stride(2) == 1 else y.contiguous()


def _differentiable(
    call: FusedCall, origin: Origin, inputs: tuple[Tensor, ...], of_outputs: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """The gradients as operations of torch, by the loop, for gradients of higher order and batches of gradients."""
    weights, span = call.weights, origin.span
    create = torch.is_grad_enabled()
    with torch.enable_grad():  # an input may be computed from another: that is not part of this
        own = [value.view_as(value) for value in inputs]
    count, states = 1 + len(weights.parameters), len(span.state)
    initial = tuple(own[count + states :]) or span.initial
    span = replace(span, x=own[0], state=tuple(own[count : count + states]), initial=initial)
    replaced = weights_replaced(origin.cell, dict(zip(weights.named, own[1:count], strict=True)))
    with torch.enable_grad(), replaced, record() as values:
        y, last = Loop().unroll(origin.cell, span, call.draws)
    taps = [values[span.prefix + name].transpose(0, 1) for name in weights.program.names]
    pairs = zip((y, *last, *taps), of_outputs, strict=True)
    pairs = [(value, g.to(value.dtype)) for value, g in pairs if g is not None and value.requires_grad]
    wanted = [value for value in own if value.requires_grad]
    outputs, gradients = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, gradients, create_graph=create, allow_unused=True))
    return [next(found) if value.requires_grad else None for value in own]
