"""The attention of a translator over the source, for each token of the translation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from elman.inspect.blocks import Chart
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.display import token_label
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.tasks.answer import Attention

SHOWN, MEASURED = 4, 40  # sentences that are drawn, and over which the metrics are taken
SHORTEST, READABLE = 4, 24  # tokens of a source
END, CONTINUED = "(end)", "·"


@dataclass(frozen=True, eq=False)
class Alignment:
    """Attention weights (T, S) over the tokens of a source, for each token of its translation, the end included."""

    source: list[str]
    target: list[str]
    weights: np.ndarray

    @property
    def _tokens(self) -> np.ndarray:
        """The weights without those of the end."""
        return self.weights[: -1 if self.target[-1:] == [END] else None]

    @property
    def highest(self) -> float:
        """The largest weight of a token, mean over the translation."""
        return float(self._tokens.max(1).mean()) if len(self._tokens) else float("nan")

    @property
    def forward(self) -> float:
        """The fraction of steps at which the position of the largest weight does not move back; NaN without steps."""
        positions = self._tokens.argmax(1)
        return float((np.diff(positions) >= 0).mean()) if len(positions) > 1 else float("nan")

    @styled
    def chart(self) -> Figure:
        """A heat map, the source across and the translation down."""
        down, across = self.weights.shape
        figure, axis = axes(5.0, max(2.4, 1.3 + 0.2 * down))
        colour = [int(COLOURS[0][digit : digit + 2], 16) / 255 for digit in (1, 3, 5)]
        axis.imshow(
            np.concatenate((np.ones((down, across, 3)) * colour, self.weights[..., None]), -1),
            aspect="auto", interpolation="none",
        )  # fmt: skip
        size = 8 if max(down, across) <= 24 else 6
        rotated = {"rotation": 55, "ha": "left", "rotation_mode": "anchor"} if max(map(len, self.source)) > 1 else {}
        axis.set_xticks(range(across), [literal(each) for each in self.source], fontsize=size, **rotated)
        axis.set_yticks(range(down), [literal(each) for each in self.target], fontsize=size)
        axis.xaxis.tick_top()
        axis.spines[["top", "right"]].set_visible(True)
        axis.grid(False)
        return figure


def align(attention: Attention, lead: str) -> Alignment:
    """The alignment of an answer. `lead`: what begins a word of the tokenizers."""
    assert isinstance(attention.keys, tuple)
    return Alignment(labels(attention.keys, lead), labels(attention.queries, lead), attention.weights)


def labels(pieces: Sequence[str], lead: str) -> list[str]:
    """Visible tokens. One that continues a word begins with a dot; an empty one is the end."""
    return [(CONTINUED if number and lead and piece[:1].isalnum() else "") + token_label(piece, 16) if piece else END
            for number, piece in enumerate(pieces)]  # fmt: skip


def alignment_panel(here: Predictions) -> Panel:
    """Heat maps of some sentences, or the reason why there are none."""
    attentions = [answer.attention for answer in here.answers if answer.attention is not None]
    if not attentions:
        return Panel("alignment", "Attention", "This translator has no attention: its decoder has only the encoder's "
                     "last state.")  # fmt: skip
    sizes = [attention.weights.shape[1] for attention in attentions]
    fit = [row for row, size in enumerate(sizes) if SHORTEST <= size <= READABLE]
    rows = (fit or sorted(range(len(sizes)), key=lambda row: abs(sizes[row] - READABLE)))[:MEASURED]
    found = [align(attentions[row], here.spec.source.lead) for row in rows]
    ordered = sorted(found, key=lambda each: each.weights.size)
    drawn = [ordered[k] for k in np.unique(np.linspace(len(ordered) / 3, len(ordered) - 1, SHOWN).astype(int))]
    highest = float(np.nanmean([each.highest for each in found]))
    forward = float(np.nanmean([each.forward for each in found]))
    uniform = float(np.mean([1 / each.weights.shape[1] for each in found]))
    summary = (
        f"Rows are generated tokens, columns tokens of the source; the darker, the larger the attention weight. Over "
        f"{len(found)} sentences the largest weight of a token is {highest:.0%} on average (uniform: {uniform:.0%}); "
        f"in {forward:.0%} of the steps its position does not move back."
    )
    if any(piece.startswith(CONTINUED) for each in drawn for piece in (*each.source, *each.target)):
        summary += f" A token that continues a word begins with {CONTINUED}."
    metrics = {"highest": highest, "uniform": uniform, "forward": forward, "sentences": [vars(each) for each in drawn]}
    return Panel("alignment", "Attention", summary, metrics,
                 [Chart(f"alignment-{k + 1}", each.chart()) for k, each in enumerate(drawn)])  # fmt: skip
