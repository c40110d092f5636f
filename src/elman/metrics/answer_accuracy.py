"""Accuracy of answers to questions about images, and what each input gives away alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman.data.table import Table
from elman.metrics.groups import parted

COLUMNS = {"accuracy": "answer", "question_only": "question_only", "image_only": "image_only"}


def answer_accuracy(
    rows: Table, answers: Mapping[int, Mapping[str, Any]], priors: Mapping[str, str], columns: Sequence[str],
    kind: str = "",
) -> dict[str, Any]:  # fmt: skip
    """accuracy, from both inputs; question_only, image_only; prior, of the most frequent answer of training; and
    by_COLUMN, the same for each value of a column, and there by the columns before it. The prior of a kind of question
    is its own."""
    target, prior = rows.columns["answer"], priors.get(kind, priors[""])
    correct = {name: [answer[key] == target[row] for row, answer in answers.items()] for name, key in COLUMNS.items()}
    correct["prior"] = [prior == target[row] for row in answers]
    found: dict[str, Any] = {name: float(np.mean(values)) for name, values in correct.items()}
    for number, column in enumerate(columns):
        if groups := parted(rows, column, answers):
            found[f"by_{column}"] = {
                name: answer_accuracy(rows, {row: answers[row] for row in some}, priors, columns[:number], name)
                for name, some in groups.items()
            }
    return found
