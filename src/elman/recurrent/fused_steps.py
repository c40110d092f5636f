"""The gradients of the weights of a cell that runs step by step: one product for many steps, instead of a small one in
the backward pass of each.

All steps take a handle as an input, whose backward pass autograd runs when those of all steps are done.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.recurrent.fused_weights import PackedWeights, WeightGradients

ROWS = 1024  # of steps that one product covers, about


class Step(NamedTuple):
    """What the backward pass of a step leaves: x (1, B, I), each stored value (1, B, size), columns (1, B, COLUMNS),
    sums (SUMS)."""

    x: Tensor
    stored: Sequence[Tensor]
    columns: Tensor
    sums: Tensor


class StepGradients:
    """The gradients of weights of all steps of a backward pass."""

    def __init__(self, weights: PackedWeights):
        self.weights = weights
        self._passes: dict[int, _Pass] = {}  # by the number of the backward pass: several may run at a time

    def add(self, step: Step) -> None:
        """Adds a step to the backward pass that is running."""
        self._passes.setdefault(_backward_pass(), _Pass(self.weights)).add(step)

    def of_parameters(self) -> Sequence[Tensor | None]:
        """The gradient of each parameter in the backward pass that is running, which is at its end."""
        found = self._passes.pop(_backward_pass(), None)
        return [None] * len(self.weights.parameters) if found is None else found.finish()


class StepWeights(NamedTuple):
    """The gradients of weights, and the input of all steps that use them."""

    gradients: StepGradients
    handle: Tensor


def for_steps(weights: PackedWeights) -> StepWeights:
    """Weights for many steps."""
    gradients = StepGradients(weights)
    return StepWeights(gradients, _Weights.apply(gradients, *weights.parameters))  # type: ignore[arg-type]


class _Pass:
    """The gradients of one backward pass: their sum so far, and steps that are not yet part of it."""

    def __init__(self, weights: PackedWeights):
        self.weights, self.steps, self.found = weights, list[Step](), list[Tensor]()

    def add(self, step: Step) -> None:
        rows = step.x.shape[1]
        if self.steps and (len(self.steps) * rows >= ROWS or self.steps[0].x.shape[1] != rows):
            self._multiply()
        self.steps.append(step)

    def finish(self) -> list[Tensor]:
        self._multiply()
        return self.found

    def _multiply(self) -> None:
        x, columns = (torch.cat([getattr(step, name) for step in self.steps]) for name in ("x", "columns"))
        values = [torch.cat(parts).flatten() for parts in zip(*(step.stored for step in self.steps), strict=True)]
        stored, sums = torch.cat(values) if values else x.new_empty(0), sum(step.sums for step in self.steps)
        self.steps.clear()
        parts = self.weights.parts(x.shape[1])
        gradients = WeightGradients(self.weights, parts[0], x.shape[2])
        tensors = {"x": x, "stored": stored, "columns": columns, **gradients.memory}
        self.weights.kernel.run("weight_gradients", self.weights.numbers(x.shape, parts), tensors, [])
        new = gradients.of_parameters(sums)  # type: ignore[arg-type]
        self.found = [old.add_(g) for old, g in zip(self.found, new, strict=True)] if self.found else new


class _Weights(torch.autograd.Function):
    """The weights as an input of all steps."""

    @staticmethod
    def forward(ctx: Any, gradients: StepGradients, *parameters: Tensor) -> Tensor:
        ctx.gradients, ctx.dtypes = gradients, [value.dtype for value in parameters]
        return torch.zeros(())

    @staticmethod
    def backward(ctx: Any, of_handle: Tensor) -> Any:  # type: ignore[override]
        found = zip(ctx.gradients.of_parameters(), ctx.dtypes, strict=True)
        return None, *[g if g is None else g.to(dtype) for g, dtype in found]


def _backward_pass() -> int:
    """The number of the backward pass that is running."""
    return torch._C._current_graph_task_id()
