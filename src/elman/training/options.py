"""The options of training, for every task."""

from dataclasses import dataclass
from typing import Annotated, Literal

from elman.errors import UserError
from elman.options import CountFloat, CountInt, PositiveFloat, PositiveInt, at_most, seconds
from elman.training.schedule import Unit

UNITS: dict[str, Unit] = {"for_": "for", "epochs": "epochs", "steps": "steps"}  # by option


@dataclass(frozen=True)
class TrainOptions:
    """Length, optimizer, validation and device of a training."""

    for_: str | None = None
    """Train for that much time: 90s, 5m, 1h30m. Without `for_`, `epochs` and `steps` it is 5m."""
    epochs: PositiveInt | None = None
    """Train for this many passes over the training split."""
    steps: PositiveInt | None = None
    """Train for this many updates."""
    lr: PositiveFloat | None = None
    """Highest learning rate: after a linear warm-up, it falls to 2 % along a cosine. If not given, that of the task."""
    warmup: CountInt = 100
    """Updates of the warm-up; at most a tenth of the training."""
    weight_decay: CountFloat = 0.1
    """Weight decay of AdamW."""
    clip: PositiveFloat | None = None
    """Largest norm, or value, of the gradient. If not given, that of the task."""
    clip_by: Literal["norm", "value"] = "norm"
    """Clip the norm of the gradient over all parameters, or each of its values."""
    accumulate: Annotated[PositiveInt, at_most(10_000)] = 1
    """Batches per update, whose gradients are averaged."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type of the matrix products; auto: bfloat16 where the hardware has it."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, mps."""
    seed: CountInt = 0
    """Seed of the initial weights, of dropout and of the order of the data."""
    workers: Annotated[CountInt, at_most(64)] | None = None
    """Processes that prepare batches ahead of training; if not given, 1 where images have to be decoded."""
    eval_every: PositiveInt | None = None
    """Updates between validations; if not given, a 20th of the training, at most 1 minute."""
    patience: PositiveInt | None = None
    """Stop when the validation loss has not improved in this many validations."""
    preview: bool = True
    """Show a sample of the model from time to time, where the task has one."""

    def span(self) -> tuple[Unit, float] | None:
        """Unit and amount of the one of `for_`, `epochs` and `steps` that is given, None where none is. Two are a
        UserError."""
        given = [name for name in UNITS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(f'`{name}`' for name in given)} exclude each other: give one")
        if not given:
            return None
        (name,) = given
        value = getattr(self, name)
        return UNITS[name], seconds(str(value)) if name == "for_" else float(value)
