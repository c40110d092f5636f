"""Clips as batches: whole ones as a field of rows, and all frames as a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from elman.data.footage import Footage
from elman.data.table import Table
from elman.data.windows import Windows


@dataclass(frozen=True, eq=False)
class ClipFrames:
    """A field of clips, of each of which the first `max_length` frames count; `clips` (B,) are their indices in the
    footage."""

    footage: Footage
    clips: np.ndarray
    max_length: int

    @property
    def workers(self) -> int:
        """See `LazyField`."""
        return 0

    @property
    def lengths(self) -> np.ndarray:
        """The number of frames (B,) of each clip."""
        return np.minimum(np.diff(self.footage.starts)[self.clips], self.max_length)

    def select(self, chosen: np.ndarray) -> "ClipFrames":
        """The field of these rows."""
        return replace(self, clips=self.clips[chosen])

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Any]:
        """See `joined`."""
        some = self.select(chosen)
        starts = self.footage.starts[some.clips]
        return joined(name, [self.footage.frames[begin : begin + length]
                             for begin, length in zip(starts, some.lengths, strict=True)])  # fmt: skip


def joined(name: str, clips: Sequence[np.ndarray]) -> dict[str, Any]:
    """Clips (T, ...) as a batch: NAME (N, ...), their frames one after another, so that none is encoded in vain;
    NAME_lengths (B,); NAME_steps, T, an integer; and NAME_at (N,), the position of each frame in (B, T) when padded."""
    lengths = np.array([len(clip) for clip in clips], np.int64)
    steps = int(lengths.max(initial=1))
    at = np.concatenate([row * steps + np.arange(length) for row, length in enumerate(lengths)] or [lengths])
    frames = np.concatenate(list(clips)) if len(clips) else np.zeros(0, np.float32)
    return {name: torch.from_numpy(frames), f"{name}_lengths": torch.from_numpy(lengths),
            f"{name}_steps": steps, f"{name}_at": torch.from_numpy(at)}  # fmt: skip


class ClipWindows(Windows):
    """All frames of some clips as one stream, in which the state is reset at the first frame of each.

    - table: a row for each clip
    """

    def __init__(
        self, table: Table, footage: Footage, target: np.ndarray, batch_size: int, seq_len: int, bptt: int | None,
        key: str,
    ):  # fmt: skip
        """target: (T,) the class of each frame."""
        reset = np.zeros(len(target), bool)
        reset[footage.starts[:-1]] = True
        super().__init__({"input": footage.frames, "target": target}, batch_size, seq_len, bptt, reset, key=key)
        self.table, self.footage, self.target = table, footage, target

    def __str__(self) -> str:
        return f"{len(self.table):,} clips, {self.steps:,} frames, {super().__str__()}"
