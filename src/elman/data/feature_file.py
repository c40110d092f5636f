"""A clip that is an .npy of features, one row a frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from elman.data.clip import FPS, Frame
from elman.data.formats.arrays import NUMBERS
from elman.data.video_file import FileClip
from elman.errors import UserError

SUFFIX = ".npy"


@dataclass(frozen=True)
class FeatureFile(FileClip):
    """Vectors without time stamps, read row by row."""

    timed: ClassVar[bool] = False

    def frames(self, fps: float | None) -> Iterator[Frame]:
        try:
            values = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"{self.path} is not an array of NumPy without Python objects: {error}") from None
        if (
            not isinstance(values, np.ndarray)
            or values.ndim != 2
            or not values.size
            or values.dtype.kind not in NUMBERS
        ):
            found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else "several arrays"
            raise UserError(f"{self.path} has {found}: expected numbers (frames, features), one row a frame")
        for index, row in enumerate(values):
            value = row.astype(np.float32)
            if not np.isfinite(value).all():
                raise UserError(f"{self.path} row {index + 1:,} has a value that is not finite")
            yield Frame(index / (fps or FPS), value)
