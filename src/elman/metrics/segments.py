"""Labels of frames: accuracy, and how well the segments of equal labels agree.

Lea et al. 2017 (Temporal Convolutional Networks for Action Segmentation and Detection), as computed for MS-TCN (Farha &
Gall 2019): the background makes no segments, and its frames count in the accuracy.
"""

from collections.abc import Sequence
from typing import Any

from elman.data.label_spans import runs
from elman.metrics.metric import Metric, register

BACKGROUND = ""  # the label of a frame that has none
OVERLAPS = (10, 25, 50)  # per cent

Segment = tuple[int, int, str]  # first frame, frame after the last, label
Labels = Sequence[str]  # of each frame of a clip


def frame_accuracy(predictions: Sequence[Labels], references: Sequence[Labels]) -> float:
    """The fraction of all frames with the right label."""
    correct = [predicted == reference for pair in zip(predictions, references, strict=True)
               for predicted, reference in zip(*pair, strict=True)]  # fmt: skip
    return sum(correct) / len(correct)


def segments(labels: Labels) -> list[Segment]:
    """The runs of equal labels, without those of the background."""
    return [run for run in runs(labels) if run[2] != BACKGROUND]


def edit_score(predictions: Sequence[Labels], references: Sequence[Labels]) -> float:
    """1 - the edit distance between the labels of the segments, over the larger of their numbers; mean of the clips."""
    scores = []
    for pair in zip(predictions, references, strict=True):
        predicted, reference = ([label for *_, label in segments(labels)] for labels in pair)
        most = max(len(predicted), len(reference))
        scores.append(1 - edit_distance(predicted, reference) / most if most else 1.0)
    return sum(scores) / len(scores)


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Insertions, deletions and substitutions from one sequence to the other (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def segment_f1(predictions: Sequence[Labels], references: Sequence[Labels], overlap: float) -> float:
    """F1 of segments over all clips. A predicted segment is right if its intersection over union with the segment of
    the same label where that is largest is at least `overlap`, and no earlier one was right with that segment."""
    right = predicted_count = reference_count = 0
    for pair in zip(predictions, references, strict=True):
        predicted, reference = map(segments, pair)
        matched = set[int]()
        for segment in predicted:
            unions = [_iou(segment, other) for other in reference]
            best = max(range(len(unions)), key=unions.__getitem__, default=None)
            if best is not None and unions[best] >= overlap and best not in matched:
                matched.add(best)
        right += len(matched)
        predicted_count += len(predicted)
        reference_count += len(reference)
    total = predicted_count + reference_count
    return 2 * right / total if total else 1.0


def _iou(a: Segment, b: Segment) -> float:
    """Intersection over union of two segments; 0 if their labels differ."""
    return (min(a[1], b[1]) - max(a[0], b[0])) / (max(a[1], b[1]) - min(a[0], b[0])) if a[2] == b[2] else 0.0


def _compute(predictions: Sequence[Labels], references: Sequence[Labels], labels: Sequence[str]) -> dict[str, Any]:
    found = {"accuracy": frame_accuracy(predictions, references), "edit": edit_score(predictions, references)}
    return found | {f"f1_{overlap}": segment_f1(predictions, references, overlap / 100) for overlap in OVERLAPS}


SEGMENTS = register(Metric("segments", ("video",), _compute))
