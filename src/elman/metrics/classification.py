"""Accuracy, macro-averaged F1 and confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.metrics.metric import Metric, register


def confusion_matrix(predictions: Sequence[str], references: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Counts (K, K): row k has the rows with reference `labels[k]`, by predicted label."""
    indices = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), int)
    for predicted, reference in zip(predictions, references, strict=True):
        matrix[indices[reference], indices[predicted]] += 1
    return matrix


def macro_f1(matrix: np.ndarray) -> float:
    """The mean F1 of the classes that are in the references or the predictions of a confusion matrix (K, K)."""
    support = matrix.sum(0) + matrix.sum(1)
    return float((2 * matrix.diagonal()[support > 0] / support[support > 0]).mean())


def _compute(predictions: Sequence[str], references: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    matrix = confusion_matrix(predictions, references, labels)
    return {
        "accuracy": float(matrix.trace() / matrix.sum()),
        "macro_f1": macro_f1(matrix),
        "confusion": matrix.tolist(),
    }


CLASSIFICATION = register(Metric("classification", ("classify", "glimpse"), _compute))
