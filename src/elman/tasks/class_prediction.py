"""Tasks whose models answer a row with one class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.data.rows import Field, Rows
from elman.data.table import Table
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.tasks.answer import Answer
from elman.tasks.row_prediction import RowPrediction
from elman.tasks.task import entropy


class ClassPrediction(RowPrediction):
    """A task with a role `label` and a Spec with `labels`, whose batches have a `target` (B,) and whose answers have
    the values of `LabelEncoder.values`."""

    def encode_targets(self, rows: Table, spec: Any, log: Log) -> dict[str, Field]:
        return {"target": spec.labels.encode(rows.columns["label"], rows.where, "label")}

    def unigram_entropy(self, train: Rows) -> float | None:
        target = train.fields["target"]
        assert isinstance(target, np.ndarray)
        return entropy(target)

    def line(self, answer: Answer) -> str:
        return f"{answer['label']}\t{answer['probability']:.3f}"

    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: Any) -> dict[str, Any]:
        """See `elman.metrics.classification`."""
        references = [rows.columns["label"][row] for row in answers]
        return evaluate(self.kind, [answer["label"] for answer in answers.values()], references, spec.labels.labels)
