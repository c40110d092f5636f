"""Captions beside those that people wrote of the same pictures."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from elman.data.table import Table
from elman.metrics import pointing
from elman.metrics.cider import Cider
from elman.metrics.groups import parted
from elman.metrics.translation import Scores, references


class Described:
    """What was said of pictures, each in a row of its own; all captions that a table has of a picture count."""

    def __init__(self, rows: Table, said: dict[int, str]):
        self.rows, self.said = rows, said
        self.names = [picture.name for picture in rows.columns["image"]]
        self.references = references(self.names, rows.columns["caption"])
        self._cider = Cider(self.references)

    def cider(self, row: int) -> float:
        """CIDEr-D of one."""
        return self._cider.score(self.names[row], self.said[row])

    def true(self, row: int) -> bool | None:
        """Whether one is true, where its picture can judge that."""
        return self.rows.columns["image"][row].holds(self.said[row])

    def corpus(self, rows: Collection[int]) -> dict[str, float]:
        """bleu1 to bleu4 of some together, the mean of their cider, and the share that is true, if that is known."""
        said = {self.names[row]: self.said[row] for row in rows}
        figures = {f"bleu{n}": Scores(said, self.references, n).bleu(said) for n in range(1, 5)}
        figures["cider"] = float(np.mean([self.cider(row) for row in rows]))
        held = [held for row in rows if (held := self.true(row)) is not None]
        return figures | {"true": float(np.mean(held))} if len(held) == len(rows) else figures

    def figures(self) -> dict[str, Any]:
        """Those of all, and by_pair of the rows of each pair, where there are several."""
        pairs = {pair: self.corpus(rows) for pair, rows in parted(self.rows, "pair", self.said).items()}
        return self.corpus(self.said) | ({"by_pair": pairs} if pairs else {}) | {"pictures": len(self.said)}


def captions(rows: Table, predicted: Mapping[int, str], attended: Mapping[int, Any]) -> dict[str, Any]:
    """Metrics of a caption of each image, by a row of it: see `Described.figures`; and where images know the boxes of
    their objects, how much of the `attended` attention lay on what a noun names: see `pointing.figures`."""
    found = [each for some in pointed_captions(rows, predicted, attended).values() for each in some]
    return Described(rows, dict(predicted)).figures() | pointing.figures(found)


def pointed_captions(rows: Table, predicted: Mapping[int, str], attended: Mapping[int, Any]) -> dict[int, list[Any]]:
    """`pointed` by row, of captions of images that know their boxes and with attention."""
    found = {}
    for row, caption in predicted.items():
        boxes, attention = rows.columns["image"][row].boxes(caption), attended.get(row)
        if boxes and attention is not None:
            found[row] = pointing.pointed(attention.weights, attention.queries, boxes)
    return found
