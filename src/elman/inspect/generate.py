"""The report of a generator: samples for each label, the loss of each label, and the distances of initial states."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from elman.inspect.blocks import Chart, Table
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.curves import training
from elman.inspect.display import shortened
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
SHOWN, SAMPLES, LENGTH, WIDTH = 24, 4, 200, 60  # labels; samples of each; tokens of a sample, and characters shown
NAMED = 60  # labels with a name in the chart


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    if not options.no_text:
        yield samples_panel(here)
    yield losses_panel(here)
    for role, encoder in here.spec.labels.items():
        if len(encoder) > 2:
            vectors = here.network.labels[role].weight.detach().float().cpu().numpy()
            yield states_panel(here.spec.columns[role], role, encoder.labels, vectors)
    yield from training(model.run, options.log)


def combinations(here: Predictions) -> list[tuple[str, ...]]:
    """The combinations of labels in the rows, most frequent first; one empty tuple without labels."""
    roles = list(here.spec.labels)
    if not roles:
        return [()]
    return [labels for labels, _ in Counter(zip(*map(here.column, roles), strict=True)).most_common()]


def generate(here: Predictions, groups: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Samples for each combination of labels, one label per role."""
    rows = len(groups) * SAMPLES
    batch = {
        role: torch.tensor([encoder.indices[labels[number]] for labels in groups for _ in range(SAMPLES)])
        for number, (role, encoder) in enumerate(here.spec.labels.items())
    }
    generator = torch.Generator().manual_seed(here.options.seed)
    here.network.eval()
    generated = here.network.generate(batch or {"input": torch.zeros(rows, 1)}, LENGTH, generator)
    texts = [text if ended else f"{text}…" for text, ended in generated]
    return [texts[begin : begin + SAMPLES] for begin in range(0, rows, SAMPLES)]


def samples_panel(here: Predictions) -> Panel:
    """Samples for each combination of labels."""
    every = combinations(here)
    groups = every[:SHOWN]
    texts = generate(here, groups)
    names = [here.spec.columns[role] for role in here.spec.labels]
    rows = [[*(shortened(label, 40) for label in labels), *(shortened(text, WIDTH) for text in samples)]
            for labels, samples in zip(groups, texts, strict=True)]  # fmt: skip
    lengths = [len(text) for samples in texts for text in samples]
    scope = f" for each {'label' if len(names) == 1 else 'combination of labels'}" if names else ""
    scope += f", the {len(groups)} most frequent" if len(every) > len(groups) else ""
    summary = f"{SAMPLES} samples{scope}, at temperature 1; their mean length is {np.mean(lengths):.0f} characters."
    metrics = {"samples": [{"labels": labels, "texts": each} for labels, each in zip(groups, texts, strict=True)]}
    return Panel("samples", "Samples", summary, metrics, [Table([*names, *[""] * SAMPLES], rows)])


def losses_panel(here: Predictions) -> Panel:
    """The loss of the texts of each label."""
    total, tokens = here.loss(list(range(len(here))))
    found = []
    for role in here.spec.labels:
        for label in sorted(set(here.column(role))):
            rows = [row for row, value in enumerate(here.column(role)) if value == label]
            nats, count = here.loss(rows)
            found.append((here.spec.columns[role], label, len(rows), count, nats / count))
    found.sort(key=lambda each: each[-1])
    summary = f"The loss is {total / tokens:.3f} nats per token over {len(here):,} texts, their ends included."
    if len(found) > 1:
        (_, easy, *_, low), (_, hard, *_, high) = found[0], found[-1]
        summary += (f" It is lowest for “{shortened(easy, 40)}”, {low:.3f}, and highest for "
                    f"“{shortened(hard, 40)}”, {high:.3f}.")  # fmt: skip
    several = len(here.spec.labels) > 1
    rows = [[column, shortened(label, 40), *rest][not several :] for column, label, *rest in found]
    metrics = {"loss": total / tokens, "tokens": tokens,
               "labels": [dict(zip(("column", "label", "texts", "tokens", "loss"), each, strict=True))
                          for each in found]}  # fmt: skip
    head = ["column", "label", "texts", "tokens", "nats per token"][not several :]
    return Panel("losses", "Loss of each label", summary, metrics, [Table(head, rows)] if rows else [])


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (K, N) on their first two principal components, (K, 2), and the fraction of variance of each (2,)."""
    centred = vectors - vectors.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    return (left * singular)[:, :2], singular[:2] ** 2 / max(float((singular**2).sum()), 1e-30)


def states_panel(column: str, role: str, labels: tuple[str, ...], vectors: np.ndarray) -> Panel:
    """What each label adds to the initial state, (K, N), on two axes."""
    points, variance = principal_components(vectors)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    rows = sorted(
        ([shortened(label, 40), shortened(labels[nearest[k]], 40), float(distances[k, nearest[k]])]
         for k, label in enumerate(labels)), key=lambda row: row[-1],
    )  # fmt: skip
    summary = (
        f"What the labels of the column {column} add to the initial state, on their first two principal components, "
        f"which have {variance.sum():.0%} of the variance. The nearest two, in all dimensions, are “{rows[0][0]}” and "
        f"“{rows[0][1]}”."
    )
    name = f"states-{role}"
    metrics = {"labels": list(labels), "points": points, "variance": variance,
               "nearest": [labels[k] for k in nearest], "distance": distances.min(1)}  # fmt: skip
    blocks = [Chart(name, chart(points, variance, labels)), Table(["label", "nearest", "distance"], rows)]
    return Panel(name, f"Initial states: {column}", summary, metrics, blocks)


@styled
def chart(points: np.ndarray, variance: np.ndarray, labels: Sequence[str]) -> Figure:
    """Points (K, 2) with their names."""
    figure, axis = axes(7.0, 5.0)
    axis.scatter(*points.T, s=18, color=COLOURS[0])
    # about the size of a typographic point: the axes are some 400 by 300 of them
    unit = max(np.ptp(points[:, 0]) / 400, np.ptp(points[:, 1]) / 300) or 1.0
    taken = [(x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit) for x, y in points]
    for (x, y), label in zip(points[:NAMED], labels, strict=False):
        name = shortened(label, 18)
        across, up = _free(x / unit, y / unit, 5 * len(name), [[side / unit for side in box] for box in taken])
        taken.append((x + across * unit, y + up * unit, x + (across + 5 * len(name)) * unit, y + (up + 8) * unit))
        axis.annotate(literal(name), (x, y), xytext=(across, up), textcoords="offset points", fontsize=8)
    axis.set(xlabel=f"{variance[0]:.0%} of the variance", ylabel=f"{variance[1]:.0%}", aspect="equal",
             xlim=(points[:, 0].min() - 30 * unit, points[:, 0].max() + 60 * unit))  # fmt: skip
    axis.margins(y=0.08)
    return figure


def _free(x: float, y: float, width: float, taken: list[list[float]]) -> tuple[float, float]:
    """The offset of a name from its point, in typographic points, that covers nothing: right, left, above or below."""
    right, left = 5, -5 - width
    sides = ((right, -3), (left, -3), (-width / 2, 5), (-width / 2, -13), (right, 5), (right, -12), (left, 5),
             (left, -12), (right, 10), (right, -17), (left, 10), (left, -17))  # fmt: skip
    for across, up in sides:
        begin, low = x + across, y + up
        if not any(begin < box[2] and begin + width > box[0] and low < box[3] and low + 8 > box[1] for box in taken):
            return across, up
    return sides[0]
