"""Where a training is."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Where a training is: all of it that is no tensor."""

    stretch: dict[str, Any]
    step: int = 0  # updates
    epoch: int = 0
    index: int = 0  # of the next batch in the epoch
    tokens: int = 0
    seconds: float = 0.0  # of training, looks at the validation part included
    busy: float = 0.0  # without them
    waited: float = 0.0  # of these, without a batch to train on
    part: int | None = None  # batches of the validation part that a look takes
    best: float | None = None
    best_step: int = 0
    worse: int = 0  # looks since the best
    looked: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("step", "epoch", "seconds", "tokens"), 0))
    finished: bool = False
