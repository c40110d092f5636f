"""The prediction of a classifier after every step of a row, as if the row ended there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from elman.inspect.blocks import Block, Chart, Heading, PaintedText
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.display import shortened, token_label
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.token_texts import token_texts

MOST, READABLE, BUDGET = 150, 60, 1_000_000  # rows that are read; steps of those read first; total of squared steps
LARGEST, CONFIDENT = 4, 2  # rows that are shown: of largest change, and of highest confidence
DRAWN, PAINTED = 24, 80  # steps of a row in a chart, and in painted text
GRID = np.linspace(0, 1, 21)[1:]  # fractions of a row
NOTED = 3  # classes at the pointer


@dataclass(frozen=True, eq=False)
class PrefixedRow:
    """A row, its target class, and the probabilities (T, K) after each of its steps. `pieces`: its T tokens, None for a
    row that is no text."""

    row: int
    target: int
    probabilities: np.ndarray
    pieces: list[str] | None

    @property
    def of_target(self) -> np.ndarray:
        """The probability of the target class (T,)."""
        return self.probabilities[:, self.target]

    @property
    def predicted(self) -> int:
        """The class predicted for the whole row."""
        return int(self.probabilities[-1].argmax())

    @property
    def change(self) -> tuple[int, float]:
        """The step at which the probability of the target changes most, and the change; the first changes nothing."""
        changes = np.diff(self.of_target, prepend=self.of_target[:1])
        step = int(np.abs(changes).argmax())
        return step, float(changes[step])

    @property
    def settled(self) -> int:
        """The number of steps after which the prediction no longer changes."""
        other = np.flatnonzero(self.probabilities.argmax(1) != self.predicted)
        return int(other[-1]) + 2 if len(other) else 1

    def around(self, most: int) -> slice:
        """At most so many steps around the largest change."""
        begin = max(0, min(self.change[0] - most // 2, len(self.probabilities) - most))
        return slice(begin, begin + most)


class PrefixPredictions:
    """Rows of a classifier, predicted step by step.

    - tokenizer: of a text input, else None; unit: the name of a step
    - rows: those that are read
    """

    def __init__(self, here: Predictions):
        self.here, self.labels = here, here.spec.labels.labels
        self.tokenizer = getattr(here.spec.input, "tokenizer", None)
        self.unit = "step" if self.tokenizer is None else self.tokenizer.unit
        self.inputs = here.source.values("input")
        self.rows = [self.read(row) for row in self._chosen()]

    def _chosen(self) -> list[int]:
        """Short rows in their order, then longer ones, as many as the budget allows."""
        sizes = [len(each) for each in self.inputs]
        order = sorted((row for row, size in enumerate(sizes) if size), key=lambda row: max(READABLE, sizes[row]))
        costs = np.cumsum([sizes[row] ** 2 for row in order])
        return order[: max(1, min(MOST, int((costs <= BUDGET).sum())))]

    def read(self, row: int) -> PrefixedRow:
        """The predictions for a row."""
        inputs = torch.from_numpy(self.inputs[row]).to(self.here.model.device)
        probabilities = self.here.network.prefix_probabilities(inputs).float().cpu().numpy()
        pieces = None
        if self.tokenizer is not None:
            pieces = token_texts(self.tokenizer, self.here.column("text")[row], self.inputs[row])
        target = self.labels.index(self.here.column("label")[row])
        return PrefixedRow(row, target, probabilities, pieces)

    def shown(self) -> dict[str, list[PrefixedRow]]:
        """The rows that are shown, by what they show."""
        changing = self._distinct(sorted(self.rows, key=lambda each: -abs(each.change[1])), LARGEST)
        confidence = [answer["probability"] for answer in self.here.answers]
        correct = [answer["label"] == label
                   for answer, label in zip(self.here.answers, self.here.column("label"), strict=True)]  # fmt: skip
        order = [row for row in sorted(range(len(confidence)), key=lambda row: -confidence[row])
                 if len(self.inputs[row])]  # fmt: skip
        found = {f"Largest change at one {self.unit}": changing}
        for wanted, name in ((False, "Most confident, wrong"), (True, "Most confident, correct")):
            if rows := self._distinct((self.read(row) for row in order if correct[row] == wanted), CONFIDENT):
                found[name] = rows
        return found

    def _distinct(self, rows: Iterable[PrefixedRow], count: int) -> list[PrefixedRow]:
        """The first rows with different inputs."""
        found: dict[Any, PrefixedRow] = {}
        for each in rows:
            value = self.here.column("text")[each.row]
            found.setdefault(value.tobytes() if isinstance(value, np.ndarray) else value, each)
            if len(found) == count:
                break
        return list(found.values())

    def panel(self) -> Panel:
        """The probability of the target over the tokens of some rows, and the accuracy by fraction of a row."""
        correct, probability = by_fraction(self.rows)
        groups, hidden = self.shown(), self.here.options.no_text
        changing = next(iter(groups.values()))
        blocks: list[Block] = [Chart("progress", self._progress(correct, probability))]
        blocks += [Chart(f"change-{number + 1}", self._curve(each)) for number, each in enumerate(changing)]
        settled = np.median([each.settled / len(each.probabilities) for each in self.rows])
        summary = (
            f"Predictions for every prefix of {len(self.rows)} rows: the accuracy is {correct[len(GRID) // 2 - 1]:.0%} "
            f"after half of a row and {correct[-1]:.0%} after all of it; for half of the rows the prediction is final "
            f"after {settled:.0%} of the row."
        )
        metrics: dict[str, Any] = {"rows": len(self.rows), "fraction_read": GRID, "accuracy": correct,
                                   "probability": probability, "settled": settled}  # fmt: skip
        if not hidden:
            summary += self._change_sentence(changing[0])
            metrics["shown"] = {name: [self.metrics(each) for each in rows] for name, rows in groups.items()}
        if self.tokenizer is not None and not hidden:
            for name, rows in groups.items():
                blocks += [Heading(name), *(self.painted(each) for each in rows)]
            summary += " The text is painted by the probability of the target class: blue 0, red 1."
        return Panel("prefixes", f"Prediction after each {self.unit}", summary, metrics, blocks)

    def _change_sentence(self, each: PrefixedRow) -> str:
        step, change = each.change
        if each.pieces is None or not change:
            return ""
        before, after = each.of_target[step - 1], each.of_target[step]
        word, label = token_label(each.pieces[step], 30), shortened(self.labels[each.target], 30)
        return (
            f" In one row “{word}” changes the probability of the target, “{label}”, from {before:.2f} to {after:.2f}."
        )

    def title(self, each: PrefixedRow) -> str:
        """The target of a row and its prediction."""
        target, predicted = (f"“{shortened(self.labels[k], 40)}”" for k in (each.target, each.predicted))
        probability = f"{each.probabilities[-1].max():.2f}"
        if each.target == each.predicted:
            return f"target {target}, predicted with probability {probability}"
        return f"target {target}, predicted {predicted} with probability {probability}"

    def painted(self, each: PrefixedRow) -> PaintedText:
        """A row painted by the probability of the target class."""
        notes = [self._note(probabilities) for probabilities in each.probabilities]
        return spread(each, "prefixes", self.title(each), 2 * each.of_target - 1, notes)

    def _note(self, probabilities: np.ndarray) -> str:
        best = np.argsort(-probabilities, kind="stable")[:NOTED]
        return "\n".join(f"{probabilities[k]:6.1%} {shortened(self.labels[k], 40)}" for k in best)

    def metrics(self, each: PrefixedRow) -> dict[str, Any]:
        """The values of a row."""
        texts = {} if each.pieces is None else {"tokens": each.pieces}
        return {"target": self.labels[each.target], "predicted": self.labels[each.predicted],
                "probability": each.of_target} | texts  # fmt: skip

    @styled
    def _progress(self, correct: np.ndarray, probability: np.ndarray) -> Figure:
        figure, axis = axes(5.0, 2.9)
        axis.plot(GRID, correct, label="accuracy", color=COLOURS[2])
        axis.plot(GRID, probability, label="probability of the target", color=COLOURS[0])
        axis.set(xlabel="fraction of the row", ylim=(0, 1.02), title=f"{len(self.rows)} rows")
        axis.legend()
        return figure

    @styled
    def _curve(self, each: PrefixedRow) -> Figure:
        """The probability of the target over the tokens of a row."""
        part = each.around(DRAWN)
        steps = np.arange(len(each.probabilities))[part]
        figure, axis = axes(5.0, 2.9)
        axis.axhline(0.5, color="#80808080", linewidth=0.8)
        axis.plot(steps, each.of_target[part], marker="o", markersize=3.5, color=COLOURS[0])
        step = each.change[0]
        axis.plot(step, each.of_target[step], marker="o", markersize=7, color=COLOURS[3])
        title = literal(f"probability of “{shortened(self.labels[each.target], 30)}”")
        axis.set(ylim=(-0.04, 1.04), title=title)
        if each.pieces is None or self.here.options.no_text:
            axis.set_xlabel(self.unit)
        else:
            words = [literal(token_label(piece, 14)) for piece in each.pieces[part]]
            axis.set_xticks(steps, words, rotation=55, ha="right", rotation_mode="anchor")
            axis.get_xticklabels()[step - steps[0]].set_color(COLOURS[3])
        return figure


def by_fraction(rows: list[PrefixedRow]) -> tuple[np.ndarray, np.ndarray]:
    """After each fraction of a row (G,): the accuracy over the rows, and the mean probability of the target."""
    steps = [np.ceil(GRID * len(each.probabilities)).astype(int) - 1 for each in rows]
    correct = [each.probabilities.argmax(1)[step] == each.target for each, step in zip(rows, steps, strict=True)]
    probability = [each.of_target[step] for each, step in zip(rows, steps, strict=True)]
    return np.mean(correct, 0), np.mean(probability, 0)


def spread(
    each: PrefixedRow, name: str, title: str, values: np.ndarray, notes: list[str], heat: bool = False
) -> PaintedText:
    """The text of a row, painted by values (T,) of its tokens with their notes; of a long row the part around its
    largest change."""
    assert each.pieces is not None
    part = each.around(PAINTED)
    shown, begin, end = each.pieces[part], part.start > 0, part.stop < len(each.pieces)
    sizes = [len(piece) for piece in shown]
    text = "…" * begin + "".join(shown) + " …" * end
    painted = np.concatenate((np.zeros(int(begin)), np.repeat(values[part], sizes), np.zeros(2 * end)))
    by_character = [note for note, size in zip(notes[part], sizes, strict=True) for _ in range(size)]
    return PaintedText(name, title, text, painted, [""] * begin + by_character + [""] * (2 * end), heat)
