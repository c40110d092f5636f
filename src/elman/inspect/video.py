"""The report of a model of clips: true and predicted spans over time, confusions, errors around the ends of spans, and
gradient flow along frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.nn import functional as F

from elman.data.clip_fields import ClipWindows
from elman.data.label_spans import runs
from elman.errors import UserError
from elman.inspect import flow as gradient
from elman.inspect.blocks import Block, Chart, FrameStrip
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.confusion import Confusion
from elman.inspect.curves import training
from elman.inspect.held_out import held_out
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.tasks.video import frame_probabilities
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
CLIPS, SHOWN = 200, 4  # that are read by default; whose time lines are drawn
NEAR = 8  # frames around the end of a span
FLOW = 32  # clips over which gradient flow is measured
FRAMES = 12  # of a strip


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """A clip: target and predicted class of each frame (T,), their times (T,) and the end, in seconds; its frames."""

    name: str
    target: np.ndarray
    predicted: np.ndarray
    times: np.ndarray
    end: float
    frames: np.ndarray


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    labels = model.spec.labels.labels
    if model.spec.per_frame:
        source = held_out(model, options)
        if not isinstance(source, ClipWindows):
            raise UserError(f"{options.text or model.path} has no clips")
        clips = list(labelled(model, source, options.length or CLIPS))
        counts = np.zeros((len(labels), len(labels)), int)
        for clip in clips:
            np.add.at(counts, (clip.target, clip.predicted), 1)
        yield timeline_panel(clips[:SHOWN], labels, options.no_text)
        yield Confusion(labels, counts, "frame").panel()
        yield boundary_panel(clips)
        if not model.spec.options.bidirectional:
            yield flow_panel(model, source)
    else:
        here = Predictions(model, options)
        yield Confusion(labels, np.array(here.metrics["confusion"]), "clip").panel()
    yield from training(model.run, options.log)


def labelled(model: TrainedModel, source: ClipWindows, most: int) -> Iterator[LabelledClip]:
    """The first clips of a source and what the model predicts for them."""
    footage = source.footage
    found = {index: probabilities.argmax(-1) for probabilities, index in
             frame_probabilities(model.model, footage, most)}  # type: ignore[arg-type]  # fmt: skip
    for index in sorted(found):
        part = footage.of_clip(index)
        name = str(source.table.columns["file"][index])
        yield LabelledClip(name, source.target[part], found[index], footage.times[part], footage.end(index),
                           footage.frames[part])  # fmt: skip


def timeline_panel(clips: list[LabelledClip], labels: tuple[str, ...], no_frames: bool) -> Panel:
    """True and predicted spans of some clips, and a frame of each predicted one."""
    blocks, metrics = list[Block](), []
    for number, clip in enumerate(clips, 1):
        spans = {name: [(float(clip.times[begin]), _end(clip, end), labels[int(label)])
                        for begin, end, label in runs(values.tolist())]
                 for name, values in (("true", clip.target), ("predicted", clip.predicted))}  # fmt: skip
        blocks.append(Chart(f"timeline-{number}", timeline_chart(clip.name, spans, labels)))
        if not no_frames and (strip := frame_strip(number, clip, labels)) is not None:
            blocks.append(strip)
        metrics.append({"clip": clip.name, **spans})
    accuracy = np.mean(np.concatenate([clip.target == clip.predicted for clip in clips]))
    summary = (
        f"The true spans of {len(clips)} clips above, the predicted ones below; {accuracy:.1%} of their frames are "
        "right. A prediction is made from the frames up to its own."
    )
    return Panel("timeline", "Spans over time", summary, {"clips": metrics}, blocks)


def _end(clip: LabelledClip, index: int) -> float:
    return float(clip.times[index]) if index < len(clip.times) else clip.end


@styled
def timeline_chart(name: str, spans: dict[str, list[tuple[float, float, str]]], labels: tuple[str, ...]) -> Figure:
    """Spans by the name of their line, as bars coloured by label."""
    figure, axis = axes(10.0, 1.9)
    for line, found in enumerate(spans.values()):
        for start, end, label in found:
            colour = COLOURS[labels.index(label) % len(COLOURS)]
            axis.barh(-line, end - start, left=start, height=0.8, color=colour, edgecolor="white", linewidth=0.8)
            if (end - start) * 60 > len(label) * found[-1][1]:
                axis.text((start + end) / 2, -line, label, ha="center", va="center", color="white", fontsize=8)
    axis.set(yticks=[-line for line in range(len(spans))], yticklabels=list(spans), xlabel="seconds", title=name)
    axis.margins(x=0)
    axis.grid(False)
    return figure


def frame_strip(number: int, clip: LabelledClip, labels: tuple[str, ...]) -> FrameStrip | None:
    """The middle frame of each predicted span; None for clips without images."""
    if clip.frames.dtype != np.uint8 or clip.frames.ndim != 4:
        return None
    found = list(runs(clip.predicted.tolist()))[:FRAMES]
    frames = []
    for begin, end, label in found:
        middle = (begin + end) // 2
        pixels = clip.frames[middle].transpose(1, 2, 0)
        image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels))
        frames.append((f"{labels[int(label)]}, {clip.times[middle]:.2f} s", image.convert("RGB")))
    return FrameStrip(f"frames-{number}", clip.name, frames, "the middle frame of each predicted span")


def boundary_panel(clips: list[LabelledClip]) -> Panel:
    """The accuracy of frames by their distance from the end of a true span."""
    right, count = np.zeros(2 * NEAR), np.zeros(2 * NEAR)
    for clip in clips:
        for change in np.flatnonzero(np.diff(clip.target)) + 1:
            frames = np.arange(max(0, change - NEAR), min(len(clip.target), change + NEAR))
            np.add.at(right, frames - change + NEAR, clip.target[frames] == clip.predicted[frames])
            np.add.at(count, frames - change + NEAR, 1)
    accuracy = np.divide(right, count, out=np.full(2 * NEAR, np.nan), where=count > 0)
    total = np.mean(np.concatenate([clip.target == clip.predicted for clip in clips]))
    first = f"{accuracy[NEAR]:.1%}" if count[NEAR] else "unknown, there being no change"
    summary = (
        f"Of all frames {total:.1%} are right; of the first frames after a change {first}. A model that reads forward "
        "learns of a change only from the frames after it."
    )
    return Panel("boundaries", "Errors around changes", summary, {"accuracy": accuracy, "frames": count},
                 [Chart("boundaries", boundary_chart(accuracy, float(total)))])  # fmt: skip


@styled
def boundary_chart(accuracy: np.ndarray, total: float) -> Figure:
    """Accuracy (2 NEAR,) over frames before and after a change."""
    figure, axis = axes(7.0, 3.0)
    axis.plot(np.arange(-NEAR, NEAR), accuracy, marker="o", color=COLOURS[0])
    axis.axhline(total, color=COLOURS[9], linestyle="--", label="all frames")
    axis.axvline(-0.5, color=COLOURS[3], linewidth=1)
    axis.set(xlabel="frames after a change of the true label", ylabel="accuracy", ylim=(0, 1.02))
    axis.legend()
    return figure


def flow_panel(model: TrainedModel, source: ClipWindows) -> Panel:
    """Gradient flow from the loss of a frame to the states at the frames before."""
    network: Any = model.model.eval()
    footage = source.footage
    length = min(model.spec.options.seq_len, int(np.diff(footage.starts).min()))
    starts = footage.starts[:-1][:FLOW]
    frames = np.stack([footage.frames[start : start + length] for start in starts])
    target = torch.from_numpy(source.target[starts + length - 1]).long().to(model.device)
    with torch.no_grad():
        x = network.encode(torch.from_numpy(frames).to(model.device))
    found = gradient.flow(
        network.recurrent, x, lambda h: F.cross_entropy(network.classify(h), target, reduction="none")
    )
    lives = {address: found.half_life(address) for address in found.states}
    shown = ", ".join(f"{gradient.steps_of(life, length)} for {address}" for address, life in lives.items())
    summary = (
        f"The gradient of the loss at a frame, relative to that of the state there, at each of {length} frames back; "
        f"it halves after so many frames: {shown}."
    )
    metrics = {"states": found.states, "half_life": lives, "weight_gradient": found.weights}
    return Panel("gradient", "Gradient flow along frames", summary, metrics,
                 [Chart("gradient", gradient.chart(found.states))])  # fmt: skip
