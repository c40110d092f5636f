"""A clip as a value of a table: frames over time, decoded one after another when they are needed."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from elman.data.lazy import Lazy
from elman.errors import UserError

FPS = 25.0  # frames per second where nothing else is known
TOLERANCE = 1e-6  # seconds by which two times that are the same may differ


@dataclass(frozen=True, eq=False)
class Frame:
    """time: seconds from the first frame; value: an image, or a vector (F,) float32."""

    time: float
    value: Image.Image | np.ndarray


class LazyClip(Lazy):
    """A clip.

    - timed: whether its frames have time stamps of their own
    - sampling_rate: samples per second of a sound, else None
    """

    timed: ClassVar[bool] = True

    @property
    def sampling_rate(self) -> int | None:
        return None

    @abstractmethod
    def frames(self, fps: float | None) -> Iterator[Frame]:
        """The frames in order of time, at most a few of which are in memory; `fps` a second, or at their own times if
        None. UserError, which names the clip and how far it was read, where it cannot be read; there is at least one
        frame."""


@dataclass(frozen=True, eq=False)
class ArrayClip(LazyClip):
    """A clip of the vectors of an array (T, F), without time stamps."""

    name: str
    values: np.ndarray
    timed: ClassVar[bool] = False

    def frames(self, fps: float | None) -> Iterator[Frame]:
        for index, value in enumerate(self.values):
            yield Frame(index / (fps or FPS), np.asarray(value, np.float32))


def resampled(frames: Iterable[Frame], fps: float) -> Iterator[Frame]:
    """Frames at the times 0, 1 / fps, 2 / fps, ..., up to the last: at each the one that is shown then."""
    shown, index = None, 0
    for frame in frames:
        while shown is not None and index / fps < frame.time - TOLERANCE:
            yield Frame(index / fps, shown.value)
            index += 1
        shown = frame
    while shown is not None and index / fps <= shown.time + TOLERANCE:
        yield Frame(index / fps, shown.value)
        index += 1


def first_frame(clip: LazyClip, fps: float | None) -> Frame:
    """The first frame of a clip."""
    frame = next(clip.frames(fps), None)
    if frame is None:
        raise UserError(f"{clip} has no frames")
    return frame
