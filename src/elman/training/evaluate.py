"""Evaluation: the means of a model's sums over a split."""

import math
from dataclasses import dataclass

import torch

from elman.data.source import Source, to
from elman.tasks.loss import Context
from elman.tasks.model import Model
from elman.training.device import Precision


@dataclass(frozen=True)
class Evaluation:
    """count: units (tokens, rows) that were evaluated; means: sum / count of every named sum, NaN where count is 0."""

    count: int
    means: dict[str, float]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.means["loss"]


@torch.no_grad()
def evaluate(
    model: Model, source: Source, precision: Precision, batches: int | None = None, reset: bool = False
) -> Evaluation:
    """Evaluates the first `batches` of a source, all if None. The state is carried from batch to batch; with `reset` it
    is reset before each. A model that draws random numbers from the context draws the same at every evaluation."""
    was_training = model.training
    model.eval()
    device, state = model.device, None
    dtype = torch.float32 if device.type == "mps" else torch.float64  # Metal has no float64
    count, sums = torch.zeros((), dtype=dtype, device=device), dict[str, torch.Tensor]()
    context = Context(progress=1.0, generator=torch.Generator().manual_seed(0))
    for index in range(len(source) if batches is None else min(batches, len(source))):
        with torch.autocast(device.type, precision.dtype, enabled=precision.dtype != torch.float32):
            loss = model.loss(to(source.batch(0, index), device), state, context)
        state = None if reset else loss.state
        count += loss.count
        for name, value in loss.sums.items():
            sums[name] = sums.get(name, torch.zeros_like(count)) + value
    model.train(was_training)
    total = float(count)
    return Evaluation(round(total), {name: float(value) / (total or math.nan) for name, value in sums.items()})
