"""Video: a label for each frame (many to many, aligned), or one for each clip (many to one)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from elman.data.clip import FPS, LazyClip, first_frame
from elman.data.clip_fields import ClipFrames, ClipWindows, joined
from elman.data.footage import Footage
from elman.data.label_spans import Spans
from elman.data.rows import Field
from elman.data.source import Batch, Source, to
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.metrics.segments import BACKGROUND
from elman.options import check
from elman.tasks.answer import Answer
from elman.tasks.clip_table import FILE, LABEL, SPAN, by_clip, with_frame_folders
from elman.tasks.frame_input import ImageFrames, VectorFrames
from elman.tasks.labels import LabelEncoder
from elman.tasks.row_prediction import RowPrediction
from elman.tasks.span_stream import predicted_spans
from elman.tasks.task import entropy
from elman.tasks.video_model import VideoModel
from elman.tasks.video_spec import CLIP, FRAME, VideoOptions, VideoSpec

SMALL, SMALL_DROPOUT = 10_000, 0.2  # frames: of fewer a network overfits without dropout
CHUNK, CLIPS = 256, 16  # frames of each clip, and clips, that are labelled at once


class Video(RowPrediction, kind="video", summary="labels of video, sound or features: one a frame, or one a clip"):
    """Labels of clips."""

    Options, Spec, Model = VideoOptions, VideoSpec, VideoModel
    unit = "label"
    lr = 0.003
    nats = True
    roles = (FILE, LABEL)
    accepts = {FILE: (str, np.ndarray, LazyClip)}
    inputs = (FILE,)
    bucket_by = None
    streams = True

    def read(self, paths: list[str], options: VideoOptions) -> Table:
        return with_frame_folders(super().read(paths, options))

    def wanted(self, read: Table, options: VideoOptions) -> dict[str, str | None]:
        """Spans are a column for their start and one for their end."""
        named = {name: getattr(options, f"{name}_column") for name in SPAN}
        has_spans = any(named.values()) or all(name in read.columns for name in SPAN)
        return super().wanted(read, options) | ({name: named[name] or name for name in SPAN} if has_spans else {})

    def checked(self, rows: Table) -> Table:
        """A row for each clip."""
        return by_clip(super().checked(rows))

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> VideoSpec:
        train, options = splits["train"], common["options"]
        has_spans = isinstance(train.columns[LABEL][0], Spans)
        if has_spans and options.per == CLIP:
            raise UserError(f"`per` {CLIP}: {train.name} has spans, several labels a clip: leave it out")
        per = FRAME if has_spans else options.per or CLIP
        check(replace(options, per=per))
        clips, log = train.columns[FILE], train.notes.append
        is_vector = isinstance(first_frame(clips[0], options.fps).value, np.ndarray)
        frames = (VectorFrames if is_vector else ImageFrames).choose(clips, options, log)
        footage, found = frames.footage(clips, options.fps, log), train.columns[LABEL]
        if per == FRAME:
            found = {label for row in frame_labels(train, footage, options) for label in row}
        labels = LabelEncoder.of_classes(found, train.name)
        hidden, dropout = options.hidden or 128, SMALL_DROPOUT if len(footage.times) < SMALL else 0.0
        return VideoSpec(
            **common, hidden=hidden, embedding=options.embedding or hidden,
            dropout=dropout if options.dropout is None else options.dropout, input=frames, labels=labels,
            per_frame=per == FRAME,
        )  # fmt: skip

    def _source(self, rows: Table, spec: VideoSpec, key: str, log: Log, seed: int = 0) -> Any:
        if not spec.per_frame or not len(rows):
            return super()._source(rows, spec, key, log, seed)
        options = spec.options
        footage = spec.input.footage(rows.columns[FILE], options.fps, log)
        named = frame_labels(rows, footage, options)
        target = [
            spec.labels.encode(labels, lambda _, row=row: rows.where(row), LABEL) for row, labels in enumerate(named)
        ]
        return ClipWindows(
            rows, footage, np.concatenate(target), options.batch_size, options.seq_len, options.bptt, key
        )

    def encode_inputs(self, rows: Table, spec: VideoSpec, log: Log) -> dict[str, Field]:
        footage, most = spec.input.footage(rows.columns[FILE], spec.options.fps, log), spec.options.max_length
        longer = int((np.diff(footage.starts) > most).sum())
        if longer:
            log(f"{longer:,} of {len(rows):,} clips are longer than `max_length` {most} frames and were truncated")
        return {"input": ClipFrames(footage, np.arange(len(rows)), most)}

    def encode_targets(self, rows: Table, spec: VideoSpec, log: Log) -> dict[str, Field]:
        return {"target": spec.labels.encode(rows.columns[LABEL], rows.where, LABEL)}

    def unigram_entropy(self, train: Any) -> float | None:
        return entropy(train.target if isinstance(train, ClipWindows) else train.fields["target"])

    def predict(self, model: VideoModel, rows: Table, log: Log, **decoding: Any) -> Iterator[Answer]:
        """Of each clip, one after another: its spans as they end, or its label. Only a few frames are in memory."""
        model.eval()
        clips, numbers = self.checked(rows), {rows.where(row): row for row in reversed(range(len(rows)))}
        return (
            Answer(numbers[clips.where(index)], values | {FILE: str(clip)})
            for index, clip in enumerate(clips.columns[FILE]) for values in self._predicted(model, clip, log)
        )  # fmt: skip

    def _predicted(self, model: VideoModel, clip: LazyClip, log: Log) -> Iterator[dict[str, Any]]:
        """The values of each span of a clip, without those of the background, or of its label."""
        spec, options = model.spec, model.spec.options
        spec.input.check(clip)
        if not clip.timed and options.fps is None and spec.per_frame:
            log(f"{clip} has no time stamps: read as {FPS:g} frames per second")
        decoding = spec.input.decoding(options.fps)
        frames = ((frame.time, decoding.convert(clip, frame)) for frame in clip.frames(options.fps))
        if spec.per_frame:
            for span in predicted_spans(_steps(model, frames), spec.labels.labels):
                if span.label != options.background:
                    yield {LABEL: span.label, "start": round(span.start, 3), "end": round(span.end, 3),
                           "probability": span.probability}  # fmt: skip
        else:
            values = np.stack([value for _, value in islice(frames, options.max_length)])
            with torch.inference_mode():
                batch = joined("input", [values]) | {"row": torch.zeros(1)}
                yield from (dict(answer.values) for answer in self.answer(model, to(batch, model.device)))

    def answer(self, model: VideoModel, batch: Batch, **decoding: Any) -> list[Answer]:
        """Of clips: label, probability, probabilities."""
        found = model.clip_logits(batch).softmax(-1).tolist()
        return [Answer(row, model.spec.labels.values(each))
                for row, each in zip(batch["row"].tolist(), found, strict=True)]  # fmt: skip

    def line(self, answer: Answer) -> str:
        parts = [f"{answer[name]:.2f}" for name in SPAN if name in answer.values]
        return "\t".join([answer[FILE], *parts, answer[LABEL], f"{answer['probability']:.3f}"])

    def measure(self, model: VideoModel, source: Source, limit: int | None = None) -> dict[str, Any]:
        if not isinstance(source, ClipWindows):
            return super().measure(model, source, limit)
        found = frame_probabilities(model, source.footage, range(len(source.footage))[:limit])
        pairs = [(probabilities.argmax(-1), source.target[source.footage.of_clip(index)])
                 for probabilities, index in found]  # fmt: skip
        return frame_metrics(model.spec, pairs)

    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: VideoSpec) -> dict[str, Any]:
        """Of clips: see `elman.metrics.classification`."""
        references = [rows.columns[LABEL][row] for row in answers]
        return evaluate("classify", [answer[LABEL] for answer in answers.values()], references, spec.labels.labels)


def frame_metrics(spec: VideoSpec, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """The metrics of clips, from the predicted and the true class (T,) of each frame; the background makes no
    segments."""
    labels, background = spec.labels.labels, spec.options.background
    names = np.array([BACKGROUND if label == background else label for label in labels])
    predictions, references = ([names[pair[which]].tolist() for pair in pairs] for which in (0, 1))
    return evaluate("video", predictions, references, labels)


def frame_labels(rows: Table, footage: Footage, options: VideoOptions) -> list[list[str]]:
    """The label of each frame of each clip; where a clip has one label, all of its frames have it."""
    found = []
    for row, (clip, label) in enumerate(zip(rows.columns[FILE], rows.columns[LABEL], strict=True)):
        times = footage.times[footage.of_clip(row)]
        if not isinstance(label, Spans):
            found.append([label] * len(times))
            continue
        if not clip.timed and options.fps is None:
            raise UserError(f"{rows.where(row)}: the frames of {clip} have no time stamps, and its spans are in "
                            "seconds: pass `fps`, frames per second")  # fmt: skip
        found.append(label.at(times, footage.end(row), options.background))
    return found


@torch.inference_mode()
def frame_probabilities(
    model: VideoModel, footage: Footage, clips: Sequence[int] | np.ndarray
) -> Iterator[tuple[np.ndarray, int]]:
    """The probabilities (T, K) of each frame of some clips, and the index of the clip; those of similar length
    together."""
    model.eval()
    lengths = np.diff(footage.starts)
    order = np.array(sorted(clips, key=lambda clip: -lengths[clip]))
    for some in np.split(order, range(CLIPS, len(order), CLIPS)):
        state, pieces = None, [list[np.ndarray]() for _ in some]
        for begin in range(0, int(lengths[some].max()), CHUNK):
            parts = [footage.frames[footage.of_clip(index)][begin : begin + CHUNK] for index in some]
            logits, state = model.frame_logits(to(joined("input", parts), model.device), state)
            for piece, part, each in zip(pieces, parts, logits.softmax(-1).cpu().numpy(), strict=True):
                piece.append(each[: len(part)])
        yield from ((np.concatenate(piece), int(index)) for piece, index in zip(pieces, some, strict=True))


@torch.inference_mode()
def _steps(model: VideoModel, frames: Iterator[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
    """The time of each frame and its probabilities (K,), one at a time."""
    stepper, state = model.stepper(), None
    for time, value in frames:
        x = torch.tensor(value, device=model.device)[None]
        logits, state = stepper(x, stepper.begin(1) if state is None else state)
        yield time, logits[0].softmax(-1).cpu().numpy()
