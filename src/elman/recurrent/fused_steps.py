"""The gradients of the weights of a cell that runs step by step."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from elman.recurrent.fused_weights import PackedWeights, WeightGradients, row_and_unit_parts


class StepGradients:
    """The gradients of weights that many calls of a kernel share: one product after the backward passes of all of them,
    instead of a small one in each.

    A call takes `handle` as an input; so autograd asks for the gradients of the weights when all calls are done.
    """

    def __init__(self, weights: PackedWeights):
        self.weights = weights
        self.calls: dict[int, list[tuple[Tensor, ...]]] = defaultdict(list)  # by the number of the backward pass
        self.handle: Tensor = _Weights.apply(self, *weights.parameters)  # type: ignore[assignment]

    def add(self, x: Tensor, stored: Tensor, columns: Tensor, sums: Tensor) -> None:
        """What a backward pass leaves of one step: x (1, B, I), stored (STORED, 1, B, H), columns (1, B, COLUMNS, H),
        sums (SUMS, H)."""
        self.calls[_backward_pass()].append((x, stored, columns, sums))

    def of_parameters(self) -> list[Tensor | None]:
        """The gradient of each parameter in this backward pass."""
        calls = self.calls.pop(_backward_pass(), [])
        self.calls.clear()  # those of passes that did not ask for the weights
        found: list[Tensor | None] = [None] * len(self.weights.parameters)
        for rows in {len(x[0]) for x, *_ in calls}:
            parts = self._of_rows(*zip(*(call for call in calls if len(call[0][0]) == rows), strict=True))
            found = [new if old is None else old + new for old, new in zip(found, parts, strict=True)]
        return found

    def _of_rows(self, *of_calls: tuple[Tensor, ...]) -> list[Tensor]:
        """The gradients from calls of the same batch size."""
        x, stored, columns = (torch.cat(each, dim) for each, dim in zip(of_calls, (0, 1, 0), strict=False))
        weights, parts = self.weights, row_and_unit_parts(x.shape[1], self.weights)
        numbers = {
            "T": len(x), "B": x.shape[1], "I": x.shape[2], "H": weights.hidden, "slots": len(x), "y_step": 0,
            "y_row": 0, "row_parts": parts[0], "unit_parts": parts[1], "reverse": 0,
        }  # fmt: skip
        gradients = WeightGradients(weights, parts[0], x.shape[2])
        tensors = {"x": x, "stored": stored, "columns": columns, **gradients.memory}
        weights.kernel.run("weight_gradients", numbers, tensors, [])
        return gradients.of_parameters(torch.stack(of_calls[-1]).sum(0))


class _Weights(torch.autograd.Function):
    """The weights as an input of all calls."""

    @staticmethod
    def forward(ctx: Any, steps: StepGradients, *parameters: Tensor) -> Tensor:
        ctx.steps, ctx.dtypes = steps, [value.dtype for value in parameters]
        return torch.zeros(())

    @staticmethod
    def backward(ctx: Any, of_handle: Tensor) -> Any:  # type: ignore[override]
        found = zip(ctx.steps.of_parameters(), ctx.dtypes, strict=True)
        return None, *[g if g is None else g.to(dtype) for g, dtype in found]


def _backward_pass() -> int:
    """The number of the backward pass that is running."""
    return torch._C._current_graph_task_id()
