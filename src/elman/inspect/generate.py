"""The report of a generator: what it writes for each label, how hard each is, and how their first states lie."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure

from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.curves import training
from elman.inspect.look import Look
from elman.inspect.panel import Panel, table
from elman.inspect.predictions import Predictions, shortened
from elman.tasks.generate import Generate
from elman.tokenizers import registry
from elman.training.trained_model import Model

TAKES = ("text", "length")
SHOWN, WRITTEN, LONGEST, WIDTH = 24, 4, 200, 60  # labels; texts of each; tokens of a text, and characters shown
NAMED = 60  # labels with a name in the chart


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another."""
    here = Predictions(model, look)
    task = here.task
    assert isinstance(task, Generate)
    if not look.quiet:
        yield samples_panel(here, task)
    yield losses_panel(here)
    for (role, labels), vectors in zip(here.config["labels"].items(), task.labels.parameters(), strict=True):
        if len(labels) > 2:
            yield states_panel(here.config["columns"][role], role, labels, vectors.detach().float().cpu().numpy())
    yield from training(model.run, look.log)


def asked(here: Predictions) -> list[tuple[str, ...]]:
    """The labels that stand together in a row, the most frequent first; one empty tuple where there are none."""
    roles = list(here.config["labels"])
    if not roles:
        return [()]
    return [labels for labels, _ in Counter(zip(*map(here.column, roles), strict=True)).most_common()]


def write(here: Predictions, task: Generate, groups: list[tuple[str, ...]]) -> list[list[str]]:
    """Texts for each group of labels, one for each role."""
    roles, tokens = here.config["labels"], registry.from_json(here.config["tokens"])
    batch = {
        role: torch.tensor([known.index(labels[number]) for labels in groups for _ in range(WRITTEN)])
        for number, (role, known) in enumerate(roles.items())
    }
    generator = torch.Generator().manual_seed(here.look.seed)
    rows = len(groups) * WRITTEN
    task.eval()
    written = task.write(batch, rows, LONGEST, tokens, generator)
    texts = [text if ended else f"{text}…" for text, ended in written]
    return [texts[begin : begin + WRITTEN] for begin in range(0, rows, WRITTEN)]


def samples_panel(here: Predictions, task: Generate) -> Panel:
    """A few texts for each label, side by side."""
    groups = asked(here)[:SHOWN]
    texts = write(here, task, groups)
    names = [here.config["columns"][role] for role in here.config["labels"]]
    rows = [[*(shortened(label, 40) for label in labels), *(shortened(text, WIDTH) for text in written)]
            for labels, written in zip(groups, texts, strict=True)]  # fmt: skip
    many = f"the {len(groups)} most frequent labels" if len(asked(here)) > SHOWN else "each label"
    lengths = [len(text) for written in texts for text in written]
    says = (
        f"{WRITTEN} texts for {many if names else 'nothing: there are no labels'}, drawn at temperature 1; "
        f"they are {np.mean(lengths):.0f} characters long on average."
    )
    figures = {"texts": [{"labels": labels, "texts": written} for labels, written in zip(groups, texts, strict=True)]}
    return Panel("samples", "What it writes", says, figures, body=table([*names, *[""] * WRITTEN], rows))


@styled
def losses_panel(here: Predictions) -> Panel:
    """The loss of the texts of each label."""
    nats, tokens = here.loss(list(range(len(here))))
    found = []
    for role in here.config["labels"]:
        for label in sorted(set(here.column(role))):
            rows = [row for row, value in enumerate(here.column(role)) if value == label]
            lost, count = here.loss(rows)
            found.append((here.config["columns"][role], label, len(rows), count, lost / count))
    found.sort(key=lambda each: each[-1])
    says = f"{nats / tokens:.3f} nats a token over {len(here):,} texts, their ends counted."
    if len(found) > 1:
        (_, easy, *_, low), (_, hard, *_, high) = found[0], found[-1]
        says += (f" The easiest are those of “{shortened(easy, 40)}”, {low:.3f} nats a token; the hardest those of "
                 f"“{shortened(hard, 40)}”, {high:.3f}.")  # fmt: skip
    several = len(here.config["labels"]) > 1
    rows = [[column, shortened(label, 40), *rest][not several :] for column, label, *rest in found]
    figures = {"loss": nats / tokens, "tokens": tokens,
               "labels": [dict(zip(("column", "label", "texts", "tokens", "loss"), each, strict=True))
                          for each in found]}  # fmt: skip
    head = ["column", "label", "texts", "tokens", "nats a token"][not several :]
    return Panel("losses", "How hard each label is", says, figures, body=table(head, rows) if rows else "")


