"""Clips whose frames have labels, and what a model predicts for them, for all panels of their report."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from elman.cells.cell import Cell
from elman.cells.tap import record
from elman.data.clip_fields import ClipWindows, joined
from elman.data.label_spans import runs
from elman.data.source import to
from elman.errors import UserError
from elman.inspect.gates import addresses
from elman.inspect.held_out import held_out
from elman.inspect.report_options import ReportOptions
from elman.tasks.video import CHUNK, frame_probabilities
from elman.training.trained_model import TrainedModel

CLIPS = 200  # that are read by default
RECORDED = 10_000  # frames of which units are recorded


class LabelledClips:
    """Some held-out clips, or those of another table, in random order; all indices are into the source.

    - chosen: the indices of the clips
    """

    def __init__(self, model: TrainedModel, options: ReportOptions):
        self.model, self.options = model, options
        self.network: Any = model.model
        source = held_out(model, options)
        if not isinstance(source, ClipWindows):
            raise UserError(f"{options.text or model.path} has no clips")
        self.source, self.footage = source, source.footage
        self.labels: tuple[str, ...] = model.spec.labels.labels
        order = np.random.default_rng(options.seed).permutation(len(self.footage))
        self.chosen = order[: options.length or CLIPS].tolist()
        options.log(f"{len(self.chosen):,} of {len(self.footage):,} clips are read")

    @cached_property
    def predictions(self) -> dict[int, np.ndarray]:
        """The predicted class (T,) of each frame, by clip."""
        found = frame_probabilities(self.network, self.footage, self.chosen)
        return {index: probabilities.argmax(-1) for probabilities, index in found}

    def target(self, clip: int) -> np.ndarray:
        """The true class (T,) of each frame of a clip."""
        return self.source.target[self.footage.of_clip(clip)]

    def accuracy(self, clip: int) -> float:
        """The fraction of the frames of a clip that are right."""
        return float((self.predictions[clip] == self.target(clip)).mean())

    def name(self, clip: int) -> str:
        """The name of a clip."""
        return str(self.source.table.columns["file"][clip])

    def spans(self, clip: int, classes: np.ndarray) -> list[tuple[float, float, str]]:
        """Classes (T,) of the frames of a clip as spans, without the background."""
        times = np.append(self.footage.times[self.footage.of_clip(clip)], self.footage.end(clip))
        named = [self.labels[each] for each in classes]
        return [(float(times[begin]), float(times[end]), label) for begin, end, label in runs(named)
                if label != self.model.spec.options.background]  # fmt: skip

    def image(self, clip: int, frame: int) -> Image.Image | None:
        """A frame as the network takes it; None where that is no image."""
        pixels = self.footage.frames[self.footage.of_clip(clip)][frame]
        if pixels.dtype != np.uint8:
            return None
        return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).convert("RGB")

    @torch.no_grad()
    def recorded(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The states and gates (T, H) by address over the first frames of the chosen clips, and the class (T,) of
        each frame."""
        layer, pieces, targets = self.network.recurrent, list[dict[str, np.ndarray]](), list[np.ndarray]()
        cell = layer.cells[0]
        assert isinstance(cell, Cell)
        names = {layer.prefix(index) + name for index in range(len(layer.cells)) for name in cell.states}
        names |= set(addresses(layer))
        self.network.eval()
        for clip in self.chosen:
            frames, state = self.footage.frames[self.footage.of_clip(clip)][: RECORDED - sum(map(len, targets))], None
            for begin in range(0, len(frames), CHUNK):
                batch = to(joined("input", [frames[begin : begin + CHUNK]]), self.model.device)
                with record() as values:
                    _, state = self.network.frame_logits(batch, state)
                pieces.append({name: values[name][0].float().cpu().numpy() for name in names})
            targets.append(self.target(clip)[: len(frames)])
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in names}, np.concatenate(targets)
