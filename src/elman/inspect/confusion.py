"""Confusion: what is said where something else is true."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.panel import table
from elman.inspect.predictions import shortened

DRAWN, WRITTEN = 20, 12  # classes in the chart, and classes up to which its cells have numbers
NAMED = 12  # confusions in the table
RIGHT, WRONG = (79, 168, 96), (224, 82, 90)


@dataclass(frozen=True)
class Confusion:
    """Counts (K, K): rows the truth, columns what was said. The share of what was said of a class that is right
    (precision), of what is of the class that was said (recall), and F1, (K,) each; NaN where nothing is known."""

    labels: list[str]
    counts: np.ndarray
    unit: str

    @property
    def precision(self) -> np.ndarray:
        return _share(self.counts.diagonal(), self.counts.sum(0))

    @property
    def recall(self) -> np.ndarray:
        return _share(self.counts.diagonal(), self.counts.sum(1))

    @property
    def f1(self) -> np.ndarray:
        return _share(2 * self.counts.diagonal(), self.counts.sum(0) + self.counts.sum(1))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur or are said."""
        return float(np.nanmean(self.f1))

    @property
    def accuracy(self) -> float:
        return float(self.counts.trace() / self.counts.sum())

    def worst(self) -> list[tuple[int, int]]:
        """The pairs (truth, said) that were confused, the most frequent first."""
        wrong = self.counts * (1 - np.eye(len(self.counts), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        return [(int(truth), int(said)) for truth, said in zip(*np.unravel_index(order, wrong.shape), strict=True)]

    def shown(self) -> np.ndarray:
        """The classes of the chart: all, or those that are most confused, in the order of the labels."""
        wrong = self.counts.sum(0) + self.counts.sum(1) - 2 * self.counts.diagonal()
        return np.sort(np.argsort(-wrong, kind="stable")[:DRAWN])

    def says(self) -> str:
        """How much is right, and what is confused most."""
        right, total = int(self.counts.trace()), int(self.counts.sum())
        told = f"Of {total:,} {self.unit}s {right:,} are said right: {self.accuracy:.1%}; macro-F1 {self.macro_f1:.3f}."
        if worst := self.worst():
            # between marks that keep a label of right-to-left letters from turning what stands beside it
            (truth, said), names = worst[0], [f"“\u2068{shortened(label, 40)}\u2069”" for label in self.labels]
            count, share = int(self.counts[truth, said]), self.counts[truth, said] / self.counts[truth].sum()
            told += (
                f" Most often {names[truth]} is taken for {names[said]}: {count:,} time{'' if count == 1 else 's'}, "
            )
            told += f"{share:.0%} of all {names[truth]}."
        if len(self.labels) > DRAWN:
            told += f" The chart has the {DRAWN} of {len(self.labels)} classes that are confused most."
        return told

    def figures(self) -> dict[str, Any]:
        """All numbers."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "labels": self.labels, "counts": self.counts,
                "precision": self.precision, "recall": self.recall, "f1": self.f1}  # fmt: skip

    def body(self) -> str:
        """Its figures class by class, and the most frequent confusions."""
        by_class = zip(self.labels, self.precision, self.recall, self.f1, strict=True)
        rows = [[shortened(label, 40), float(f1), float(precision), float(recall), int(self.counts[k].sum()),
                 int(self.counts[:, k].sum())]
                for k, (label, precision, recall, f1) in enumerate(by_class)]  # fmt: skip
        made = table(["class", "F1", "precision", "recall", f"{self.unit}s", "said"], rows)
        if worst := self.worst()[:NAMED]:
            of = self.counts.sum(1)
            confused = [[shortened(self.labels[truth], 40), shortened(self.labels[said], 40),
                         int(self.counts[truth, said]), f"{self.counts[truth, said] / of[truth]:.1%}"]
                        for truth, said in worst]  # fmt: skip
            made += "<h3>Most confused</h3>" + table(["truth", "said", "times", "share of the truth"], confused)
        return made

    @styled
    def chart(self) -> Figure:
        """The share of each truth that was said to be each class, and F1."""
        shown = self.shown()
        size, names = len(shown), [literal(shortened(self.labels[k], 16)) for k in shown]
        figure, grid = axes(10.0, max(2.4, 1.2 + 0.3 * size), 1, 2, width_ratios=(1.5, 1))
        left, right = grid[0]
        of = np.maximum(self.counts.sum(1), 1)[shown, None]
        counts = self.counts[np.ix_(shown, shown)]
        left.imshow(coloured(counts / of), aspect="auto", interpolation="none")
        for (truth, said), count in np.ndenumerate(counts):
            if size <= WRITTEN and count:
                left.text(said, truth, f"{count:,}\n{count / of[truth, 0]:.0%}" if size <= 6 else f"{count:,}",
                          ha="center", va="center", fontsize=8)  # fmt: skip
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if size > 4 else {}
        left.set_xticks(range(size), names, **turned)
        left.set_yticks(range(size), names)
        left.set(xlabel="said", ylabel="truth")
        left.grid(False)
        f1 = self.f1[shown]
        right.barh(range(size), np.nan_to_num(f1), color=COLOURS[0], height=0.6)
        right.set(xlim=(0, 1), ylim=(size - 0.5, -0.5), xlabel="F1")
        right.set_yticks(range(size), names)
        right.grid(False, axis="y")
        return figure


def counted(truths: list[str], saids: list[str], labels: list[str], unit: str) -> Confusion:
    """The confusion of what is true and what was said, side by side."""
    numbers = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    for truth, said in zip(truths, saids, strict=True):
        counts[numbers[truth], numbers[said]] += 1
    return Confusion(labels, counts, unit)


def _share(part: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.where(of > 0, part / np.maximum(of, 1), np.nan)


def coloured(shares: np.ndarray) -> np.ndarray:
    """Green where truth and said are the same, red where not, the stronger the larger; (K, K, 4)."""
    same = np.eye(len(shares), dtype=bool)[..., None]
    colours = np.where(same, np.array(RIGHT) / 255, np.array(WRONG) / 255)
    return np.concatenate((colours, 0.85 * np.sqrt(shares)[..., None] * np.ones_like(colours[..., :1])), -1)
