"""The report of labels of clips. A label a frame: time lines of true and predicted spans, confusions, errors near
changes, frames at errors, units, and gradient flow. One label a clip: confusions, and confident wrong answers."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.nn import functional as F

from elman.data.label_spans import runs
from elman.inspect import flow as gradient
from elman.inspect.blocks import Block, Chart, FrameStrip, Table, TimeLine
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.confusion import Confusion
from elman.inspect.curves import training
from elman.inspect.gates import addresses, saturation
from elman.inspect.labelled_clips import LabelledClips
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.properties import Property
from elman.inspect.report_options import ReportOptions
from elman.inspect.units import find
from elman.tasks.video import frame_metrics
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
RANDOM, WORST = 4, 4  # clips whose time lines are drawn
REACH = 10  # frames around a change
WRONG, FRAMES = 6, 8  # runs of wrong frames that are drawn, and frames of each, the last right one among them
HARDEST = 12  # clips with confident wrong answers
STEPS, ROWS = 48, 24  # of gradient flow
ENLARGED = 96  # pixels, at least, of a frame that is drawn


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    if not model.spec.per_frame:
        yield from clip_panels(Predictions(model, options))
    else:
        here = LabelledClips(model, options)
        yield time_line_panel(here)
        yield frame_confusion(here)
        yield changes_panel(here)
        if not options.no_text and (panel := wrong_panel(here)) is not None:
            yield panel
        values, targets = here.recorded()
        yield units_panel(here, values, targets)
        if (gates := saturation(addresses(here.network.recurrent), values)) is not None:
            yield gates
        if (panel := flow_panel(here)) is not None:
            yield panel
    yield from training(model.run, options.log)


def clip_panels(here: Predictions) -> Iterator[Panel]:
    """The panels of one label a clip."""
    yield Confusion(here.spec.labels.labels, np.array(here.metrics["confusion"]), "clip").panel()
    targets, answers = here.column("label"), here.answers
    wrong = [row for row, target in enumerate(targets) if answers[row]["label"] != target]
    worst = sorted(wrong, key=lambda row: -answers[row]["probability"])[:HARDEST]
    rows = [[str(here.column("file")[row]), answers[row]["label"], answers[row]["probability"], targets[row]]
            for row in worst]  # fmt: skip
    summary = f"{len(wrong):,} of {len(here):,} clips are wrong"
    summary += f"; these are the {len(worst)} of highest probability." if worst else "."
    yield Panel("hardest", "Confident wrong answers", summary, {"clips": rows},
                [Table(["clip", "predicted", "probability", "target"], rows)] if rows else [])  # fmt: skip
    if (gates := here.gates(here.network.recurrent)) is not None:
        yield gates


def time_line_panel(here: LabelledClips) -> Panel:
    """The metrics, and the true and predicted spans of some random clips and of the worst ones."""
    metrics = frame_metrics(here.model.spec, [(here.predictions[clip], here.target(clip)) for clip in here.chosen])
    shown = here.chosen[:RANDOM]
    shown += [clip for clip in sorted(here.chosen, key=here.accuracy)[:WORST] if clip not in shown]
    lines, rows = list[Block](), []
    for number, clip in enumerate(shown, 1):
        true, predicted = here.spans(clip, here.target(clip)), here.spans(clip, here.predictions[clip])
        lines.append(TimeLine(f"time-line-{number}", here.name(clip), here.labels,
                              [("true", true), ("predicted", predicted)], here.footage.end(clip),
                              f"{here.accuracy(clip):.1%} of its frames are right"))  # fmt: skip
        rows.append({"clip": here.name(clip), "accuracy": here.accuracy(clip), "true": true, "predicted": predicted})
    summary = (
        f"The accuracy is {metrics['accuracy']:.1%} of the frames of {len(here.chosen):,} clips; the edit score of "
        f"their segments is {metrics['edit']:.3f}, F1 at an overlap of 10, 25 and 50 % {metrics['f1_10']:.3f}, "
        f"{metrics['f1_25']:.3f} and {metrics['f1_50']:.3f}. Below: {min(RANDOM, len(shown))} random clips"
        + (", then those of the lowest accuracy." if len(shown) > RANDOM else ".")
    )
    return Panel("time-lines", "True and predicted spans", summary, metrics | {"clips": rows}, lines)


def frame_confusion(here: LabelledClips) -> Panel:
    """The confusion of frames."""
    counts = np.zeros((len(here.labels),) * 2, int)
    for clip in here.chosen:
        np.add.at(counts, (here.target(clip), here.predictions[clip]), 1)
    return Confusion(here.labels, counts, "frame").panel()


def changes_panel(here: LabelledClips) -> Panel:
    """The accuracy by the distance from a change of the true label."""
    right, count = np.zeros(2 * REACH + 1), np.zeros(2 * REACH + 1, int)
    inside = [0, 0]
    for clip in here.chosen:
        target, correct = here.target(clip), here.predictions[clip] == here.target(clip)
        near = np.zeros(len(target), bool)
        for change in np.flatnonzero(np.diff(target)) + 1:
            frames = np.arange(max(0, change - REACH), min(len(target), change + REACH + 1))
            right[frames - change + REACH] += correct[frames]
            count[frames - change + REACH] += 1
            near[frames[(frames >= change - 1) & (frames <= change + 1)]] = True
        inside = [inside[0] + int(correct[~near].sum()), inside[1] + int((~near).sum())]
    if not count[REACH]:
        return Panel("changes", "Accuracy near changes", "The label of no clip changes.")
    accuracy = np.divide(right, count, out=np.full(len(right), np.nan), where=count > 0)
    summary = f"At the first frame after a change of the label the accuracy is {accuracy[REACH]:.1%}"
    summary += f"; of the frames that are further from a change, {inside[0] / inside[1]:.1%}." if inside[1] else "."
    distance = np.arange(-REACH, REACH + 1)
    return Panel("changes", "Accuracy near changes", summary, {"distance": distance, "accuracy": accuracy},
                 [Chart("changes", changes_chart(distance, accuracy))])  # fmt: skip


@styled
def changes_chart(distance: np.ndarray, accuracy: np.ndarray) -> Figure:
    """The accuracy by frames from a change."""
    figure, axis = axes(7.0, 3.0)
    axis.plot(distance, accuracy, marker="o", color=COLOURS[0])
    axis.axvline(0, color="#80808080", linewidth=0.8)
    axis.set(xlabel="frames from a change of the true label", ylabel="accuracy", ylim=(0, 1.02), xticks=distance[::5])
    return figure


def wrong_panel(here: LabelledClips) -> Panel | None:
    """The frames of the longest runs of wrong predictions; None where frames are no images."""
    found = list[tuple[int, int, int]]()  # length, clip, first frame
    for clip in here.chosen:
        wrong = (here.predictions[clip] != here.target(clip)).tolist()
        found += [(end - start, clip, start) for start, end, is_wrong in runs(wrong) if is_wrong]
    found.sort(key=lambda each: -each[0])
    strips = list[Block]()
    for number, (length, clip, start) in enumerate(found[:WRONG], 1):
        first, last = max(0, start - 1), start + min(length, FRAMES - 1)
        true, predicted = ([here.labels[k] for k in each[first:last]]
                           for each in (here.target(clip), here.predictions[clip]))  # fmt: skip
        frames = [(label, here.image(clip, frame)) for frame, label in enumerate(predicted, first)]
        shown = [(label, large(image)) for label, image in frames if image is not None]
        if not shown:
            return None
        time = here.footage.times[here.footage.of_clip(clip)][start]
        caption = f"{length} wrong frame{'s' * (length > 1)}, with predictions; right: {then(true)}"
        strips.append(FrameStrip(f"wrong-{number}", f"{here.name(clip)} from {time:.2f} s", shown, caption))
    summary = f"{len(found):,} runs of frames are wrong; these are the longest." if found else "No frame is wrong."
    return Panel("wrong", "Wrong frames", summary, {"runs": len(found)}, strips)


def then(labels: list[str]) -> str:
    """The labels of frames, one after another."""
    return ", then ".join(label for *_, label in runs(labels))


def large(image: Image.Image) -> Image.Image:
    """A frame, enlarged without interpolation where it is small."""
    factor = -(-ENLARGED // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def units_panel(here: LabelledClips, values: dict[str, np.ndarray], targets: np.ndarray) -> Panel:
    """The best unit for each label."""
    states = {name: each for name, each in values.items() if name not in addresses(here.network.recurrent)}
    known = np.ones(len(targets), bool)
    truths = [Property(label, label, targets == k, known) for k, label in enumerate(here.labels)]
    found = sorted(find(states, truths, here.options.seed), key=lambda each: -each.score)
    rows = [[each.property.name, each.unit + " (low)" * (each.sign < 0), each.score, each.shuffled, each.probe]
            for each in found]  # fmt: skip
    best = "; ".join(f"{each.property.name} {each.unit} ({each.score:.2f})" for each in found[:4])
    summary = f"The best units for a label, by AUC on frames that did not choose them: {best}." if found else (
        "No label is frequent enough for its units to be scored.")  # fmt: skip
    metrics = {each.property.name: {"unit": each.unit, "score": each.score, "probe": each.probe} for each in found}
    head = ["label", "best unit", "AUC", "shifted labels", "probe of all units"]
    return Panel("units", "What the units have learned", summary, metrics, [Table(head, rows)] if rows else [])


def flow_panel(here: LabelledClips) -> Panel | None:
    """Gradient flow along the frames, from the loss of the last of them; None where all clips are too short."""
    lengths = np.diff(here.footage.starts)
    steps = int(min(STEPS, np.median(lengths[here.chosen])))
    clips = [clip for clip in here.chosen if lengths[clip] >= steps][:ROWS]
    if steps < 2:
        return None
    frames = np.stack([here.footage.frames[here.footage.of_clip(clip)][:steps] for clip in clips])
    target = torch.tensor([here.target(clip)[steps - 1] for clip in clips], device=here.model.device)
    network, options = here.network, here.model.spec.options
    with torch.no_grad():
        x = network.eval().encode(torch.from_numpy(frames).to(here.model.device))
    found = gradient.flow(network.recurrent, x, lambda h: F.cross_entropy(network.head(h), target, reduction="none"))
    return gradient.panel(network.recurrent, found, {}, options.bptt or options.seq_len)
