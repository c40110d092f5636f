"""Accuracy of answers to questions about images, compared with what is known without the image or the question."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np


def accuracies(predictions: Mapping[str, Sequence[str]], references: Sequence[str], prior: str) -> dict[str, float]:
    """The accuracy of each of several predictions, and `prior`, that of the most frequent answer of training."""
    found = {name: _accuracy(answers, references) for name, answers in predictions.items()}
    return found | {"prior": _accuracy([prior] * len(references), references)}


def most_frequent(answers: Sequence[str], kinds: Sequence[str] = ()) -> dict[str, str]:
    """The most frequent answer of each kind of question, and of all under the empty name."""
    counts = {"": Counter(answers)}
    for kind, answer in zip(kinds, answers, strict=bool(kinds)):
        counts.setdefault(kind, Counter())[answer] += 1
    return {kind: count.most_common(1)[0][0] for kind, count in counts.items()}


def _accuracy(predictions: Sequence[str], references: Sequence[str]) -> float:
    return float(
        np.mean([predicted == reference for predicted, reference in zip(predictions, references, strict=True)])
    )
