"""Sequences of numbers: an .npz with all of them, or an .npy for one."""

import io
import zipfile
from typing import Any

import numpy as np

from elman.data.content import Content
from elman.data.formats.format import Form, How, Rows
from elman.errors import UserError

WANTED = "expected x (N, T, F) or (N, T) of numbers and y (N,), and perhaps lengths (N,) of whole numbers from 0 to T"
NUMBERS = "biuf"


def sequence(content: Content) -> np.ndarray:
    """An .npy of shape (T,) or (T, F) as (T, F) float32."""
    value = _load(content)
    if not isinstance(value, np.ndarray) or value.ndim not in (1, 2) or value.dtype.kind not in NUMBERS:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "several arrays"
        raise UserError(f"{content.name} holds {found}: expected numbers of shape (T,) or (T, F)")
    return np.ascontiguousarray(value.reshape(len(value), -1 if value.size else 1), np.float32)


def _load(content: Content) -> Any:
    try:
        value = np.load(io.BytesIO(content.raw()), allow_pickle=False)
        return value if isinstance(value, np.ndarray) else {name: value[name] for name in value.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{content.name} is no file of NumPy arrays without Python objects: {error}") from None


def _read(content: Content, how: How) -> Rows:
    arrays = _load(content)
    if not isinstance(arrays, dict):
        arrays = {"one array": arrays}
    found = ", ".join(f"{name} {value.shape} {value.dtype}" for name, value in arrays.items()) or "nothing"
    if not _fit(**arrays):
        raise UserError(f"{content.name} holds {found}: {WANTED}")
    x, y = np.asarray(arrays["x"], np.float32), arrays["y"]
    x = x.reshape(*x.shape[:2], -1) if x.ndim == 3 else x[..., None]
    lengths = arrays.get("lengths", np.full(len(x), x.shape[1])).tolist()
    rows = [row[:length] for row, length in zip(x, lengths, strict=True)]
    return Rows({"array": rows, "label": [_label(value) for value in y.tolist()]}, list(range(1, len(rows) + 1)))


def _fit(x: Any = None, y: Any = None, lengths: Any = None, **_: Any) -> bool:
    """Whether the arrays have the shapes that `WANTED` tells; others may stand beside them."""
    if x is None or y is None or x.ndim not in (2, 3) or x.dtype.kind not in NUMBERS or y.shape != x.shape[:1]:
        return False
    if lengths is None:
        return True
    whole = lengths.shape == y.shape and lengths.dtype.kind in "iu"
    return whole and bool(((lengths >= 0) & (lengths <= x.shape[1])).all())


def _label(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


ARRAYS = Form("arrays", "sequences of numbers", _read, (".npz",))
