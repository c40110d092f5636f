"""The report of a model that reads images in glimpses: the accuracy after each glimpse, confusions, the paths over
some images and over those it gets wrong, where it attends, and gradient flow along the glimpses."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from elman.inspect import flow as gradient
from elman.inspect.blocks import Block, Chart, FrameStrip, Sentence
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.confusion import Confusion
from elman.inspect.curves import training
from elman.inspect.glimpse_path import path_strip
from elman.inspect.panel import Panel
from elman.inspect.predictions import BATCH, Predictions
from elman.inspect.report_options import ReportOptions
from elman.nets.glimpse import Choice
from elman.tasks.answer import Glimpses
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
SHOWN, HARDEST = 8, 12  # paths of random images, and of confident wrong answers
CELLS = 28  # of the heat map, per side, at most


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    targets, paths = here.column("label"), [path for answer in here.answers if (path := answer.glimpses) is not None]
    wrong = np.array([answer["label"] != target for answer, target in zip(here.answers, targets, strict=True)])
    yield accuracy_panel(paths, targets)
    yield Confusion(here.spec.labels.labels, np.array(here.metrics["confusion"]), model.task.unit).panel()
    yield attended_panel(paths, wrong)
    if not options.no_text:
        yield paths_panel(here, paths)
        yield errors_panel(here, paths, wrong)
    yield flow_panel(here)
    yield from training(model.run, options.log)


def accuracy_panel(paths: Sequence[Glimpses], targets: Sequence[str]) -> Panel:
    """The accuracy of the head after each number of glimpses."""
    right = np.array([[label == target for label in path.labels] for path, target in zip(paths, targets, strict=True)])
    accuracy = right.mean(0)
    summary = (
        f"The accuracy is {accuracy[-1]:.1%} over {len(paths):,} images after {len(accuracy)} glimpses, and "
        f"{accuracy[0]:.1%} after the first. Only the last glimpse is trained to predict: before it, the head reads an "
        "output that is meant for later."
    )
    return Panel("glimpses", "Accuracy after each glimpse", summary, {"accuracy": accuracy},
                 [Chart("glimpses", accuracy_chart(accuracy))])  # fmt: skip


@styled
def accuracy_chart(accuracy: np.ndarray) -> Figure:
    """The accuracy (T,) over the number of glimpses."""
    figure, axis = axes(7.0, 3.0)
    axis.plot(range(1, len(accuracy) + 1), accuracy, marker="o", color=COLOURS[0])
    axis.set(xlabel="glimpses", ylabel="accuracy", ylim=(0, 1.02), xticks=range(1, len(accuracy) + 1))
    return figure


def coverage(paths: Sequence[Glimpses]) -> np.ndarray:
    """The mean number of glimpses (CELLS, CELLS) whose narrowest patch covers a part of the image."""
    side = len(paths[0].image)
    edges = (np.arange(CELLS) + 0.5) / CELLS * side
    centre = np.concatenate([path.location for path in paths] or [np.empty((0, 2))])
    half = np.concatenate([path.width[:, :1] for path in paths]) / 2
    inside = np.abs((centre[..., None] + 1) / 2 * side - edges) < half[..., None]  # (N T, 2, CELLS)
    across, down = inside.swapaxes(0, 1).astype(np.float64)
    return down.T @ across / len(paths)


def attended_panel(paths: Sequence[Glimpses], wrong: np.ndarray) -> Panel:
    """Heat maps of where glimpses are, of right and of wrong answers."""
    groups = {"right": [path for path, no in zip(paths, wrong, strict=True) if not no],
              "wrong": [path for path, no in zip(paths, wrong, strict=True) if no]}  # fmt: skip
    maps = {name: coverage(some) for name, some in groups.items() if some}
    locations = np.stack([path.location for path in paths])
    spread = locations.std(0).mean()
    summary = (
        f"Where the narrowest patch is, over {len(groups['right']):,} images whose answer is right and "
        f"{len(groups['wrong']):,} whose answer is wrong. From image to image a location varies by {spread:.2f} "
        "(standard deviation; an image is 2 wide)."
    )
    metrics = {"coverage": maps, "mean_location": locations.mean(0), "deviation": locations.std(0)}
    return Panel("attended", "Where glimpses are", summary, metrics, [Chart("attended", map_chart(maps, locations))])


@styled
def map_chart(maps: dict[str, np.ndarray], locations: np.ndarray) -> Figure:
    """The heat maps side by side, over them the mean path (T, 2) of locations (N, T, 2)."""
    figure, grid = axes(3.6 * max(len(maps), 2), 3.4, 1, 2)
    most = max(each.max() for each in maps.values())
    for axis in grid[0][len(maps) :]:
        axis.set_visible(False)
    for axis, (name, each) in zip(grid[0], maps.items(), strict=False):
        drawn = axis.imshow(each, cmap="magma", vmin=0, vmax=most, extent=(-1, 1, 1, -1))
        axis.plot(*locations.mean(0).T, color="white", marker="o", markersize=3, linewidth=1)
        axis.set(title=f"{name} answers", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axis.grid(False)
        figure.colorbar(drawn, ax=axis, shrink=0.8, label="glimpses of an image")
    return figure


def paths_panel(here: Predictions, paths: Sequence[Glimpses]) -> Panel:
    """The paths over some images."""
    rows = range(min(SHOWN, len(paths)))
    summary = (
        f"{len(rows)} random images: first the whole path, then each glimpse with the prediction after it. What no "
        "patch covers is dark; the track begins at the first glimpse."
    )
    return Panel("paths", "Paths of glimpses", summary, {"images": [_described(here, row) for row in rows]},
                 [_strip(here, paths, f"path-{number}", row) for number, row in enumerate(rows, 1)])  # fmt: skip


def errors_panel(here: Predictions, paths: Sequence[Glimpses], wrong: np.ndarray) -> Panel:
    """The paths of the wrong answers of highest probability."""
    rows = sorted(np.flatnonzero(wrong).tolist(), key=lambda row: -here.answers[row]["probability"])[:HARDEST]
    summary = f"{int(wrong.sum()):,} of {len(paths):,} answers are wrong"
    summary += f"; these are the {len(rows)} of highest probability." if rows else "."
    return Panel("errors", "Paths of confident wrong answers", summary,
                 {"images": [_described(here, row) for row in rows]},
                 [_strip(here, paths, f"error-{number}", row) for number, row in enumerate(rows, 1)])  # fmt: skip


def _strip(here: Predictions, paths: Sequence[Glimpses], name: str, row: int) -> FrameStrip:
    answer, target = here.answers[row], here.column("label")[row]
    title = f"{answer['label']} ({answer['probability']:.2f}); target: {target}"
    return path_strip(name, title, paths[row], str(here.column("image")[row]))


def _described(here: Predictions, row: int) -> dict[str, Any]:
    answer = here.answers[row]
    return {"image": here.column("image")[row].name, "label": here.column("label")[row], "predicted": answer["label"],
            "probability": answer["probability"], "location": answer["location"]}  # fmt: skip


def flow_panel(here: Predictions) -> Panel:
    """Gradient flow through the core, from the loss after the last glimpse to the states before."""
    network, batch = here.network.eval(), here.batch(*range(min(BATCH, len(here))))
    with torch.no_grad():
        path = network.read(batch, Choice(batch["image_of"], False, torch.Generator().manual_seed(0)))
    found = gradient.flow(
        network.core, path.vector, lambda h: F.cross_entropy(network.logits(h), batch["target"], reduction="none")
    )
    last = {address: float(norms[-1]) for address, norms in found.states.items()}
    address = max(last, key=last.__getitem__)
    summary = (
        f"The gradient of the loss after the last glimpse, relative to that of the state there: at the first of "
        f"{path.vector.shape[1]} glimpses it is {last[address]:.2g} for {address}, the largest."
    )
    note = Sentence("The inputs of the core are held fixed: through a location no gradient passes.", small=True)
    blocks: list[Block] = [Chart("gradient", gradient.chart(found.states)), note]
    metrics = {"states": found.states, "weight_gradient": found.weights}
    return Panel("gradient", "Gradient flow along the glimpses", summary, metrics, blocks)
