"""Where a translator looks at the source while it writes each token."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from elman.decode.search import Search, search
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions, seen
from elman.tasks.translate import Translate, limit
from elman.tokenizers import registry
from elman.tokenizers.tokenizer import Tokenizer

SHOWN, MEASURED = 4, 40  # sentences that are drawn, and over which the numbers are taken
SHORTEST, READABLE = 4, 24  # tokens of a source that is looked at
END, GOES_ON = "(end)", "·"


@dataclass(frozen=True)
class Aligned:
    """The weights (T, S) of the attention over a source's tokens for each token that was written, the end the last."""

    source: list[str]
    target: list[str]
    weights: np.ndarray

    @property
    def highest(self) -> float:
        """The mean of the largest weight of each token that was written, the end not counted."""
        return float(self.weights[:-1].max(1).mean()) if len(self.weights) > 1 else float("nan")

    @property
    def forward(self) -> float:
        """The share of steps in which the place that is looked at most does not go back; NaN where there is none."""
        places = self.weights[:-1].argmax(1)
        return float((np.diff(places) >= 0).mean()) if len(places) > 1 else float("nan")

    @styled
    def chart(self) -> Figure:
        """A heat map, the source across and the target down."""
        down, across = self.weights.shape
        figure, axis = axes(5.0, max(2.4, 1.3 + 0.2 * down))
        colour = [int(COLOURS[0][place : place + 2], 16) / 255 for place in (1, 3, 5)]
        axis.imshow(
            np.concatenate((np.ones((down, across, 3)) * colour, self.weights[..., None]), -1),
            aspect="auto", interpolation="none",
        )  # fmt: skip
        size = 8 if max(down, across) <= 24 else 6
        turned = {"rotation": 55, "ha": "left", "rotation_mode": "anchor"} if max(map(len, self.source)) > 1 else {}
        axis.set_xticks(range(across), [literal(each) for each in self.source], fontsize=size, **turned)
        axis.set_yticks(range(down), [literal(each) for each in self.target], fontsize=size)
        axis.xaxis.tick_top()
        axis.spines[["top", "right"]].set_visible(True)
        axis.grid(False)
        return figure


def align(here: Predictions, task: Translate, row: int) -> Aligned:
    """What is written of a row, and where was looked for each token of it."""
    batch = here.batch(row)
    boundary = task.boundary
    [[found]] = search(task.eval().stepper(), batch, 1, boundary, boundary, Search(), limit(batch["source"].shape[1]))
    target = torch.tensor(found.tokens, dtype=torch.int64, device=batch["source"].device)
    weights = task.alignment(batch["source"][0], target).float().cpu().numpy()
    ids, sides = batch["source"][0].tolist(), here.config["tokens"]
    source = spelled(registry.from_json(sides["source"]), ids[::-1] if here.config["reverse"] else ids)
    return Aligned(
        source, [*spelled(registry.from_json(sides["target"]), found.tokens), END],
        weights[:, ::-1] if here.config["reverse"] else weights,
    )  # fmt: skip


def spelled(tokens: Tokenizer, ids: list[int]) -> list[str]:
    """Each token as one sees it; one that goes on within a word begins with a dot."""
    found = [tokens.decode([token]) for token in ids]
    return [(GOES_ON if place and tokens.lead and piece[:1].isalnum() else "") + seen(piece, 16)
            for place, piece in enumerate(found)]  # fmt: skip


def alignment_panel(here: Predictions, task: Translate) -> Panel:
    """Heat maps of some sentences, or a sentence that says why there are none."""
    title = "Where it looks"
    if task.attention is None:
        return Panel("alignment", title, "This translator has no attention: it knows the source only through the "
                     "encoder's last state, so there is nothing to draw.")  # fmt: skip
    sizes = [len(ids) for ids in here.source.values("source")]
    fit = [row for row, size in enumerate(sizes) if SHORTEST <= size <= READABLE]
    rows = (fit or sorted(range(len(sizes)), key=lambda row: abs(sizes[row] - READABLE)))[:MEASURED]
    found = [align(here, task, row) for row in rows]
    ordered = sorted(found, key=lambda each: each.weights.size)
    drawn = [ordered[k] for k in np.unique(np.linspace(len(ordered) / 3, len(ordered) - 1, SHOWN).astype(int))]
    highest = float(np.nanmean([each.highest for each in found]))
    forward = float(np.nanmean([each.forward for each in found]))
    even = float(np.mean([1 / each.weights.shape[1] for each in found]))
    says = (
        f"A row is a token as it was written, a column a token of the source; the deeper, the more of the attention. "
        f"Over {len(found)} sentences the place that is looked at most has {highest:.0%} (an even part would be "
        f"{even:.0%}), and from one token to the next it does not go back in {forward:.0%} of the steps."
    )
    if any(piece.startswith(GOES_ON) for each in drawn for piece in (*each.source, *each.target)):
        says += f" A token that goes on within a word begins with {GOES_ON}."
    figures = {"highest": highest, "even": even, "forward": forward, "sentences": [vars(each) for each in drawn]}
    return Panel(
        "alignment", title, says, figures, {f"alignment-{k + 1}": each.chart() for k, each in enumerate(drawn)}
    )
