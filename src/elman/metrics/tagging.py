"""Accuracy of tags, and F1 of the entities that they mark."""

from collections.abc import Sequence
from typing import Any

from elman.metrics.metric import Metric, register

Tags = list[str]


def tag_accuracy(predictions: Sequence[Tags], references: Sequence[Tags]) -> float:
    """The share of words with the right tag."""
    correct = [
        predicted == reference
        for some, others in zip(predictions, references, strict=True)
        for predicted, reference in zip(some, others, strict=True)
    ]
    return sum(correct) / len(correct)


def entity_f1(predictions: Sequence[Tags], references: Sequence[Tags]) -> float:
    """F1 of entities in tags such as B-PER, I-PER and O, as seqeval counts them. ImportError without seqeval."""
    from seqeval.metrics import f1_score  # takes a while to import

    return float(f1_score(list(references), list(predictions), zero_division=0))  # type: ignore[arg-type]


def _compute(predictions: Sequence[Tags], references: Sequence[Tags], labels: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"accuracy": tag_accuracy(predictions, references)}
    if any(label.startswith("B-") for label in labels):
        try:
            found["entity_f1"] = entity_f1(predictions, references)
        except ImportError:
            found["entity_f1"] = "needs seqeval: pip install 'elman[tag]'"
    return found


TAGGING = register(Metric("tagging", ("tag",), _compute))
