"""The loss of a task over a part of its data."""

import math
from typing import Any

import torch

from elman.tasks.task import Source, Task, to
from elman.training.device import Precision


@torch.no_grad()
def evaluate(
    task: Task, source: Source, device: torch.device, precision: Precision, batches: int | None = None,
    reset: bool = False,
) -> dict[str, float]:  # fmt: skip
    """The sums that `task.loss` gives over the first `batches` of a source (all when None), `loss`, nats a token, and
    `accuracy` where something is right or wrong. The state is carried from batch to batch; with `reset` each begins
    without one."""
    was_training = task.training
    task.eval()
    sums: dict[str, Any] = {}
    state = None
    for index in range(len(source) if batches is None else min(batches, len(source))):
        with torch.autocast(device.type, precision.dtype, enabled=precision.dtype != torch.float32):
            _, carried, counts = task.loss(to(source.batch(0, index), device), state)
        state = None if reset else carried
        for name, value in counts.items():
            sums[name] = sums.get(name, 0) + value.double()
    task.train(was_training)
    totals = {name: float(value) for name, value in sums.items()}
    count = totals["tokens"] or math.nan  # there may be nothing to say
    right = {"accuracy": totals["right"] / count} if "right" in totals else {}
    return totals | {"loss": totals["nats"] / count} | right
