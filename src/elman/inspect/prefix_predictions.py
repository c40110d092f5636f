"""The verdict of a classifier after every step of a row, as if the row ended there."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from elman.inspect import painting
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions, pieces, seen, shortened
from elman.tasks.classify import Classify
from elman.tokenizers import registry

MOST, READABLE, BUDGET = 150, 60, 1_000_000  # rows that are followed; steps of those taken first; steps squared
TURNING, SUREST = 4, 2  # rows that are shown
DRAWN, PAINTED = 24, 80  # steps of a row in a chart, and in a strip
GRID = np.linspace(0, 1, 21)[1:]  # shares of a row that was read
NAMED = 3  # classes under the pointer


@dataclass(frozen=True)
class Followed:
    """A row, its true class, and what was said after each of its steps: chances (T, K). `pieces` (T,) are its tokens,
    None for one that is no text."""

    row: int
    truth: int
    chances: np.ndarray
    pieces: list[str] | None

    @property
    def true(self) -> np.ndarray:
        """The probability of the true class (T,)."""
        return self.chances[:, self.truth]

    @property
    def said(self) -> int:
        """The class of the whole row."""
        return int(self.chances[-1].argmax())

    @property
    def turn(self) -> tuple[int, float]:
        """The step that changes most, and by how much; the first changes nothing."""
        changes = np.diff(self.true, prepend=self.true[:1])
        place = int(np.abs(changes).argmax())
        return place, float(changes[place])

    @property
    def settled(self) -> int:
        """Steps after which the verdict is that of the whole row for good."""
        other = np.flatnonzero(self.chances.argmax(1) != self.said)
        return int(other[-1]) + 2 if len(other) else 1

    def window(self, most: int) -> slice:
        """At most so many steps, with the turn among them."""
        begin = max(0, min(self.turn[0] - most // 2, len(self.chances) - most))
        return slice(begin, begin + most)


class PrefixPredictions:
    """Rows of a classifier, followed step by step."""

    def __init__(self, here: Predictions, task: Classify):
        self.here, self.task, self.labels = here, task, here.config["labels"]
        self.tokens = registry.from_json(here.config["tokens"]) if "tokens" in here.config else None
        self.unit = "step" if self.tokens is None else self.tokens.unit
        self.inputs = here.source.values("input")
        self.many = [self.follow(row) for row in self._some()]

    def _some(self) -> list[int]:
        """Rows short enough to be read, as they come, then longer ones; as many as can be followed in a while."""
        sizes = [len(each) for each in self.inputs]
        order = sorted((row for row, size in enumerate(sizes) if size), key=lambda row: max(READABLE, sizes[row]))
        costs = np.cumsum([sizes[row] ** 2 for row in order])
        return order[: max(1, min(MOST, int((costs <= BUDGET).sum())))]

    def follow(self, row: int) -> Followed:
        """The row, applied after each of its steps."""
        given = torch.from_numpy(self.inputs[row]).to(self.here.model.device)
        chances = self.task.running(given).float().cpu().numpy()
        truth = self.labels.index(self.here.column("label")[row])
        return Followed(row, truth, chances, self.pieces(row))

    def pieces(self, row: int) -> list[str] | None:
        """The tokens of a row as they stand in its text."""
        if self.tokens is None:
            return None
        return pieces(self.tokens, self.here.column("text")[row], self.inputs[row])

    def shown(self) -> dict[str, list[Followed]]:
        """The rows that are shown, by what is to be seen in them."""
        turning = self._distinct(sorted(self.many, key=lambda each: -abs(each.turn[1])), TURNING)
        sure = [answer["probability"] for answer in self.here.answers]
        right = [answer["label"] == label
                 for answer, label in zip(self.here.answers, self.here.column("label"), strict=True)]  # fmt: skip
        order = [row for row in sorted(range(len(sure)), key=lambda row: -sure[row]) if len(self.inputs[row])]
        found = {f"Where one {self.unit} changes most": turning}
        for wanted, name in ((False, "Surest, and wrong"), (True, "Surest, and right")):
            if rows := self._distinct((self.follow(row) for row in order if right[row] == wanted), SUREST):
                found[name] = rows
        return found

    def _distinct(self, rows: Iterable[Followed], count: int) -> list[Followed]:
        """The first rows that are not like one before."""
        found: dict[Any, Followed] = {}
        for each in rows:
            value = self.here.column("text")[each.row]
            found.setdefault(value.tobytes() if isinstance(value, np.ndarray) else value, each)
            if len(found) == count:
                break
        return list(found.values())

    def progress(self) -> tuple[np.ndarray, np.ndarray]:
        """After each share of a row (G,): the share of rows that would be said right, and the mean probability of the
        true class."""
        places = [np.ceil(GRID * len(each.chances)).astype(int) - 1 for each in self.many]
        right = [each.chances.argmax(1)[place] == each.truth for each, place in zip(self.many, places, strict=True)]
        chances = [each.true[place] for each, place in zip(self.many, places, strict=True)]
        return np.mean(right, 0), np.mean(chances, 0)

    def panel(self) -> Panel:
        """Every word painted by the probability of the true class, where it turns, and how early it is known."""
        right, chances = self.progress()
        groups, quiet = self.shown(), self.here.look.quiet
        pictures: dict[str, Any] = {"progress": self._progress(right, chances)}
        for number, each in enumerate(next(iter(groups.values()))):
            pictures[f"turn-{number + 1}"] = self._curve(each)
        body = ""
        if self.tokens is not None and not quiet:
            pictures["running"] = painting.picture(
                [(self.heading(each), *self.painted(each)[:2]) for rows in groups.values() for each in rows]
            )
            body = "".join(
                f"<h3>{name}</h3>" + "".join(self.strip(each) for each in rows) for name, rows in groups.items()
            )
        half, settled = right[len(GRID) // 2 - 1], np.median([each.settled / len(each.chances) for each in self.many])
        says = (
            f"What would be said had the row ended after each {self.unit}: after half of a row {half:.0%} of "
            f"{len(self.many)} rows would be said right, after all of it {right[-1]:.0%}; half of the verdicts stand "
            f"for good once {settled:.0%} of the row is read."
        )
        figures: dict[str, Any] = {"rows": len(self.many), "share_read": GRID, "right": right, "probability": chances,
                                   "settled": settled}  # fmt: skip
        if not quiet:
            says += self._turned(next(iter(groups.values()))[0])
            figures["shown"] = {name: [self.figures(each) for each in rows] for name, rows in groups.items()}
        if body:
            says += " Painted is the probability of the true class after each: blue 0, red 1."
        return Panel("running", f"The verdict after each {self.unit}", says, figures, pictures, body)

    def _turned(self, each: Followed) -> str:
        place, change = each.turn
        if each.pieces is None or not change:
            return ""
        before, after = each.true[place - 1], each.true[place]
        word, label = seen(each.pieces[place], 30), shortened(self.labels[each.truth], 30)
        return f" In one row “{word}” takes the true class, “{label}”, from {before:.2f} to {after:.2f}."

    def heading(self, each: Followed) -> str:
        """What is true of a row, and what is said of it."""
        truth, said = (f"“{shortened(self.labels[k], 40)}”" for k in (each.truth, each.said))
        return f"{truth}: " + (f"said so with {each.chances[-1].max():.2f}" if each.truth == each.said
                               else f"said to be {said} with {each.chances[-1].max():.2f}")  # fmt: skip

    def painted(self, each: Followed) -> tuple[str, np.ndarray, list[str]]:
        """A row for painting: its text, and for each of its characters the probability of the true class as -1 to 1,
        and what is said there."""
        return spread(each, 2 * each.true - 1, [self._note(chances) for chances in each.chances])

    def strip(self, each: Followed) -> str:
        """A painted row, for a page."""
        text, shades, notes = self.painted(each)
        return f'{html.escape(self.heading(each))}<div dir="auto">{painting.page(text, shades, notes)}</div>'

    def _note(self, chances: np.ndarray) -> str:
        best = np.argsort(-chances, kind="stable")[:NAMED]
        return "\n".join(f"{chances[k]:6.1%} {shortened(self.labels[k], 40)}" for k in best)

    def figures(self, each: Followed) -> dict[str, Any]:
        """A row in numbers."""
        texts = {} if each.pieces is None else {"tokens": each.pieces}
        return {"truth": self.labels[each.truth], "said": self.labels[each.said], "probability": each.true} | texts

    @styled
    def _progress(self, right: np.ndarray, chances: np.ndarray) -> Figure:
        figure, axis = axes(5.0, 2.9)
        axis.plot(GRID, right, label="would be said right", color=COLOURS[2])
        axis.plot(GRID, chances, label="probability of the true class", color=COLOURS[0])
        axis.set(xlabel="share of the row that was read", ylim=(0, 1.02), title=f"{len(self.many)} rows")
        axis.legend()
        return figure

    @styled
    def _curve(self, each: Followed) -> Figure:
        """The probability of the true class over the words of a row."""
        part = each.window(DRAWN)
        places = np.arange(len(each.chances))[part]
        figure, axis = axes(5.0, 2.9)
        axis.axhline(0.5, color="#80808080", linewidth=0.8)
        axis.plot(places, each.true[part], marker="o", markersize=3.5, color=COLOURS[0])
        place = each.turn[0]
        axis.plot(place, each.true[place], marker="o", markersize=7, color=COLOURS[3])
        axis.set(ylim=(-0.04, 1.04), title=literal(f"probability of “{shortened(self.labels[each.truth], 30)}”"))
        if each.pieces is None or self.here.look.quiet:
            axis.set_xlabel(self.unit)
        else:
            words = [literal(seen(piece, 14)) for piece in each.pieces[part]]
            axis.set_xticks(places, words, rotation=55, ha="right", rotation_mode="anchor")
            axis.get_xticklabels()[place - places[0]].set_color(COLOURS[3])
        return figure


def spread(each: Followed, values: np.ndarray, notes: list[str]) -> tuple[str, np.ndarray, list[str]]:
    """The text of a row, values (T,) and notes (T,) of its tokens spread over its characters; of a long one a piece."""
    assert each.pieces is not None
    part = each.window(PAINTED)
    shown, begin, end = each.pieces[part], part.start > 0, part.stop < len(each.pieces)
    sizes = [len(piece) for piece in shown]
    text = "…" * begin + "".join(shown) + " …" * end
    shades = np.concatenate((np.zeros(int(begin)), np.repeat(values[part], sizes), np.zeros(2 * end)))
    told = [note for note, size in zip(notes[part], sizes, strict=True) for _ in range(size)]
    return text, shades, [""] * begin + told + [""] * (2 * end)
