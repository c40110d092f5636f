"""Tasks on tables whose models answer rows."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from elman.data import table
from elman.data.image import LazyImage
from elman.data.rows import Rows
from elman.data.source import Batch, Source, to
from elman.data.table import Table
from elman.log import Log
from elman.tasks.answer import Answer
from elman.tasks.capabilities import Measures, Predicts
from elman.tasks.tables import TableTask, images

PREDICTED = 64  # rows per batch


class RowPrediction(TableTask, Predicts, Measures):
    """A task on tables whose models answer rows. A subclass gives the answers to a batch (`answer`), and the metrics of
    answers (`metrics`)."""

    @abstractmethod
    def answer(self, model: Any, batch: Batch, **decoding: Any) -> list[Answer]:
        """The answers to the rows of a batch, numbered by its `row`."""

    @abstractmethod
    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: Any) -> dict[str, Any]:
        """Metrics of the answers to some rows, by their indices."""

    def located(self, answer: Answer, rows: Table) -> Answer:
        """The answer, completed from its row of the table."""
        return answer

    def predict(self, model: Any, rows: Table, log: Log, **decoding: Any) -> Iterator[Answer]:
        rows = table.complete(self.checked(self.opened(rows, model.spec)), self.inputs, skip_bad=False)
        self.check(rows, model.spec, log)
        source = Rows(rows, self.encode_inputs(rows, model.spec, log), PREDICTED, self.bucket_by)
        answers = {answer.row: answer for answer in self.answers(model, source, **decoding)}
        return (answers[row] for row in range(len(rows)))

    def check(self, rows: Table, spec: Any, log: Log) -> None:
        """Refuses rows that the model cannot answer, or warns of them."""

    def takes_images(self, spec: Any) -> bool:
        return any(LazyImage in self.accepts.get(role, ()) for role in self.inputs)

    def opened(self, rows: Table, spec: Any) -> Table:
        """The rows, with images in place of their names where a role accepts nothing but images."""
        columns = {role: images(values) if self.accepts.get(role) == (LazyImage,) else values
                   for role, values in rows.columns.items()}  # fmt: skip
        return replace(rows, columns=columns)

    def measure(self, model: Any, source: Source, limit: int | None = None) -> dict[str, Any]:
        assert isinstance(source, Rows)
        answers = {answer.row: answer for answer in self.answers(model, source, limit)}
        return self.metrics(source.table, answers, model.spec)

    @torch.inference_mode()
    def answers(self, model: Any, source: Rows, limit: int | None = None, **decoding: Any) -> Iterator[Answer]:
        """The answers to the first `limit` rows that a source gives, in its order."""
        model.eval()
        left = len(source.table) if limit is None else limit
        for index in range(len(source)):
            found = self.answer(model, to(source.batch(0, index), model.device), **decoding)
            yield from (self.located(answer, source.table) for answer in found[:left])
            left -= len(found)
            if left <= 0:
                return
