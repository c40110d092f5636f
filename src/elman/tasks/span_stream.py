"""Spans of equal labels, from the probabilities of one frame after another."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from elman.data.footage import end_time
from elman.data.label_spans import Span


@dataclass(frozen=True)
class PredictedSpan(Span):
    """probability: the mean over the frames of that of the label; frames: how many there are."""

    probability: float = 0.0
    frames: int = 0


def predicted_spans(steps: Iterable[tuple[float, np.ndarray]], labels: Sequence[str]) -> Iterator[PredictedSpan]:
    """Each span as soon as the next one begins, from times and probabilities (K,) of the labels."""
    start, label, total, count, last = 0.0, -1, 0.0, 0, list[float]()
    for time, probabilities in steps:
        best = int(probabilities.argmax())
        if best != label and count:
            yield PredictedSpan(start, time, labels[label], "", total / count, count)
        if best != label:
            start, label, total, count = time, best, 0.0, 0
        total, count, last = total + float(probabilities[best]), count + 1, [*last[-1:], time]
    if count:
        yield PredictedSpan(start, end_time(last), labels[label], "", total / count, count)
