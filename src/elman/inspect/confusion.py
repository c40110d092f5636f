"""Confusion matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from elman.inspect.blocks import Block, Chart, Heading, Table
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.display import quoted, shortened
from elman.inspect.panel import Panel

DRAWN, NUMBERED = 20, 12  # classes in the chart at most, and with numbers in its cells
LISTED = 12  # confusions in the table
CORRECT, WRONG = (79, 168, 96), (224, 82, 90)


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts (K, K): rows are targets, columns predictions. Precision, recall and F1 are (K,), NaN where undefined."""

    labels: tuple[str, ...]
    counts: np.ndarray
    unit: str

    @property
    def precision(self) -> np.ndarray:
        return _ratio(self.counts.diagonal(), self.counts.sum(0))

    @property
    def recall(self) -> np.ndarray:
        return _ratio(self.counts.diagonal(), self.counts.sum(1))

    @property
    def f1(self) -> np.ndarray:
        return _ratio(2 * self.counts.diagonal(), self.counts.sum(0) + self.counts.sum(1))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur or are predicted."""
        return float(np.nanmean(self.f1))

    @property
    def accuracy(self) -> float:
        return float(self.counts.trace() / self.counts.sum())

    def worst(self) -> list[tuple[int, int]]:
        """The pairs (target, prediction) that were confused, most frequent first."""
        wrong = self.counts * (1 - np.eye(len(self.counts), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        return [(int(target), int(other)) for target, other in zip(*np.unravel_index(order, wrong.shape), strict=True)]

    def shown(self) -> np.ndarray:
        """The classes of the chart: all, or the most confused, in the order of the labels."""
        wrong = self.counts.sum(0) + self.counts.sum(1) - 2 * self.counts.diagonal()
        return np.sort(np.argsort(-wrong, kind="stable")[:DRAWN])

    def summary(self) -> str:
        """Accuracy, macro-F1, and the most frequent confusion."""
        correct, total = int(self.counts.trace()), int(self.counts.sum())
        text = f"The accuracy is {self.accuracy:.1%} ({correct:,} of {total:,} {self.unit}s), macro-F1 "
        text += f"{self.macro_f1:.3f}."
        if worst := self.worst():
            target, other = worst[0]
            count, fraction = int(self.counts[target, other]), self.counts[target, other] / self.counts[target].sum()
            text += (f" The most frequent confusion: {quoted(self.labels[target])} predicted as "
                     f"{quoted(self.labels[other])}, {count:,} time{'s' * (count != 1)}, {fraction:.0%} of its "
                     f"{self.unit}s.")  # fmt: skip
        if len(self.labels) > DRAWN:
            text += f" The chart has the {DRAWN} most confused of {len(self.labels)} classes."
        return text

    def metrics(self) -> dict[str, Any]:
        """All values."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "labels": list(self.labels),
                "counts": self.counts, "precision": self.precision, "recall": self.recall, "f1": self.f1}  # fmt: skip

    def tables(self) -> list[Block]:
        """The metrics of each class, and the most frequent confusions."""
        by_class = zip(self.labels, self.precision, self.recall, self.f1, strict=True)
        rows = [[shortened(label, 40), float(f1), float(precision), float(recall), int(self.counts[k].sum()),
                 int(self.counts[:, k].sum())]
                for k, (label, precision, recall, f1) in enumerate(by_class)]  # fmt: skip
        made: list[Block] = [Table(["class", "F1", "precision", "recall", f"{self.unit}s", "predicted"], rows)]
        if worst := self.worst()[:LISTED]:
            made += [Heading("Most frequent confusions"), self.confused(worst)]
        return made

    def panel(self) -> Panel:
        """Chart and tables."""
        return Panel("confusion", "Confusion matrix", self.summary(), self.metrics(),
                     [Chart("confusion", self.chart()), *self.tables()])  # fmt: skip

    def confused(self, pairs: Sequence[tuple[int, int]]) -> Table:
        """Some confusions with their counts, and as fractions of the target's."""
        totals = np.maximum(self.counts.sum(1), 1)
        rows = [[shortened(self.labels[target], 40), shortened(self.labels[other], 40),
                 int(self.counts[target, other]), f"{self.counts[target, other] / totals[target]:.1%}"]
                for target, other in pairs]  # fmt: skip
        return Table(["target", "predicted", "count", "of the target"], rows)

    @styled
    def chart(self) -> Figure:
        """The matrix, as fractions of each target, and F1."""
        shown = self.shown()
        size = len(shown)
        figure, grid = axes(10.0, max(2.4, 1.2 + 0.3 * size), 1, 2, width_ratios=(1.5, 1))
        left, right = grid[0]
        totals = np.maximum(self.counts.sum(1), 1)[shown, None]
        counts = self.counts[np.ix_(shown, shown)]
        names = draw_matrix(left, counts / totals, [shortened(self.labels[k], 16) for k in shown], 4)
        for (target, other), count in np.ndenumerate(counts):
            if size <= NUMBERED and count:
                number = f"{count:,}\n{count / totals[target, 0]:.0%}" if size <= 6 else f"{count:,}"
                left.text(other, target, number, ha="center", va="center", fontsize=8)
        left.set(xlabel="predicted", ylabel="target")
        f1 = self.f1[shown]
        right.barh(range(size), np.nan_to_num(f1), color=COLOURS[0], height=0.6)
        right.set(xlim=(0, 1), ylim=(size - 0.5, -0.5), xlabel="F1")
        right.set_yticks(range(size), names)
        right.grid(False, axis="y")
        return figure

    @styled
    def small_chart(self, title: str) -> Figure:
        """The matrix alone, with all classes."""
        size = len(self.labels)
        figure, axis = axes(2.0 + 0.3 * size, 1.5 + 0.3 * size)
        fractions = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        draw_matrix(axis, fractions, [shortened(label, 12) for label in self.labels], 2, aspect="equal")
        axis.set_title(literal(shortened(title, 30)))
        for (target, other), count in np.ndenumerate(self.counts):
            if count:
                axis.text(other, target, f"{count:,}", ha="center", va="center", fontsize=7)
        return figure


def confusion(targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str], unit: str) -> Confusion:
    """The confusion of predictions with targets."""
    indices = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    for target, prediction in zip(targets, predictions, strict=True):
        counts[indices[target], indices[prediction]] += 1
    return Confusion(tuple(labels), counts, unit)


def draw_matrix(axis: Any, fractions: np.ndarray, names: Sequence[str], straight: int, aspect: str = "auto") -> list:
    """Draws fractions (K, K), green where target and prediction agree and red elsewhere; returns the names as tick
    labels. Those of more than `straight` columns are rotated."""
    same = np.eye(len(fractions), dtype=bool)[..., None]
    colours = np.where(same, np.array(CORRECT) / 255, np.array(WRONG) / 255)
    opacity = 0.85 * np.sqrt(fractions)[..., None] * np.ones_like(colours[..., :1])
    axis.imshow(np.concatenate((colours, opacity), -1), aspect=aspect, interpolation="none")
    ticks = [literal(name) for name in names]
    rotated = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(names) > straight else {}
    axis.set_xticks(range(len(names)), ticks, **rotated)
    axis.set_yticks(range(len(names)), ticks)
    axis.grid(False)
    return ticks


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, part / np.maximum(total, 1), np.nan)
