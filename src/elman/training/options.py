"""The options of training, for every task."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from elman.errors import UserError
from elman.options import CountFloat, CountInt, PositiveFloat, PositiveInt, at_most, seconds
from elman.training.schedule import Unit


@dataclass(frozen=True)
class TrainOptions:
    """How long, how fast, on which device. Of `for_`, `epochs` and `steps` one may be given."""

    for_: str | None = None
    """Train for that much time: 90s, 5m, 1h30m. Without `for_`, `epochs` and `steps` it is 5m."""
    epochs: PositiveInt | None = None
    """Train for so many passes over the training split."""
    steps: PositiveInt | None = None
    """Train for so many updates."""
    lr: PositiveFloat | None = None
    """Peak learning rate: linear warm-up, then cosine decay to 2 % of it. If not given, the task's own."""
    warmup: CountInt = 100
    """Updates of the warm-up; at most a tenth of the training."""
    weight_decay: CountFloat = 0.1
    """Weight decay of AdamW."""
    clip: PositiveFloat | None = None
    """Bound of the gradient. If not given, the task's own."""
    clip_by: Literal["norm", "value"] = "norm"
    """Clip the norm of the gradient of all weights, or each of its values."""
    accumulate: Annotated[PositiveInt, at_most(10_000)] = 1
    """Batches whose gradients are added up for one update."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products: bfloat16 where the hardware has it."""
    device: str = "auto"
    """Device to train on: auto, cpu, cuda, cuda:1, mps."""
    seed: CountInt = 0
    """Seed of the initial weights, of dropout, of the order of the data."""
    workers: Annotated[CountInt, at_most(64)] | None = None
    """Processes that make batches ahead of training; if not given 1 where images are decoded."""
    eval_every: PositiveInt | None = None
    """Updates between two validations; if not given a 20th of the training, at most 1 minute."""
    patience: PositiveInt | None = None
    """Stop when the validation loss has not improved in so many validations."""
    preview: bool = True
    """Show a sample of the model while it trains."""

    def span(self) -> tuple[Unit, float] | None:
        """The one of for, epochs and steps that is given, and how much of it."""
        spans: tuple[tuple[Unit, Any], ...] = (("for", self.for_), ("epochs", self.epochs), ("steps", self.steps))
        given: list[tuple[Unit, Any]] = [(unit, value) for unit, value in spans if value is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(f'`{name}`' for name, _ in given)} exclude each other: give one")
        if not given:
            return None
        unit, value = given[0]
        return unit, seconds(str(value)) if unit == "for" else float(value)
