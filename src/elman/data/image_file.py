"""A picture that is a file: on disk, or in a zip."""

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
# only these are tried: others of Pillow's start programs, or fetch what they show
FORMATS, HEIC = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"), "HEIF"
KINDS = "JPEG, PNG, GIF, WebP, BMP, TIFF or HEIC"
HEAD = 12  # bytes that log a HEIC: https://www.iana.org/assignments/media-types/image/heic
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# what stands in the last bytes of a file that was not cut off; other formats log their length at the head
ENDS, TAIL = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}, 64
ORIENTATION = 0x0112  # the tag of EXIF
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip
DEEP = 0xFFFF  # the largest value of 16 bits
_FILTERS = Lock()  # those of warnings are common to all threads


@dataclass(frozen=True)
class ImageFile(LazyImage):
    """`path` is where it stands as seen from `place`. Nothing is open, or held, between two calls."""

    name: str
    place: Filesystem
    path: str

    @property
    def where(self) -> str:
        """The name under which the user finds it."""
        return self.place.where(self.path)

    @cached_property
    def size(self) -> int:
        """Bytes of the file."""
        return self.place.size(self.path)

    @property
    def origin(self) -> str:
        return f"{os.path.abspath(self.where)} {self.size} {self.place.changed(self.path)}"

    @property
    def stamp(self) -> str:
        return f"{self.name} {self.size}"

    def check(self, whole: bool = False) -> None:
        """A UserError if the file is not there, its head is not that of a picture that can be read, or it was cut off;
        with `whole`, if it is damaged anywhere."""
        with self._header() as found:
            end, mark = self.place.end(self.path, TAIL), ENDS.get(found.format or "", b"")
        if whole or (end is not None and mark not in end):
            self.image()

    def image(self) -> Image.Image:
        try:
            with self._header() as found:
                found.load()
                return _rgb(_upright(found))
        except UserError as error:
            raise Unreadable(str(error)) from None

    @contextmanager
    def _header(self) -> Iterator[Image.Image]:
        """The picture with its pixels not yet read. What goes wrong with it inside is a UserError."""
        if not self.size:
            raise UserError(f"{self.where} is empty: expected a picture")
        with self.place.open(self.path) as file:
            try:
                with _opened(file, self.where) as picture:
                    _bound(picture.width * picture.height, self.where)
                    yield picture
            except UserError:
                raise
            except Image.DecompressionBombError as error:
                _bound(int(re.findall(r"\d+", str(error))[0]), self.where)
                raise
            except UnidentifiedImageError:
                raise UserError(f"{self.where} is no picture: expected {KINDS}") from None
            except Exception as error:  # what damaged pictures raise has no common kind
                line = " ".join(str(error).split()) or type(error).__name__
                raise UserError(f"{self.where} cannot be read as a picture: {line[:200]}") from None


def _opened(file: IO[bytes], where: str) -> Image.Image:
    head = file.read(HEAD)
    heic = head[4:8] == b"ftyp" and head[8:12] in BRANDS
    if heic:
        try:
            import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise UserError(f"{where} is HEIC, for which pillow-heif is needed: pip install 'elman[heic]'") from None
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # see _bound
        return Image.open(file, formats=[HEIC] if heic else FORMATS)


def _bound(pixels: int, where: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise UserError(f"{where} has {pixels:,} pixels: no more than {limit:,} are read, make it smaller")


def _upright(picture: Image.Image) -> Image.Image:
    """The picture as the camera was held. Where that cannot be read, it stays as it is."""
    try:
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # as many kinds as there are ways to be damaged; the pixels are good
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB, with white behind what can be seen through, and nothing else that the file said of it."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = _shallow(picture)
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    plain = picture.convert("RGB")
    plain.info = {}
    return plain


def _shallow(picture: Image.Image) -> Image.Image:
    """8 bits of 16."""
    values = np.asarray(picture)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > DEEP:
        raise ValueError("its values have more than 16 bits")
    return Image.fromarray(np.rint(values / (DEEP / 0xFF)).astype(np.uint8))