def flattened(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (K, N) on the two axes on which they lie farthest apart (K, 2), and the share of variance of each (2,)
    (principal components)."""
    centred = vectors - vectors.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    return (left * singular)[:, :2], singular[:2] ** 2 / max(float((singular**2).sum()), 1e-30)


def states_panel(column: str, role: str, labels: list[str], vectors: np.ndarray) -> Panel:
    """How the first states of the labels lie to each other."""
    places, shares = flattened(vectors)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    rows = sorted(
        ([shortened(label, 40), shortened(labels[nearest[k]], 40), float(distances[k, nearest[k]])]
         for k, label in enumerate(labels)), key=lambda row: row[-1],
    )  # fmt: skip
    says = (
        f"What the column {column} adds to the first state, a point a label, on the two axes on which they lie "
        f"farthest apart: these have {shares.sum():.0%} of the variance. Nearest to each other, in all dimensions, are "
        f"“{rows[0][0]}” and “{rows[0][1]}”."
    )
    name = f"states-{role}"
    figures = {"labels": labels, "places": places, "variance": shares, "nearest": [labels[k] for k in nearest],
               "distance": distances.min(1)}  # fmt: skip
    return Panel(name, f"How the first states lie: {column}", says, figures, {name: chart(places, shares, labels)},
                 table(["label", "nearest", "distance"], rows))  # fmt: skip


@styled
def chart(places: np.ndarray, shares: np.ndarray, labels: list[str]) -> Figure:
    """Points (K, 2) with their names."""
    figure, axis = axes(7.0, 5.0)
    axis.scatter(*places.T, s=18, color=COLOURS[0])
    # a point of type is about so much: the axes are some 400 by 300 points
    unit = max(np.ptp(places[:, 0]) / 400, np.ptp(places[:, 1]) / 300) or 1.0
    taken = [(x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit) for x, y in places]
    for (x, y), label in zip(places[:NAMED], labels, strict=False):
        name = shortened(label, 18)
        across, up = _free(x / unit, y / unit, 5 * len(name), [[side / unit for side in box] for box in taken])
        taken.append((x + across * unit, y + up * unit, x + (across + 5 * len(name)) * unit, y + (up + 8) * unit))
        axis.annotate(literal(name), (x, y), xytext=(across, up), textcoords="offset points", fontsize=8)
    axis.set(xlabel=f"{shares[0]:.0%} of the variance", ylabel=f"{shares[1]:.0%}", aspect="equal",
             xlim=(places[:, 0].min() - 30 * unit, places[:, 0].max() + 60 * unit))  # fmt: skip
    axis.margins(y=0.08)
    return figure


def _free(x: float, y: float, width: float, taken: list[list[float]]) -> tuple[float, float]:
    """Where beside a point a name covers nothing, in points of type: to the right of it, to the left, above, below."""
    right, left = 5, -5 - width
    sides = ((right, -3), (left, -3), (-width / 2, 5), (-width / 2, -13), (right, 5), (right, -12), (left, 5),
             (left, -12), (right, 10), (right, -17), (left, 10), (left, -17))  # fmt: skip
    for across, up in sides:
        begin, low = x + across, y + up
        if not any(begin < box[2] and begin + width > box[0] and low < box[3] and low + 8 > box[1] for box in taken):
            return across, up
    return sides[0]
