"""Tensors in a safetensors file, with a digest. The header is checked before anything is loaded."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from elman import schema
from elman.errors import UserError
from elman.files import open_regular
from elman.schema import Count, from_json

SIZES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}  # bytes of an element
MAX_HEADER = 16 << 20  # bytes
MAX_BYTES = 16 << 30
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8

About = dict[str, int | float | None]


@dataclass(frozen=True)
class Entry:
    """A tensor in the header: its shape, and where its bytes begin and end."""

    dtype: Literal["F64", "F32", "BF16", "F16", "I64", "I32", "U8", "BOOL"]
    shape: tuple[Count, ...]
    data_offsets: tuple[Count, Count]


@dataclass(frozen=True)
class Metadata:
    """What stands under `elman` in the metadata of the header."""

    about: About
    digest: str


def pack(tensors: Mapping[str, Tensor], about: Mapping[str, int | float | None]) -> bytes:
    """A safetensors file with a digest of its tensors and of `about`."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"about": dict(about), "digest": _digest(plain, about)}
    # a single entry: several have no order, and equal runs shall leave equal files
    return safetensors.torch.save(plain, {"elman": json.dumps(metadata)})


def unpack(path: Path, root: Path | None = None) -> tuple[dict[str, Tensor], About]:
    """Reads what `pack` gave, from a regular file below `root`. A file that is missing, cut short, altered or out of
    bounds is a UserError that names it."""
    entries, metadata = read_header(path, root)
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    for name, entry in entries.items():
        if entry.dtype == "BOOL" and tensors[name].view(torch.uint8).gt(1).any():
            raise UserError(f"{path} is damaged: '{name}' is not boolean")
    if metadata.digest != _digest(tensors, metadata.about):
        raise UserError(f"{path} was altered: its digest does not fit its contents")
    return tensors, metadata.about


def read_header(path: Path, root: Path | None = None) -> tuple[dict[str, Entry], Metadata]:
    """The names, types and shapes of the tensors, checked against the size of the file."""
    with open_regular(path, root or path.parent) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size > MAX_BYTES or length > MAX_HEADER:
            raise UserError(f"{path} is too large: {size:,} bytes with a header of {length:,}")
        if size < 8 + length:
            raise UserError(f"{path} is damaged: it ends within its header")
        header = schema.parse(file.read(length), str(path))
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise UserError(f"{path} is damaged: its header is no object of at most {MAX_TENSORS:,} entries")
    metadata = _metadata(header.pop("__metadata__", None), path)
    entries = from_json(dict[str, Entry], header, str(path))
    for name, entry in entries.items():
        begin, end = entry.data_offsets
        fits = len(entry.shape) <= MAX_DIMENSIONS and min(*entry.shape, begin, 0) == 0
        if not fits or end - begin != math.prod(entry.shape) * SIZES[entry.dtype]:
            raise UserError(f"{path} is damaged: the size of '{name}' is not that of its shape")
    if 8 + length + max((entry.data_offsets[1] for entry in entries.values()), default=0) != size:
        raise UserError(f"{path} is damaged: its size is not that of its tensors")
    return entries, metadata


def _metadata(value: Any, path: Path) -> Metadata:
    text = value.get("elman") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise UserError(f"{path} is damaged: it has no metadata of elman")
    return from_json(Metadata, schema.parse(text.encode("utf-8", "replace"), str(path)), str(path), "metadata")


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    digest = hashlib.blake2b(json.dumps(dict(about)).encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode("utf-8", "backslashreplace"))
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
