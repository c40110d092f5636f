"""The rows of a table and what a model predicts for them, for all panels of its report."""

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import torch

from elman.cells.tap import record
from elman.data.rows import Rows
from elman.data.source import Batch, to
from elman.data.table import Table
from elman.errors import UserError
from elman.inspect import painting
from elman.inspect.gates import addresses, saturation
from elman.inspect.held_out import held_out
from elman.inspect.panel import Panel
from elman.inspect.report_options import ReportOptions
from elman.recurrent.layer import Recurrent
from elman.recurrent.lengths import padding_mask
from elman.tasks.answer import Answer
from elman.training.trained_model import TrainedModel

ROWS = 2000  # that are read by default
STEPS = 20_000  # over which gates are measured
BATCH = 64  # rows


class Predictions:
    """Held-out rows, or those of another table, and the model's answers.

    - table: the chosen rows, in random order; all indices are into it
    - whole: all rows
    - source: the chosen rows as batches
    """

    def __init__(self, model: TrainedModel, options: ReportOptions):
        self.model, self.options, self.spec = model, options, model.spec
        self.task: Any = model.task
        self.network: Any = model.model
        source = held_out(model, options)
        if not isinstance(source, Rows):
            raise UserError(f"{options.text or model.path} has no rows")
        order = np.random.default_rng(options.seed).permutation(len(source.table))
        chosen = order[: options.length or ROWS]
        options.log(f"{len(chosen):,} of {len(source.table):,} rows are read")
        self.whole, self.source = source.table, source.select(chosen)
        texts = [value for values in self.table.columns.values() for value in values if isinstance(value, str)]
        if not options.no_text:
            painting.log_uncovered("".join(texts), options.log)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def table(self) -> Table:
        """The chosen rows."""
        return self.source.table

    def column(self, role: str) -> list[Any]:
        """The values of the table, one per row."""
        return self.table.columns[role]

    @cached_property
    def answers(self) -> list[Answer]:
        """The model's answer to each row."""
        found = {answer.row: answer for answer in self.task.answers(self.network, self.source)}
        return [found[row] for row in range(len(self))]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The task's metrics of the answers: accuracy, F1."""
        return self.task.metrics(self.table, dict(enumerate(self.answers)), self.spec)

    def batch(self, *rows: int) -> Batch:
        """Some rows as a batch, on the model's device."""
        return to(self.source.take(np.array(rows)), self.model.device)

    @torch.no_grad()
    def loss(self, rows: list[int]) -> tuple[float, int]:
        """The sum of the loss over some rows, and its count."""
        sums = Counter[str]()
        self.network.eval()
        for begin in range(0, len(rows), BATCH):
            loss = self.network.loss(self.batch(*rows[begin : begin + BATCH]))
            sums.update({"loss": float(loss.sums["loss"]), "count": int(loss.count)})
        return sums["loss"], int(sums["count"])

    @torch.no_grad()
    def gates(self, layer: Recurrent, lengths: str = "input_lengths") -> Panel | None:
        """Saturation of the gates of a layer that reads the rows, without padding. `lengths`: the field of a batch."""
        named, pieces, steps = addresses(layer), list[dict[str, np.ndarray]](), 0
        self.network.eval()
        for index in range(len(self.source) if named else 0):
            batch = to(self.source.batch(0, index), self.model.device)
            with record() as values:
                self.network.loss(batch)
            steps_of_batch = next(values[address].shape[1] for address in named)
            valid = ~padding_mask(batch[lengths], steps_of_batch)
            pieces.append({address: values[address][valid].float().cpu().numpy() for address in named})
            steps += int(batch[lengths].sum())
            if steps > STEPS:
                break
        return saturation(named, {address: np.concatenate([piece[address] for piece in pieces]) for address in named})
