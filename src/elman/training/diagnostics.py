"""Diagnostics: warnings of a training that does not learn, each logged once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from elman.recurrent.state import State, flatten

if TYPE_CHECKING:
    from elman.training.reporter import Status

CLIPPED, SATURATED, OVERFITTED = 0.95, 0.25, 0.5
EARLY, LEAST = 0.2, 300  # progress and updates before which nothing is diagnosed
EQUAL = 1e-3  # standard deviation over the rows below which a unit is the same in all of them


@dataclass
class Diagnostics:
    """The warnings of a training. unigram_entropy: see `Dataset`."""

    unigram_entropy: float | None
    reported: set[str] = field(default_factory=set)

    def check(self, status: "Status") -> Iterator[str]:
        """Warnings after a validation, each once per training."""
        if status.progress < EARLY or status.step < LEAST:
            return
        loss, val_loss, entropy = status.loss, status.val_loss, self.unigram_entropy
        best = loss if val_loss is None else val_loss
        found = {
            "unigram": entropy is not None and entropy > 0.1 and best > entropy - 0.05
            and f"nothing is learned beyond the frequency of each {status.unit} ({entropy:.2f} nats): try another `lr`",
            "clipped": status.clipped > CLIPPED
            and f"{status.clipped:.0%} of the updates were clipped: the `lr` may be too high, or `clip` too low",
            "saturated": status.saturated > SATURATED
            and f"{status.saturated:.0%} of the units are the same in every row: dead or saturated; try a lower `lr`",
            "overfitted": val_loss is not None and val_loss > loss + OVERFITTED
            and f"the loss is {loss:.2f} in training but {val_loss:.2f} in validation: the model overfits; more data, "
                "more `dropout` or fewer `hidden`",
        }  # fmt: skip
        for name, line in found.items():
            if line and name not in self.reported:
                self.reported.add(name)
                yield f"warning: {line}"


def saturated(state: State) -> float:
    """The largest fraction of units of a state whose value hardly differs between the rows."""
    found = [_equal(value) for value in flatten(state).values() if value.dim() == 2 and len(value) > 3]
    return max(found, default=0.0)


def _equal(value: Tensor) -> float:
    return float((value.float().std(0) < EQUAL).float().mean())
