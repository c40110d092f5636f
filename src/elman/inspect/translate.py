"""The report of a translator: how good it is, for sources of every length too, where it looks, and what is hardest."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from elman.inspect.alignment import alignment_panel
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.curves import training
from elman.inspect.look import Look
from elman.inspect.panel import Panel, table
from elman.inspect.predictions import Predictions, shortened
from elman.inspect.scored import Scored
from elman.tasks.translate import Translate
from elman.training.trained_model import Model

TAKES = ("text", "length")
BUCKETS, HARDEST = 5, 12


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another."""
    here = Predictions(model, look)
    assert isinstance(here.task, Translate)
    scored = Scored(here)
    yield lengths_panel(scored)
    if not look.quiet:
        yield alignment_panel(here, here.task)
        yield hardest_panel(scored)
    yield from training(model.run, look.log)


def buckets(sizes: np.ndarray) -> list[np.ndarray]:
    """Numbers of sources by their length (N,): up to five groups of about as many, those of one length together."""
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, BUCKETS + 1)[1:-1], method="lower"))
    group = np.searchsorted(edges, sizes)
    return [np.flatnonzero(group == each) for each in np.unique(group)]


def lengths_panel(scored: Scored) -> Panel:
    """BLEU, chrF and what is exact, of all and by the length of the source."""
    bleu, chrf, exact = scored.corpus(scored.sources)
    signatures = scored.signatures()
    sizes = np.array([scored.size(source) for source in scored.sources])
    found = []
    for group in buckets(sizes):
        some = [scored.sources[k] for k in group]
        least, most = sizes[group].min(), sizes[group].max()
        found.append([f"{least}" if least == most else f"{least} to {most}", len(some), *scored.corpus(some)])
    unit = scored.unit
    first, last = found[0], found[-1]
    says = (
        f"BLEU {bleu:.1f} and chrF {chrf:.1f} over {len(sizes):,} sources, written greedily; {exact:.1%} are one of "
        "their references to the letter."
    )
    if len(found) > 1:
        says += f" Of sources of {first[0]} {unit}s chrF is {first[3]:.1f}, of those of {last[0]} {last[3]:.1f}."
    head = [f"{unit}s of the source", "sources", "BLEU", "chrF", "exact"]
    cited = "".join(f"<p><small>{each}</small></p>" for each in signatures)
    return Panel(
        "lengths", "How good it is, by length", says,
        {"bleu": bleu, "chrf": chrf, "exact": exact, "sources": len(sizes), "signatures": signatures,
         "lengths": [dict(zip(("length", "sources", "bleu", "chrf", "exact"), each, strict=True))
                     for each in found]},
        {"lengths": lengths_chart(found, unit)}, table(head, found) + cited,
    )  # fmt: skip


@styled
def lengths_chart(found: list[list], unit: str) -> Figure:
    """Scores of each group."""
    figure, axis = axes(5.0, 2.9)
    places = np.arange(len(found))
    for number, (name, column) in enumerate((("BLEU", 2), ("chrF", 3), ("exact, %", 4))):
        values = [each[column] * (100 if column == 4 else 1) for each in found]
        axis.bar(places + 0.27 * (number - 1), values, 0.25, label=name, color=COLOURS[number])
    axis.set_xticks(places, [each[0] for each in found])
    axis.set(xlabel=f"{unit}s of the source", ylim=(0, 100))
    axis.grid(False, axis="x")
    axis.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def hardest_panel(scored: Scored) -> Panel:
    """The sentences whose translation is least like any of their references."""
    every = sorted((scored.sentence(source), source) for source in scored.sources)
    each, middle = every[:HARDEST], every[len(every) // 2][0]
    rows = [[score, *(shortened(text) for text in (source, scored.predictions[source], scored.references[source][0]))]
            for score, source in each]  # fmt: skip
    says = (
        f"The {len(rows)} of {len(every):,} sources whose translation has the lowest chrF, from 0 to 100: how much of "
        f"its letters, one to six in a row, it shares with its references. Half of all have {middle:.0f} or more."
    )
    figures = {"sentences": [
        {"chrf": score, "source": source, "said": scored.predictions[source], "references": scored.references[source]}
        for score, source in each
    ]}  # fmt: skip
    return Panel("hardest", "The hardest sentences", says, figures,
                 body=table(["chrF", "source", "said", "reference"], rows))  # fmt: skip
