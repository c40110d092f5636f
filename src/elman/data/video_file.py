"""A clip that is a video file, decoded by PyAV (FFmpeg)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from elman.data.clip import FPS, Frame, LazyClip, resampled
from elman.errors import Unreadable

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".3gp")
MICROSECONDS = 1_000_000  # the unit of the duration of a container
# a file ends too early if more is missing than both of these: headers round, and a last frame may be short
MISSING, FRACTION = 0.5, 0.05  # seconds, and of the duration
OPTIONS = {"protocol_whitelist": "file"}  # a playlist could name an address


@dataclass(frozen=True)
class FileClip(LazyClip):
    """A clip in a file or a folder."""

    name: str
    path: Path

    @property
    def origin(self) -> str | None:
        found = os.stat(self.path)
        return f"{os.path.abspath(self.path)} {found.st_size} {found.st_mtime_ns}"

    @property
    def stamp(self) -> str:
        return f"{self.name} {os.stat(self.path).st_size}"

    def __str__(self) -> str:
        return str(self.path)


class VideoFile(FileClip):
    """Frames at the time stamps of the file, also where their intervals vary."""

    def frames(self, fps: float | None) -> Iterator[Frame]:
        found = self._decoded()
        return found if fps is None else resampled(found, fps)

    def _decoded(self) -> Iterator[Frame]:
        count, time, first = 0, 0.0, 0.0
        with self._container(lambda: f" after frame {count:,} ({time:.2f} s)" if count else "") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise Unreadable(f"{self.path} has no frames: it has no video stream")
            step = 1 / float(stream.average_rate or FPS)
            for frame in container.decode(stream):
                first = frame.time or 0.0 if count == 0 else first
                time = time + step if frame.time is None else max(time, frame.time - first)
                time = time if count else 0.0
                if frame.is_corrupt:
                    raise Unreadable(f"{self.path} is damaged: frame {count + 1:,} ({time:.2f} s) is corrupt")
                yield Frame(time, frame.to_image())
                count += 1
            if count == 0:
                raise Unreadable(f"{self.path} has no frames: its video stream is empty")
            duration = _duration(container, stream)
        read = first + time + step  # a duration may count from 0, or from the first frame
        if duration is not None and duration - read > max(MISSING, FRACTION * duration):
            raise Unreadable(f"{self.path} is truncated: {time + step:.2f} s of {duration:.2f} s could be read, "
                             f"{count:,} frames")  # fmt: skip

    @contextmanager
    def _container(self, reached: Any) -> Iterator[Any]:
        """The file, open. Errors of FFmpeg inside are UserErrors with how far the file was read."""
        av = library(str(self.path))
        try:
            with av.open(f"file:{os.path.abspath(self.path)}", options=OPTIONS) as container:
                yield container
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unreadable(f"{self.path} cannot be decoded as a video{reached()}: {reason}") from None


def _duration(container: Any, stream: Any) -> float | None:
    """The seconds that the header of a file promises, None where it promises nothing of its frames alone."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if len(container.streams) > 1 or container.duration is None:
        return None
    return container.duration / MICROSECONDS


def library(name: str) -> Any:
    """PyAV, to decode a file of that name."""
    try:
        return import_module("av")
    except ImportError:
        raise Unreadable(f"{name} is a video and needs PyAV: pip install 'elman[video]'") from None
