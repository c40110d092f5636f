"""The frames of several clips one after another, as arrays: in memory, or decoded once into a file of the cache."""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.cache import cache_path, map_arrays
from elman.data.clip import FPS, Frame, LazyClip
from elman.errors import UserError
from elman.log import Log

MAX_MEMORY = 64 * 2**20  # bytes of frames that are kept in memory
BLOCK = 256  # frames that are written at once
TICKS = 10_000  # of a second, by which times are stored
STORED = np.dtype(np.uint32)  # of a time and of the index of a clip


@dataclass(frozen=True, eq=False)
class Footage:
    """frames (T, ...); times (T,), in seconds; starts (N + 1,), the first frame of each of N clips, and T."""

    frames: np.ndarray
    times: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, frames: np.ndarray, ticks: np.ndarray, clips: np.ndarray, count: int) -> "Footage":
        """From times in ticks (T,) and the clip of each frame (T,)."""
        starts = np.concatenate(([0], np.bincount(clips, minlength=count).cumsum()))
        return cls(frames, ticks / TICKS, starts)

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.starts) - 1

    def of_clip(self, index: int) -> slice:
        """The frames of a clip."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def end(self, index: int) -> float:
        """The end of a clip in seconds: its last frame takes as long as the one before."""
        return end_time(self.times[self.of_clip(index)][-2:])


def end_time(last: Sequence[float] | np.ndarray) -> float:
    """The end of a clip in seconds, from the times of its last two frames, or of the only one."""
    return float(last[-1] + (last[-1] - last[0] if len(last) > 1 else 1 / FPS))


@dataclass(frozen=True)
class Decoding:
    """How frames become arrays.

    - convert: a clip and one of its frames to an array of a `shape` and `dtype`
    - key: identifies it among others; None where it takes less time than to read what was kept
    """

    convert: Callable[[LazyClip, Frame], np.ndarray]
    shape: tuple[int, ...]
    dtype: Any
    key: str | None
    fps: float | None


_LAST: list[tuple[Any, Footage]] = []  # the labels and then the batches of a split need the same


def decode(clips: Sequence[LazyClip], how: Decoding, log: Log) -> Footage:
    """The footage of some clips. Where that is large, or was kept before, it is a mapped file. The last one that was
    decoded is returned again."""
    key = [*((clip, clip.origin) for clip in clips)], how.shape, how.dtype, how.key, how.fps
    if not _LAST or _LAST[0][0] != key:
        _LAST[:] = [(key, _decode(clips, how, log))]
    return _LAST[0][1]


def _decode(clips: Sequence[LazyClip], how: Decoding, log: Log) -> Footage:
    path = _path(clips, how)
    if path is not None and path.exists():
        with suppress(OSError, ValueError):  # damaged: decoded again
            return _mapped(path, how, len(clips))
    blocks, ticks, owners, size = list[np.ndarray](), list[int](), list[int](), 0
    spill = _Spill(path) if path is not None else None
    try:
        for block in _blocks(clips, how, ticks, owners):
            blocks.append(block)
            size += block.nbytes
            if spill is not None and size > MAX_MEMORY:
                spill.write(blocks, log)
                blocks.clear()
        if spill is not None and spill.begun:
            spill.finish([*blocks, np.array(ticks, STORED), np.array(owners, STORED)])
            return _mapped(spill.path, how, len(clips))
    except OSError as error:
        raise UserError(f"cannot keep the frames of {len(clips):,} clips in {path}: {error.strerror or error}; name a "
                        "folder with room in ELMAN_CACHE") from None  # fmt: skip
    finally:
        if spill is not None:
            spill.remove()
    return Footage.of(np.concatenate(blocks), np.array(ticks), np.array(owners), len(clips))


def _blocks(clips: Sequence[LazyClip], how: Decoding, ticks: list[int], owners: list[int]) -> Iterator[np.ndarray]:
    """The frames of all clips in blocks (N, ...); appends the time and the clip of each."""
    block = list[np.ndarray]()
    for index, clip in enumerate(clips):
        for frame in clip.frames(how.fps):
            block.append(how.convert(clip, frame))
            ticks.append(round(frame.time * TICKS))
            owners.append(index)
            if len(block) == BLOCK:
                yield np.stack(block)
                block.clear()
    if block:
        yield np.stack(block)


class _Spill:
    """A file that is written aside, and renamed when it is complete."""

    def __init__(self, path: Path):
        self.path, self.begun = path, False
        self._aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")

    def write(self, arrays: Sequence[np.ndarray], log: Log) -> None:
        """Appends arrays."""
        if not self.begun:
            log(f"frames are kept in {self.path}")
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._aside.open("ab") as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
        self.begun = True

    def finish(self, arrays: Sequence[np.ndarray]) -> None:
        """Appends the last arrays; the file is then complete."""
        self.write(arrays, lambda line: None)
        self._aside.replace(self.path)

    def remove(self) -> None:
        """Removes what was not completed."""
        with suppress(OSError):
            self._aside.unlink()


def _path(clips: Sequence[LazyClip], how: Decoding) -> Path | None:
    """Where the frames are kept; None where computing them costs no more."""
    origins = [clip.origin for clip in clips]
    if how.key is None or None in origins:
        return None
    text = repr((how.key, how.shape, how.fps, origins)).encode("utf-8", "surrogateescape")
    return cache_path("frames", hashlib.blake2b(text, digest_size=16).hexdigest())


def _mapped(path: Path, how: Decoding, count: int) -> Footage:
    dtype = np.dtype(how.dtype)
    total = path.stat().st_size // (int(np.prod(how.shape)) * dtype.itemsize + 2 * STORED.itemsize)
    arrays = map_arrays(path, (dtype, (total, *how.shape)), (STORED, (total,)), (STORED, (total,)))
    frames, ticks, owners = arrays
    if total == 0 or int(owners.max()) != count - 1:
        raise OSError(f"{path} has other clips")
    return Footage.of(frames, ticks.astype(np.int64), owners.astype(np.int64), count)
