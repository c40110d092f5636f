"""An image that is a file: on disk, or in a zip."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from threading import Lock
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from elman.data.filesystem import Filesystem
from elman.data.image import LazyImage
from elman.errors import Unreadable, UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic")
# only these are tried: other formats of Pillow start programs, or fetch their content
FORMATS, HEIC = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"), "HEIF"
EXPECTED = "JPEG, PNG, GIF, WebP, BMP, TIFF or HEIC"
HEAD = 12  # bytes that identify a HEIC: https://www.iana.org/assignments/media-types/image/heic
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# in the last bytes of a file that is not truncated; other formats have their length at the head
TRAILERS, TAIL = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}, 64
ORIENTATION = 0x0112  # the EXIF tag
TRANSPOSITIONS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip
TURNED = {TRANSPOSITIONS[tag] for tag in (5, 6, 7, 8)}  # width and height are exchanged
GREY = ("1", "L", "LA", "La", "F", "I")  # modes; those of 16 bits start with I;
MAX_16_BIT = 0xFFFF
_WARNING_FILTERS = Lock()  # warning filters are shared by all threads


@dataclass(frozen=True)
class ImageFile(LazyImage):
    """`relative` is the path in the folder or zip. Nothing is open, or held, between two calls."""

    name: str
    folder: Filesystem
    relative: str

    @property
    def location(self) -> str:
        """The path under which the user finds it."""
        return self.folder.location(self.relative)

    @property
    def path(self) -> str:
        return os.path.abspath(self.location)

    @cached_property
    def size(self) -> int:
        """Bytes of the file."""
        return self.folder.size(self.relative)

    @property
    def origin(self) -> str:
        return f"{self.path} {self.size} {self.folder.version(self.relative)}"

    @property
    def stamp(self) -> str:
        return f"{self.name} {self.size}"

    @property
    def shape(self) -> tuple[int, int, int]:
        with self._header() as header:
            width, height = header.size
            turned = _transposition(header) in TURNED
            channels = 1 if header.mode.partition(";")[0] in GREY else 3
            return (width, height, channels) if turned else (height, width, channels)

    def check(self, whole: bool = False) -> None:
        """UserError if the file is missing, truncated, or not of a known image format; with `whole`, if it is damaged
        anywhere."""
        with self._header() as header:
            end, trailer = self.folder.tail(self.relative, TAIL), TRAILERS.get(header.format or "", b"")
        if whole or (end is not None and trailer not in end):
            self.image()

    def image(self) -> Image.Image:
        try:
            with self._header() as header:
                header.load()
                return _to_rgb(_upright(header))
        except UserError as error:
            raise Unreadable(str(error)) from None

    @contextmanager
    def _header(self) -> Iterator[Image.Image]:
        """The image with its pixels not yet read. Errors of reading it inside are UserErrors."""
        if not self.size:
            raise UserError(f"{self.location} is empty: expected an image")
        with self.folder.open(self.relative) as file:
            try:
                with _open(file, self.location) as image:
                    _check_pixels(image.width * image.height, self.location)
                    yield image
            except UserError:
                raise
            except Image.DecompressionBombError as error:
                _check_pixels(int(re.findall(r"\d+", str(error))[0]), self.location)
                raise
            except UnidentifiedImageError:
                raise UserError(f"{self.location} is not an image: expected {EXPECTED}") from None
            except Exception as error:  # damaged images raise many kinds
                line = " ".join(str(error).split()) or type(error).__name__
                raise UserError(f"{self.location} cannot be read as an image: {line[:200]}") from None


def _open(file: IO[bytes], location: str) -> Image.Image:
    head = file.read(HEAD)
    heic = head[4:8] == b"ftyp" and head[8:12] in BRANDS
    if heic:
        try:
            import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise UserError(f"{location} is HEIC and needs pillow-heif: pip install 'elman[heic]'") from None
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see _check_pixels
        return Image.open(file, formats=[HEIC] if heic else FORMATS)


def _check_pixels(pixels: int, location: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise UserError(f"{location} has {pixels:,} pixels: at most {limit:,} are allowed, make it smaller")


def _transposition(image: Image.Image) -> Transpose | None:
    """What makes the image upright, by its EXIF data; None where it is, or where that cannot be read."""
    try:
        return TRANSPOSITIONS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of many kinds; the pixels are good
        return None


def _upright(image: Image.Image) -> Image.Image:
    transposition = _transposition(image)
    return image if transposition is None else image.transpose(transposition)


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB on white where the image is transparent, without its metadata."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    plain = image.convert("RGB")
    plain.info = {}
    return plain


def _to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > MAX_16_BIT:
        raise ValueError("its values have more than 16 bits")
    return Image.fromarray(np.rint(values / (MAX_16_BIT / 0xFF)).astype(np.uint8))
