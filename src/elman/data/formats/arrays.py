"""Sequences of numbers: an .npz with all of them, or an .npy for one."""

import io
import zipfile
from typing import IO, Any

import numpy as np

from elman.data.content import MAX_BYTES, Content
from elman.data.formats.format import Format, RawTable, ReadContext, register
from elman.errors import UserError

EXPECTED = "expected x (N, T, F) or (N, T) of numbers and y (N,), and optionally lengths (N,) of integers from 0 to T"
NUMBERS = "biuf"  # kinds of dtypes
SUFFIX, ZIP = ".npy", b"PK"


def sequence(content: Content) -> np.ndarray:
    """An .npy of shape (T,) or (T, F) as (T, F) float32."""
    value = load_arrays(content)
    if not isinstance(value, np.ndarray):
        raise UserError(f"{content.name} has several arrays: expected numbers of shape (T,) or (T, F)")
    if value.ndim not in (1, 2) or 0 in value.shape[1:] or value.dtype.kind not in NUMBERS:
        raise UserError(f"{content.name} has {value.dtype} {value.shape}: expected numbers of shape (T,) or (T, F)")
    return np.ascontiguousarray(value.reshape(len(value), *value.shape[1:] or (1,)), np.float32)


def load_arrays(content: Content) -> Any:
    """The array of an .npy, or the arrays of an .npz by name."""
    data = content.raw()
    try:
        if not data.startswith(ZIP):
            return _array(io.BytesIO(data), len(data))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = {}
            for info in archive.infolist():
                if not info.filename.endswith(SUFFIX):
                    continue
                with archive.open(info) as file:
                    found[info.filename.removesuffix(SUFFIX)] = _array(file, info.file_size)
            return found
    except (ValueError, OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(f"{content.name} is not a file of NumPy arrays without Python objects: {error}") from None


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """An array of a file with `size` bytes. ValueError where its header does not fit: NumPy would first allocate, or
    read, the size in the header."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of the format is unknown")
    shape, fortran, dtype = read_header[version](file)
    expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError("it has Python objects")
    if expected != size - file.tell() or size > MAX_BYTES:
        raise ValueError(f"an array {shape} of {dtype} does not have {size - file.tell():,} bytes")
    value = np.frombuffer(bytearray(file.read(expected)), dtype) if expected else np.zeros(shape, dtype).ravel()
    return value.reshape(shape[::-1]).T if fortran else value.reshape(shape)


def _read(content: Content, context: ReadContext) -> RawTable:
    arrays = load_arrays(content)
    if not isinstance(arrays, dict):
        arrays = {"one array": arrays}
    found = ", ".join(f"{name} {value.shape} {value.dtype}" for name, value in arrays.items()) or "nothing"
    if not _is_valid(**arrays):
        raise UserError(f"{content.name} has {found}: {EXPECTED}")
    x, y = np.asarray(arrays["x"], np.float32), arrays["y"]
    x = x.reshape(*x.shape[:2], -1) if x.ndim == 3 else x[..., None]
    lengths = arrays.get("lengths", np.full(len(x), x.shape[1])).tolist()
    rows = [row[:length] for row, length in zip(x, lengths, strict=True)]
    return RawTable({"array": rows, "label": [to_label(value) for value in y.tolist()]}, list(range(1, len(rows) + 1)))


def _is_valid(x: Any = None, y: Any = None, lengths: Any = None, **_: Any) -> bool:
    """Whether the arrays have the shapes of `EXPECTED`; others are allowed."""
    if x is None or y is None or x.ndim not in (2, 3) or x.dtype.kind not in NUMBERS or y.shape != x.shape[:1]:
        return False
    if lengths is None:
        return True
    integers = lengths.shape == y.shape and lengths.dtype.kind in "iu"
    return integers and bool(((lengths >= 0) & (lengths <= x.shape[1])).all())


def to_label(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


ARRAYS = register(Format("arrays", "sequences of numbers", _read, (".npz",), priority=71))
