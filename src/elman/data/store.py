"""Arrays of one shape that are computed once and then read again, by this run and by later ones."""

import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.cache import cache_path, map_arrays, open_regular
from elman.log import Log

CHECKSUM = np.dtype(np.uint32)


class Store:
    """`count` arrays of a `shape`, in memory or in a file, which several processes may read and write. In a file an
    array is valid if its stored checksum is right: one that was half written when the machine went down, or a file with
    other content, is computed again. The checksums follow all arrays; the file is mapped for as long as a batch is
    read."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: Any, path: Path | None = None):
        self.path, self.shape, self.dtype = path, (count, *shape), np.dtype(dtype)
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self._valid = np.zeros(count, bool)  # as far as this process knows
        if path is None:
            self._memory = np.empty(self.shape, self.dtype)
        else:
            _allocate(path, self.nbytes + CHECKSUM.itemsize * count)

    def take(self, indices: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The arrays (B, *shape) of these indices (B,). `compute` returns those (N, *shape) of the indices (N,) that
        are missing."""
        found = self._load(indices)
        missing = np.flatnonzero(~self._valid[indices])
        if len(missing):
            wanted, inverse = np.unique(indices[missing], return_inverse=True)
            computed = np.asarray(compute(wanted), self.dtype)
            self._save(wanted, computed)
            found[missing] = computed[inverse]
        return found

    def _load(self, indices: np.ndarray) -> np.ndarray:
        """What is stored for these indices; `_valid` then holds which of it is valid."""
        if self.path is None:
            return self._memory[indices]
        arrays, checksums = map_arrays(self.path, (self.dtype, self.shape), (CHECKSUM, self.shape[:1]))
        found, marks = arrays[indices], checksums[indices]
        for position in np.flatnonzero(~self._valid[indices] & (marks > 0)):
            self._valid[indices[position]] = marks[position] == _checksum(found[position])
        return found

    def _save(self, indices: np.ndarray, values: np.ndarray) -> None:
        self._valid[indices] = True
        if self.path is None:
            self._memory[indices] = values
            return
        with open_regular(self.path, "r+b") as file:
            for index, value in zip(indices.tolist(), values, strict=True):
                file.seek(index * value.nbytes)
                file.write(value.tobytes())
                file.seek(self.nbytes + index * CHECKSUM.itemsize)
                file.write(_checksum(value).tobytes())


def _checksum(value: np.ndarray) -> np.ndarray:
    """The checksum of an array; never 0, which is the content of a new file."""
    return np.array(zlib.crc32(np.ascontiguousarray(value).data) | 1, CHECKSUM)


def _allocate(path: Path, size: int) -> None:
    """Creates a file of that size, or gives an existing one that size. OSError where there is no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.touch(exist_ok=False)
    with open_regular(path, "r+b") as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):  # a full disk shows now, and not during training
            os.posix_fallocate(file.fileno(), 0, size)


def cached_store(
    folder: str, key: Sequence[str | None], count: int, shape: tuple[int, ...], dtype: Any,
    what: str, otherwise: str, log: Log,
) -> Store | None:  # fmt: skip
    """A store in a folder of the cache; `key` identifies its arrays. Logs `what` they are; where there is no room for
    them, logs what happens `otherwise` and returns None."""
    size = count * int(np.prod(shape)) * np.dtype(dtype).itemsize
    name = hashlib.blake2b(repr((shape, key)).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    path = cache_path(folder, name)
    try:
        store = Store(count, shape, dtype, path)
    except OSError as error:
        log(
            f"cannot keep {what} in {path} ({size / 1e9:.1f} GB): {error.strerror or error}; {otherwise}, which is "
            "slow: name a folder with room in ELMAN_CACHE"
        )
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    log(f"{what} are kept in {path} ({size / 1e9:.1f} GB)")
    return store
