"""The rows of a table that a model has answered: what all panels of its report look at."""

from functools import cached_property
from typing import Any

import numpy as np
import torch

from elman.cells.tap import record
from elman.data.rows import Rows
from elman.errors import UserError
from elman.inspect import painting
from elman.inspect.expectation import visible
from elman.inspect.gates import places, saturation
from elman.inspect.look import Look
from elman.inspect.panel import Panel
from elman.printable import printable
from elman.recurrent.layer import Recurrent
from elman.recurrent.lengths import past
from elman.tasks.tables import TableTask
from elman.tasks.task import Answer, Batch, to
from elman.tokenizers.tokenizer import Tokenizer, lowercase
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer
from elman.training.trained_model import Model

ROWS = 2000  # that are read when nothing else is asked for
STEPS = 20_000  # at which gates are looked at
GATHERED = 64  # rows at a time


class Predictions:
    """Rows that a model was not trained on, or those of another table, and what it says of them. Rows are counted from
    0, in an order of their own: `source.table` has them as they were before they were numbers, `whole` the others
    too."""

    def __init__(self, model: Model, look: Look):
        task = model.task
        assert isinstance(task, TableTask)
        self.model, self.task, self.look, self.config = model, task, look, model.config["data"]
        source = task.source(model.config, "valid", look.text, None, log=look.log)
        if source is None:
            look.log("the run has no held-out part: it is looked into on what it was trained on")
            source = task.source(model.config, "train", None, None)
        if not isinstance(source, Rows):
            raise UserError(f"{look.text or model.path} has no rows to look at")
        chosen = np.random.default_rng(look.seed).permutation(len(source.table))[: look.length or ROWS]
        look.log(f"{len(chosen):,} rows are read, of {len(source.table):,}")
        self.whole, self.source = source.table, source.select(chosen)
        texts = [value for values in self.source.table.columns.values() for value in values if isinstance(value, str)]
        if not look.quiet:
            painting.log_uncovered("".join(texts), look.log)

    def __len__(self) -> int:
        return len(self.source.table)

    def column(self, role: str) -> list[Any]:
        """What stands in the table, a value a row."""
        return self.source.table.columns[role]

    @cached_property
    def answers(self) -> list[Answer]:
        """What the model says of each row."""
        found = dict(self.task.answered(self.source, self.config))
        return [found[row] for row in range(len(self))]

    @cached_property
    def judged(self) -> dict[str, Any]:
        """What the task counts of its answers: accuracy, F1."""
        return self.task.figures(self.source.table, dict(enumerate(self.answers)), self.config)

    def batch(self, *rows: int) -> Batch:
        """Some rows as numbers, where the model is."""
        return to(self.source.take(np.array(rows)), self.model.device)

    @torch.no_grad()
    def loss(self, rows: list[int]) -> tuple[float, int]:
        """The nats of some rows, all together, and how many tokens they are spread over."""
        nats, tokens = 0.0, 0
        self.task.eval()
        for begin in range(0, len(rows), GATHERED):
            _, _, sums = self.task.loss(self.batch(*rows[begin : begin + GATHERED]))
            nats, tokens = nats + float(sums["nats"]), tokens + int(sums["tokens"])
        return nats, tokens

    @torch.no_grad()
    def gates(self, layer: Recurrent) -> Panel | None:
        """How often the gates of a layer that reads the rows are shut and open; what is padding does not count."""
        named, pieces, steps = places(layer), list[dict[str, np.ndarray]](), 0
        self.task.eval()
        for index in range(len(self.source) if named else 0):
            batch = to(self.source.batch(0, index), self.model.device)
            with record() as seen:
                self.task.loss(batch)
            lengths = batch[f"{self.task.by}_lengths"]
            values = {place: seen[place] for place in named}
            counted = ~past(lengths, next(iter(values.values())).shape[1])
            pieces.append({place: value[counted].float().cpu().numpy() for place, value in values.items()})
            steps += int(lengths.sum())
            if steps > STEPS:
                break
        return saturation(named, {place: np.concatenate([piece[place] for piece in pieces]) for place in named})


def pieces(tokens: Tokenizer, text: str, ids: np.ndarray) -> list[str]:
    """The tokens (T,) of a text as they stand in it, also those for which the model has no token of their own."""
    if isinstance(tokens, VocabularyTokenizer):
        alone = tokens.with_lead(text)
        found = list(tokens.split(lowercase(alone) if tokens.lower else alone))[: len(ids)]
    else:
        decode = tokens.decoder()
        found = [decode(int(token)) for token in ids]
    return [piece.removeprefix(tokens.lead) if not place else piece for place, piece in enumerate(found)]


def seen(piece: str, most: int) -> str:
    """A token as one sees it, without the blanks around it, in at most so many characters."""
    return shortened(visible(piece.strip() or piece), most)


def shortened(text: str, most: int = 160) -> str:
    """A text in a line of at most so many characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
