"""Arrays of one shape that are made once and then read again, by this run and by later ones."""

import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.files import cache_folder
from elman.tokenizers.registry import Log

MARK = np.dtype(np.uint32)


class Store:
    """`count` arrays of a `shape`, in memory or in a file, which several processes may read and write. In a file an
    array counts if its mark is its checksum, so that one which was half written when the machine went down, or a whole
    file that holds something else, is made anew. The marks stand behind all arrays; the file is mapped for as long as
    a batch is read."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: Any, path: Path | None = None):
        self.path, self.shape, self.dtype = path, (count, *shape), np.dtype(dtype)
        self.bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self._there = np.zeros(count, bool)  # as far as is known here
        if path is None:
            self._held = np.empty(self.shape, self.dtype)
        else:
            _sized(path, self.bytes + MARK.itemsize * count)

    def take(self, numbers: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The arrays of these numbers (B,): (B, *shape). `make` makes those (N, *shape) that are not there yet."""
        found = self._found(numbers)
        missing = np.flatnonzero(~self._there[numbers])
        if len(missing):
            wanted, places = np.unique(numbers[missing], return_inverse=True)
            made = np.asarray(make(wanted), self.dtype)
            self._keep(wanted, made)
            found[missing] = made[places]
        return found

    def _found(self, numbers: np.ndarray) -> np.ndarray:
        """What stands there for these numbers; `_there` then says which of it counts."""
        if self.path is None:
            return self._held[numbers]
        found = np.memmap(self.path, self.dtype, "r", 0, self.shape)[numbers]
        marks = np.memmap(self.path, MARK, "r", self.bytes, self.shape[:1])[numbers]
        for place in np.flatnonzero(~self._there[numbers] & (marks > 0)):
            self._there[numbers[place]] = marks[place] == _mark(found[place])
        return found

    def _keep(self, numbers: np.ndarray, made: np.ndarray) -> None:
        self._there[numbers] = True
        if self.path is None:
            self._held[numbers] = made
            return
        with self.path.open("r+b", buffering=0) as file:
            for number, value in zip(numbers.tolist(), made, strict=True):
                file.seek(number * value.nbytes)
                file.write(value.tobytes())
                file.seek(self.bytes + number * MARK.itemsize)
                file.write(_mark(value).tobytes())


def _mark(value: np.ndarray) -> np.ndarray:
    """The checksum of an array; never 0, which is what a new file is full of."""
    return np.array(zlib.crc32(np.ascontiguousarray(value).data) | 1, MARK)


def _sized(path: Path, size: int) -> None:
    """Makes a file of that size, or an older one be of it. No room is an OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):  # a full disk shows now, and not in the middle of training
            os.posix_fallocate(file.fileno(), 0, size)


def kept(
    folder: str, key: Sequence[str | None], count: int, shape: tuple[int, ...], dtype: Any,
    what: str, otherwise: str, log: Log,
) -> Store | None:  # fmt: skip
    """A store in a folder of the cache; `key` tells what its arrays are of. `what` they are, is told; where there is no
    room for them, None, and what happens `otherwise`."""
    size = count * int(np.prod(shape)) * np.dtype(dtype).itemsize
    name = hashlib.blake2b(repr((shape, key)).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    path = cache_folder() / folder / name
    try:
        store = Store(count, shape, dtype, path)
    except OSError as error:
        log(f"cannot keep {what} in {path} ({size / 1e9:.1f} GB): {error.strerror}; {otherwise}, which is slow: "
             "name a folder with room in ELMAN_CACHE")  # fmt: skip
        path.unlink(missing_ok=True)
        return None
    log(f"{what} are kept in {path} ({size / 1e9:.1f} GB)")
    return store
