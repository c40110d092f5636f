"""Metrics of tagging."""

from collections.abc import Sequence
from typing import Any


def tagging(
    predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], tags: Sequence[str]
) -> dict[str, Any]:
    """accuracy per word; entity_f1, as seqeval computes it, where the tags are of the kind B-PER, I-PER, O."""
    correct = [target == prediction for row in zip(targets, predictions, strict=True)
               for target, prediction in zip(*row, strict=True)]  # fmt: skip
    found: dict[str, Any] = {"accuracy": sum(correct) / len(correct)}
    if not any(tag.startswith("B-") for tag in tags):
        return found
    try:
        from seqeval.metrics import f1_score  # takes a while to import
    except ImportError:
        return found | {"entity_f1": "needs seqeval: pip install 'elman[tag]'"}
    return found | {"entity_f1": float(f1_score(list(targets), list(predictions), zero_division=0))}  # type: ignore[arg-type]
