"""One call of a kernel over time as an autograd function."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from elman.cells.cell import Cell
from elman.cells.tap import Record, record, recording
from elman.recurrent.backend import Span, States
from elman.recurrent.fused_steps import Step, StepGradients, StepWeights
from elman.recurrent.fused_weights import PackedWeights, WeightGradients
from elman.recurrent.loop import Loop, reset_steps


@dataclass(frozen=True)
class FusedCall:
    """The arguments of a call that have no gradient."""

    cell: Cell
    weights: PackedWeights
    span: Span
    lengths: Tensor | None
    reset: Tensor | None  # (T, B) uint8
    parts: tuple[int, int]  # of the rows, of the units
    backward: bool  # whether a backward pass may follow
    steps: StepGradients | None  # computes the gradients of the weights, where this is one of many calls with them

    def numbers(self, x: Tensor, slots: int, y: Tensor) -> dict[str, int]:
        """The numbers of a call; x (T, B, I), y (B, T, H)."""
        strides = {"y_step": y.stride(1), "y_row": y.stride(0)}
        return self.weights.numbers(x.shape, self.parts, slots=slots, reverse=int(self.span.reverse), **strides)


def run_fused(
    cell: Cell, weights: PackedWeights, span: Span, common: StepWeights | None = None
) -> tuple[Tensor, States]:
    """One direction of one layer: outputs (B, T, H) and the last states (B, H). common: where this is one of many calls
    with the same weights."""
    steps, handle = (None, None) if common is None or not common.handle.requires_grad else common
    reset = reset_steps(span)
    inputs = [span.x, *weights.parameters, *span.state, *(() if reset is None else span.initial)]
    call = FusedCall(
        cell,
        weights,
        span,
        lengths=None if span.lengths is None else span.lengths.contiguous(),
        reset=None if reset is None else reset.t().contiguous().view(torch.uint8),
        parts=weights.parts(len(span.x)),
        backward=torch.is_grad_enabled() and any(value.requires_grad for value in inputs),
        steps=steps,
    )
    y, *rest = _Unroll.apply(call, handle, *inputs)  # type: ignore[misc]
    states, active = len(span.state), recording()
    if active is not None:
        for name, tap in zip(weights.program.names, rest[states:], strict=True):
            active.add(span.prefix + name, tap.transpose(0, 1))
    return y, tuple(rest[:states])


class _Unroll(torch.autograd.Function):
    """The loop over time with its gradient. Inside, time is the first axis: (T, B, H).

    Inputs: the handle of `StepWeights`, x (B, T, I), the parameters of the cell, the states, and with `reset` the
    initial states. Outputs: y (B, T, H), the states, and the recorded values (T, B, H).
    """

    @staticmethod
    def forward(ctx: Any, call: FusedCall, handle: Tensor | None, given: Tensor, *inputs: Tensor) -> Any:
        weights, kernel, program = call.weights, call.weights.kernel, call.weights.program
        x = torch.empty(given.shape[1], given.shape[0], given.shape[2] + weights.padding, dtype=kernel.dtype)
        x[..., : given.shape[2]] = given.transpose(0, 1)
        x[..., given.shape[2] :] = 0
        shape = (*x.shape[:2], weights.hidden)
        count, states = len(weights.parameters), len(program.states)
        before, initial = inputs[count : count + states], inputs[count + states :]
        slots = len(x) if call.backward else 2
        stored = torch.empty(len(kernel.schedule.stored), slots, *shape[1:], dtype=kernel.dtype)
        row_stored = torch.empty(len(kernel.schedule.row_stored), slots, shape[1], dtype=kernel.computed)
        state = torch.empty(2, states, *shape[1:], dtype=kernel.computed)
        y = torch.empty(shape[1], shape[0], shape[2], dtype=kernel.dtype)
        taps = torch.empty(len(program.names), *shape, dtype=kernel.computed)
        _copy(state[0], before)
        tensors = {
            "lengths": call.lengths, "reset": call.reset, "x": x, "W": weights.W, "bias": weights.b, "y": y,
            "state": state, "initial": torch.stack(initial).to(kernel.computed) if initial else None, "stored": stored,
            "row_stored": row_stored, "vectors": weights.stacked, "taps": taps,
        }  # fmt: skip
        kernel.run("forward", call.numbers(x, slots, y), tensors, weights.forward)
        if call.backward:
            ctx.call, ctx.kept = call, (x, stored, row_stored)
            ctx.of_weights = None if handle is None else handle.grad_fn
            ctx.dtypes = [value.dtype for value in (given, *inputs)]
            ctx.save_for_backward(given, *inputs)
            ctx.set_materialize_grads(False)
        y = y.to(torch.bfloat16) if weights.parameters[0].dtype == torch.bfloat16 else y
        last = [value.to(before[0].dtype, copy=True) for value in state[len(x) % 2]]  # no views of one tensor
        return y, *last, *taps.unbind()

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor | None) -> Any:  # type: ignore[override]
        if torch.is_grad_enabled():  # create_graph=True
            return None, None, *_differentiable(ctx.call, ctx.saved_tensors, of_outputs)
        call, (x, stored, row_stored), _ = ctx.call, ctx.kept, ctx.saved_tensors  # raises if a weight was changed since
        weights, kernel, program = call.weights, call.weights.kernel, call.weights.program
        wanted = ctx.needs_input_grad[2:]
        state, taps, y = _of_outputs(call, x, of_outputs)
        initial = torch.zeros_like(state[0]) if call.reset is not None else None
        sums = torch.zeros(
            call.parts[0], len(program.graph.gates) + len(program.vectors), weights.hidden, dtype=kernel.computed
        )
        of_x = torch.empty(x.shape, dtype=kernel.computed) if wanted[0] else None
        columns = torch.empty(*x.shape[:2], len(program.columns), weights.hidden, dtype=kernel.dtype)
        gradients, steps = None, call.steps
        if steps is None and any(wanted[1 : 1 + len(weights.parameters)]):
            gradients = WeightGradients(weights, call.parts[0], x.shape[2])
        W, matrices = weights.backward
        tensors = {
            "lengths": call.lengths, "reset": call.reset, "x": x, "W": W, "input_gradient": of_x, "y": y,
            "state": state, "initial": initial, "stored": stored, "row_stored": row_stored, "vectors": weights.stacked,
            "taps": taps, "sums": sums, "columns": columns, **({} if gradients is None else gradients.memory),
        }  # fmt: skip
        kernel.run("backward", call.numbers(x, len(x), y), tensors, matrices)
        if steps is not None and torch._C._will_engine_execute_node(ctx.of_weights):
            steps.add(Step(x, stored, columns, sums.sum(0)))
        of_x = None if of_x is None else of_x[..., : x.shape[2] - weights.padding].transpose(0, 1)
        none = [None] * len(weights.parameters)
        of_weights = none if gradients is None else gradients.of_parameters(sums.sum(0))
        found = [of_x, *of_weights, *state[len(x) % 2], *(() if initial is None else initial)]
        found = [g if g is None else g.to(dtype) for g, dtype in zip(found, ctx.dtypes, strict=True)]
        return None, None if steps is None else torch.zeros(()), *found


def _copy(to: Any, values: Any) -> None:
    for target, value in zip(to, values, strict=True):
        if value is not None:
            target.copy_(value)


def _of_outputs(call: FusedCall, x: Tensor, of_outputs: tuple[Tensor | None, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the states (2, states, B, H), the taps (taps, T, B, H) and the output (B, T, H); 0 where there
    is none."""
    weights, kernel, program = call.weights, call.weights.kernel, call.weights.program
    of_y, *rest = of_outputs
    shape = (*x.shape[:2], weights.hidden)
    state = torch.zeros(2, len(program.states), *shape[1:], dtype=kernel.computed)
    taps = torch.zeros(len(program.names), *shape, dtype=kernel.computed)
    _copy((*state[0], *taps), rest)
    y = torch.zeros(weights.hidden).expand(x.shape[1], *shape[::2]) if of_y is None else of_y
    y = y.to(kernel.dtype)
    return state, taps, y if y.stride(2) == 1 else y.contiguous()


