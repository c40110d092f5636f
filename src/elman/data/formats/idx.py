"""Images and labels in IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist/."""

import math
import re

import numpy as np

from elman.data.array_image import are_images, array_images
from elman.data.content import Content, content
from elman.data.formats.format import Format, RawTable, ReadContext, register
from elman.data.formats.image_arrays import image_columns
from elman.errors import UserError

NAME = re.compile(r"(?P<stem>.*?)(?P<what>images|labels)(?P<dot>[-.])idx(?P<dimensions>\d)-ubyte(\.gz)?")
UBYTE = 8  # the code of unsigned bytes
HEAD = b"\0\0" + bytes([UBYTE])
SPLIT_WORDS = {"train": "train", "t10k": "test", "test": "test", "valid": "valid"}
EXPECTED = "IDX images are (N, H, W) or (N, H, W, 3) unsigned bytes, and their labels (N,)"


def _image_files(found: Content) -> list[str]:
    """The names of the files with images, in a folder or a zip."""
    names = (NAME.fullmatch(name) for name in found.folder.names()) if found.data is None else ()
    return [match.string for match in names if match and match["what"] == "images"]


def _detects(found: Content, encoding: str) -> bool:
    if found.data is None:
        return bool(_image_files(found))
    return found.data.startswith(HEAD) or NAME.fullmatch(found.path.name) is not None


def _read(found: Content, context: ReadContext) -> RawTable:
    """The images of a file, or of every file in a folder, with their labels where these are next to them."""
    files = [content(found.folder.location(name)) for name in _image_files(found)] or [found]
    images, labels, splits, numbers, names = [], [], [], [], []
    for file in files:
        values = _array(file)
        if not are_images(values):
            raise UserError(f"{file.name} has {values.shape}: {EXPECTED}")
        images += array_images(file.path.name.removesuffix("-ubyte"), values)
        labels += _labels(file, len(values))
        splits += [next((split for word, split in SPLIT_WORDS.items() if word in file.path.name), "")] * len(values)
        numbers += range(1, len(values) + 1)
        names += [file.name] * len(values)
    return RawTable(image_columns(images, labels, splits), numbers, names if len(files) > 1 else [])


def _labels(images: Content, count: int) -> list[str]:
    """The labels of a file of images, empty where there is no file with them."""
    match = NAME.fullmatch(images.path.name)
    wanted = f"{match['stem']}labels{match['dot']}idx1-ubyte" if match else ""
    name = next((name for name in images.folder.names() if name.removesuffix(".gz") == wanted), None)
    if name is None:
        return [""] * count
    file = content(images.folder.location(name))
    values = _array(file)
    if values.shape != (count,):
        raise UserError(f"{file.name} has {values.shape}, but {images.name} has {count:,} images: {EXPECTED}")
    return [str(value) for value in values.tolist()]


def _array(file: Content) -> np.ndarray:
    """The array of a file: two zero bytes, the code of its type, the number of dimensions, their sizes, the values."""
    data = file.raw()
    if not data.startswith(HEAD) or len(data) < 4:
        raise UserError(f"{file.name} starts with {data[:4].hex(' ')}: an IDX file of unsigned bytes starts with "
                        "00 00 08, then its number of dimensions")  # fmt: skip
    start = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:start][: (start - 4) // 4 * 4], ">u4").tolist()) if len(data) >= start else ()
    if len(data) != start + math.prod(shape):
        raise UserError(f"{file.name} has {len(data):,} bytes: an IDX file of {shape or f'{data[3]} dimensions'} has "
                        f"{start + math.prod(shape):,}")  # fmt: skip
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


IDX = register(Format("idx", "images in IDX files, as of MNIST", _read, detects=_detects, priority=15))
