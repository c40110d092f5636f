"""Arrays of one shape that are made once and then read again: in memory while they are small, else in the cache."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SMALL = 128 * 2**20  # bytes that memory may hold


class Store:
    """`count` arrays of a `shape`. In a file, which several processes may read and write, an array counts from when its
    mark is set, a byte of its own behind all arrays; the file is mapped for as long as a batch is read."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: Any, path: Path | None = None):
        self.path, self.shape, self.dtype = path, (count, *shape), np.dtype(dtype)
        self.bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        if path is None:
            self._held = np.empty(self.shape, self.dtype), np.zeros(count, np.uint8)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.truncate(self.bytes + count)
                if hasattr(os, "posix_fallocate"):  # a full disk shows now, and not in the middle of training
                    os.posix_fallocate(file.fileno(), 0, self.bytes + count)

    def take(self, numbers: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The arrays of these numbers (B,): (B, *shape). `make` makes those (N, *shape) that were never asked for."""
        values, marks = self._maps()
        found, missing = values[numbers], np.flatnonzero(marks[numbers] == 0)
        if len(missing):
            wanted, places = np.unique(numbers[missing], return_inverse=True)
            made = make(wanted)
            self._keep(wanted, made)
            found[missing] = made[places]
        return found

    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        if self.path is None:
            return self._held
        values = np.memmap(self.path, self.dtype, "r", 0, self.shape)
        return values, np.memmap(self.path, np.uint8, "r", self.bytes, self.shape[:1])

    def _keep(self, numbers: np.ndarray, made: np.ndarray) -> None:
        if self.path is None:
            values, marks = self._held
            values[numbers], marks[numbers] = made, 1
            return
        with self.path.open("r+b", buffering=0) as file:
            for number, value in zip(numbers.tolist(), made, strict=True):
                file.seek(number * value.nbytes)
                file.write(value.tobytes())
            for number in numbers.tolist():
                file.seek(self.bytes + number)
                file.write(b"\x01")
