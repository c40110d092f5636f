"""BLEU-1 to BLEU-4 and CIDEr-D of captions against all captions of the same images."""

from collections.abc import Collection
from typing import Any

import numpy as np

from elman.data.table import Table
from elman.metrics.cider import Cider
from elman.metrics.grouping import grouped
from elman.metrics.translation import TranslationScores, group_references


class CaptionScores:
    """Scores of predicted captions, by row; all captions of an image in the table are its references."""

    def __init__(self, rows: Table, predictions: dict[int, str]):
        self.rows, self.predictions = rows, predictions
        self.names = [image.name for image in rows.columns["image"]]
        self.references = group_references(self.names, rows.columns["caption"])
        self._cider = Cider(self.references)

    def cider(self, row: int) -> float:
        """CIDEr-D of one caption."""
        return self._cider.score(self.names[row], self.predictions[row])

    def is_true(self, row: int) -> bool | None:
        """Whether a caption is true, where its image has a ground truth."""
        return self.rows.columns["image"][row].is_true(self.predictions[row])

    def corpus(self, rows: Collection[int]) -> dict[str, float]:
        """bleu1 to bleu4 of the captions of some rows, their mean cider, and, where that is known, the share that is
        true."""
        predictions = {self.names[row]: self.predictions[row] for row in rows}
        found = {f"bleu{n}": TranslationScores(predictions, self.references, n).bleu(predictions) for n in range(1, 5)}
        found["cider"] = float(np.mean([self.cider(row) for row in rows]))
        truth = [value for row in rows if (value := self.is_true(row)) is not None]
        return found | {"true": float(np.mean(truth))} if len(truth) == len(rows) else found

    def metrics(self) -> dict[str, Any]:
        """The scores of all rows, and `by_pair` those of each value of the column `pair`, where it has several."""
        pairs = {pair: self.corpus(rows) for pair, rows in grouped(self.rows, "pair", self.predictions).items()}
        return self.corpus(self.predictions) | ({"by_pair": pairs} if pairs else {}) | {"images": len(self.predictions)}
