"""Metrics of classification."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def classification(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """accuracy; macro_f1, the mean F1 of the classes that occur or are predicted; confusion, rows the targets and
    columns the predictions, in the order of `labels`."""
    indices = {label: index for index, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), int)
    for prediction, target in zip(predictions, targets, strict=True):
        confusion[indices[target], indices[prediction]] += 1
    occurring = confusion.sum(0) + confusion.sum(1)
    f1 = 2 * confusion.diagonal()[occurring > 0] / occurring[occurring > 0]
    return {"accuracy": float(confusion.trace() / confusion.sum()), "macro_f1": float(f1.mean()),
            "confusion": confusion.tolist()}  # fmt: skip
