"""Pictures as numbers: a field of rows whose values are pictures, all brought to one size."""

import hashlib
from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elman.data.picture import Picture
from elman.data.store import SMALL, Store
from elman.data.tokens import Tell
from elman.files import cache_folder


class Pixels:
    """A field of pictures; in a batch (B, 3, S, S) uint8. A picture is made S by S, its sides each on its own, so that
    all of it is seen. It is decoded once, then kept, unless it is as quickly drawn."""

    def __init__(self, pictures: Sequence[Picture], size: int, tell: Tell):
        self.size, self.shape = size, (3, size, size)
        distinct = {picture.name: picture for picture in pictures}
        numbers = {name: number for number, name in enumerate(distinct)}
        self.pictures = list(distinct.values())
        self.numbers = np.array([numbers[picture.name] for picture in pictures])
        self.store = _store(self.pictures, self.shape, tell)

    @property
    def workers(self) -> int:
        """Processes that are worth having, so that the network need not wait."""
        return 1 if self.store is not None else 0

    def select(self, chosen: np.ndarray) -> "Pixels":
        """Those of some rows."""
        some = copy(self)
        some.numbers = self.numbers[chosen]
        return some

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """NAME (B, 3, S, S) uint8."""
        numbers = self.numbers[chosen]
        found = self.store.take(numbers, self._made) if self.store is not None else self._made(numbers)
        return {name: torch.from_numpy(found)}

    def _made(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([pixels(self.pictures[number].image(), self.size) for number in numbers])


def pixels(image: Image.Image, size: int) -> np.ndarray:
    """(3, size, size) uint8 of a picture."""
    small = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(small, np.uint8).transpose(2, 0, 1))


def _store(pictures: list[Picture], shape: tuple[int, ...], tell: Tell) -> Store | None:
    origins = [picture.origin for picture in pictures]
    if None in origins:
        return None
    size = len(pictures) * int(np.prod(shape))
    if size <= SMALL:
        return Store(len(pictures), shape, np.uint8)
    digest = hashlib.blake2b(repr((shape, origins)).encode("utf-8", "surrogateescape"), digest_size=16)
    path = cache_folder() / "pixels" / digest.hexdigest()
    try:
        store = Store(len(pictures), shape, np.uint8, path)
    except OSError as error:
        tell(f"cannot keep the pixels of {len(pictures):,} pictures in {path} ({size / 1e9:.1f} GB): {error.strerror}; "
             "each is decoded anew every time, which is slow: name a folder with room in ELMAN_CACHE")  # fmt: skip
        path.unlink(missing_ok=True)
        return None
    tell(f"the pixels of {len(pictures):,} pictures are kept in {path} ({size / 1e9:.1f} GB)")
    return store
