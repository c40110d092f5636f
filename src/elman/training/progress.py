"""Where a training is."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Where a training is: all of it that is no tensor. Times are in seconds.

    - schedule: the fields of its `Schedule`
    - step: updates; epoch, index: of the next batch
    - units: what the loss was the mean over, so far
    - seconds: of training, validation included; busy: without it; waited: of these, without a batch to train on
    - part: batches of the validation split that are evaluated while training
    - best, best_step: the lowest validation loss; worse: validations since
    - validated: step, epoch, seconds and units at the last validation
    """

    schedule: dict[str, Any]
    step: int = 0
    epoch: int = 0
    index: int = 0
    units: int = 0
    seconds: float = 0.0
    busy: float = 0.0
    waited: float = 0.0
    part: int | None = None
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    validated: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("step", "epoch", "seconds", "units"), 0))
    finished: bool = False
