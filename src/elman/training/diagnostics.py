"""Vital signs: what is wrong with a training, told once each."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from elman.recurrent.state import State, flatten
from elman.training.reporter import Status

CLIPPED, STUCK, APART = 0.95, 0.25, 0.5
EARLY, LEAST = 0.2, 300  # of a training, and updates: before that nothing is held against it
SAME = 1e-3  # units that differ by less in all rows are the same in every row


@dataclass
class Diagnostics:
    """Watches a training. `floor`: the loss of knowing only how often each token comes, nats a token."""

    floor: float | None
    told: set[str] = field(default_factory=set)

    def check(self, status: Status) -> Iterator[str]:
        """Lines to log, each once in a training, at a look at the validation part."""
        if status.progress < EARLY or status.step < LEAST:
            return
        loss, val_loss, clipped, stuck = status.loss, status.val_loss, status.clipped, status.stuck
        best = loss if val_loss is None else val_loss
        signs = {
            "unigram": self.floor is not None and self.floor > 0.1 and best > self.floor - 0.05
            and f"nothing is learned beyond how often each {status.unit} comes ({self.floor:.2f} nats): "
            "try another --lr",
            "clipped": clipped > CLIPPED
            and f"{clipped:.0%} of the updates were clipped: the --lr may be too high, or --clip too low",
            "stuck": stuck > STUCK
            and f"{stuck:.0%} of the units are the same in every row: dead or saturated; try a lower --lr",
            "apart": val_loss is not None and val_loss > loss + APART
            and f"the loss is {loss:.2f} in training but {val_loss:.2f} in validation: it learns by heart; "
                "more text, more --dropout or fewer --hidden",
        }  # fmt: skip
        for name, line in signs.items():
            if line and name not in self.told:
                self.told.add(name)
                yield f"warning: {line}"


def same(state: State) -> float:
    """The share of units whose value hardly differs between the rows of a state."""
    shares = [_same(value) for value in flatten(state).values() if value.dim() == 2 and len(value) > 3]
    return max(shares, default=0.0)


def _same(value: Tensor) -> float:
    return float((value.float().std(0) < SAME).float().mean())
