"""The report of a translator: its scores, also by the length of the source, its attention, and the worst
translations."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from elman.inspect.alignment import alignment_panel
from elman.inspect.blocks import Chart, Sentence, Table
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.curves import training
from elman.inspect.display import shortened
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.inspect.scored import ScoredTranslations
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
BUCKETS, HARDEST = 5, 12


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    scored = ScoredTranslations(here)
    yield scores_panel(scored)
    if not options.no_text:
        yield alignment_panel(here)
        yield hardest_panel(scored)
    yield from training(model.run, options.log)


def buckets(lengths: np.ndarray) -> list[np.ndarray]:
    """Indices of sources by their length (N,): up to five groups of about equal size, each length in one group."""
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, BUCKETS + 1)[1:-1], method="lower"))
    group = np.searchsorted(edges, lengths)
    return [np.flatnonzero(group == each) for each in np.unique(group)]


def scores_panel(scored: ScoredTranslations) -> Panel:
    """BLEU, chrF and exact matches, of all sources and by their length."""
    bleu, chrf, exact = scored.corpus(scored.sources)
    signatures = scored.signatures()
    lengths = np.array([scored.length(source) for source in scored.sources])
    found = []
    for group in buckets(lengths):
        some = [scored.sources[k] for k in group]
        least, most = lengths[group].min(), lengths[group].max()
        found.append([f"{least}" if least == most else f"{least} to {most}", len(some), *scored.corpus(some)])
    unit, first, last = scored.unit, found[0], found[-1]
    summary = (
        f"BLEU is {bleu:.1f} and chrF {chrf:.1f} over {len(lengths):,} sources, decoded greedily; {exact:.1%} of the "
        "translations equal a reference."
    )
    if len(found) > 1:
        summary += (
            f" chrF is {first[3]:.1f} for sources of {first[0]} {unit}s and {last[3]:.1f} for those of {last[0]}."
        )
    head = [f"{unit}s of the source", "sources", "BLEU", "chrF", "exact"]
    return Panel(
        "scores", "Scores by length", summary,
        {"bleu": bleu, "chrf": chrf, "exact": exact, "sources": len(lengths), "signatures": signatures,
         "lengths": [dict(zip(("length", "sources", "bleu", "chrf", "exact"), each, strict=True))
                     for each in found]},
        [Chart("scores", lengths_chart(found, unit)), Table(head, found),
         *(Sentence(each, small=True) for each in signatures)],
    )  # fmt: skip


@styled
def lengths_chart(found: list[list], unit: str) -> Figure:
    """The scores of each group."""
    figure, axis = axes(5.0, 2.9)
    positions = np.arange(len(found))
    for number, (name, column) in enumerate((("BLEU", 2), ("chrF", 3), ("exact, %", 4))):
        values = [each[column] * (100 if column == 4 else 1) for each in found]
        axis.bar(positions + 0.27 * (number - 1), values, 0.25, label=name, color=COLOURS[number])
    axis.set_xticks(positions, [each[0] for each in found])
    axis.set(xlabel=f"{unit}s of the source", ylim=(0, 100))
    axis.grid(False, axis="x")
    axis.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def hardest_panel(scored: ScoredTranslations) -> Panel:
    """The translations of lowest chrF."""
    every = sorted((scored.sentence(source), source) for source in scored.sources)
    worst, median = every[:HARDEST], every[len(every) // 2][0]
    rows = [[score, *(shortened(text) for text in (source, scored.predictions[source], scored.references[source][0]))]
            for score, source in worst]  # fmt: skip
    summary = (
        f"The {len(rows)} of {len(every):,} sources whose translations have the lowest chrF (0 to 100, the F-score of "
        f"character n-grams of order 1 to 6). The median is {median:.0f}."
    )
    metrics = {"sentences": [
        {"chrf": score, "source": source, "translation": scored.predictions[source],
         "references": scored.references[source]} for score, source in worst
    ]}  # fmt: skip
    return Panel("hardest", "Worst translations", summary, metrics,
                 [Table(["chrF", "source", "translation", "reference"], rows)])  # fmt: skip
