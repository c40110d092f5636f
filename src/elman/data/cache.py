"""Files of the cache folder, named by a key and checked before they are read."""

import os
import re
import stat
from pathlib import Path
from typing import IO

import numpy as np

from elman.errors import UserError
from elman.files import cache_folder

KEY = re.compile(r"[0-9a-f]{32}")
DTYPES = ("uint8", "uint16", "uint32", "float16")  # of arrays: token ids, pixels and checksums, features
MAX_BYTES = 256 << 20  # of a file that is read as a whole


def check_key(key: object) -> str:
    """The key. UserError where it is anything but 32 hexadecimal digits, and so could name another file."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise UserError(f"{str(key)[:60]!r} must be a key of 32 hexadecimal digits")
    return key


def cache_path(folder: str, key: str) -> Path:
    """The path of a file in a folder of the cache."""
    return cache_folder() / folder / check_key(key)


def open_regular(path: Path, mode: str = "rb") -> IO[bytes]:
    """Opens a regular file, `rb` or `r+b`. OSError for a link, a pipe, a device or a folder."""
    flags = os.O_RDWR if "+" in mode else os.O_RDONLY
    # a pipe would block, and a link could name any file
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return os.fdopen(descriptor, mode, buffering=0)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file of at most `MAX_BYTES`; OSError otherwise."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise OSError(f"{path} is too large")
        return file.read()


def map_arrays(path: Path, *arrays: tuple[str | np.dtype, tuple[int, ...]]) -> list[np.ndarray]:
    """Maps a regular file, read only, as arrays of these dtypes and shapes, one after the other. OSError unless it is
    exactly as long as they are; ValueError for a dtype that is none of `DTYPES`."""
    kinds = [np.dtype(dtype) for dtype, _ in arrays]
    if any(kind.name not in DTYPES for kind in kinds):
        raise ValueError(f"an array of {path} has a dtype that is none of {', '.join(DTYPES)}")
    sizes = [
        int(np.prod(shape, dtype=np.int64)) * kind.itemsize for kind, (_, shape) in zip(kinds, arrays, strict=True)
    ]
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size != sum(sizes):
            raise OSError(f"{path} does not have {sum(sizes):,} bytes")
        if not sum(sizes):
            return [np.zeros(shape, kind) for kind, (_, shape) in zip(kinds, arrays, strict=True)]
        found, offset = [], 0
        for kind, size, (_, shape) in zip(kinds, sizes, arrays, strict=True):
            # as plain arrays: indexing `np.memmap` costs more than the read
            found.append(np.memmap(file, kind, "r", offset, shape).view(np.ndarray))
            offset += size
    return found
