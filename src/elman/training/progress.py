"""The progress of a training."""

from dataclasses import dataclass, field
from typing import Annotated

from elman.options import Bound, CountFloat, CountInt, NotNegative
from elman.schema import Count
from elman.training.schedule import Schedule

TIMES = ("step", "epoch", "seconds", "units")
Times = Annotated[dict[str, CountFloat], Bound(f"numbers for {', '.join(TIMES)}", lambda value: {*value} == {*TIMES})]


@dataclass
class Progress:
    """The state of a training apart from its tensors. Times are in seconds.

    - schedule: its length
    - step: updates so far; epoch, index: of the next batch
    - units: units (tokens, rows) trained on so far
    - seconds: of training, validation included; busy: without validation; waited: spent waiting for a batch
    - part: batches of the validation split that are evaluated while training
    - best, best_step: the lowest validation loss; worse: validations since
    - validated: step, epoch, seconds and units at the last validation
    """

    schedule: Schedule
    step: CountInt = 0
    epoch: CountInt = 0
    index: CountInt = 0
    units: Annotated[Count, NotNegative] = 0
    seconds: CountFloat = 0.0
    busy: CountFloat = 0.0
    waited: CountFloat = 0.0
    part: CountInt | None = None
    best: float | None = None
    best_step: CountInt = 0
    worse: CountInt = 0
    validated: Times = field(default_factory=lambda: dict.fromkeys(TIMES, 0.0))
    finished: bool = False