class _Loop(nn.Module):
    """The loop as a module that has the cell, so that it can be called with other weights."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = cell

    def forward(self, span: Span) -> tuple[Tensor, States, Record]:
        with record() as values:
            return *Loop().unroll(self.cell, span), values


def _differentiable(
    call: FusedCall, inputs: tuple[Tensor, ...], of_outputs: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """The gradients as operations of torch, by the loop, for gradients of higher order."""
    weights, span = call.weights, call.span
    own = [value.view_as(value) for value in inputs]  # an input may be computed from another: that is not part of this
    count, states = 1 + len(weights.parameters), len(span.state)
    names = {id(parameter): f"cell.{name}" for name, parameter in call.cell.named_parameters()}
    parameters = {names[id(key)]: value for key, value in zip(weights.parameters, own[1:count], strict=True)}
    initial = tuple(own[count + states :]) or span.initial
    span = replace(span, x=own[0], state=tuple(own[count : count + states]), initial=initial)
    y, last, values = functional_call(_Loop(call.cell), parameters, (span,))
    taps = [values[span.prefix + name].transpose(0, 1) for name in weights.program.names]
    pairs = zip((y, *last, *taps), of_outputs, strict=True)
    pairs = [(value, g.to(value.dtype)) for value, g in pairs if g is not None and value.requires_grad]
    wanted = [value for value in own if value.requires_grad]
    outputs, gradients = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, gradients, create_graph=True, allow_unused=True))
    return [next(found) if value.requires_grad else None for value in own]
