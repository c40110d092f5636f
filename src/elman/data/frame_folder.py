"""A clip that is a folder of images, in natural order: 2.png before 10.png."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from elman.data.clip import FPS, Frame
from elman.data.filesystem import Folder
from elman.data.image_file import SUFFIXES, ImageFile
from elman.data.video_file import FileClip
from elman.errors import UserError


@dataclass(frozen=True)
class FrameFolder(FileClip):
    """Frames without time stamps."""

    timed: ClassVar[bool] = False

    @cached_property
    def images(self) -> list[ImageFile]:
        """The images. UserError where there are none."""
        names = [path.name for path in self.path.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
        if not names:
            raise UserError(f"the folder {self.path} has no frames: expected images, one for each")
        folder = Folder(str(self.path))
        return [ImageFile(f"{self.name}/{name}", folder, name) for name in sorted(names, key=natural)]

    @property
    def origin(self) -> str:
        return " ".join(image.origin for image in self.images)

    @property
    def stamp(self) -> str:
        return " ".join(image.stamp for image in self.images)

    def frames(self, fps: float | None) -> Iterator[Frame]:
        for index, image in enumerate(self.images):
            yield Frame(index / (fps or FPS), image.image().convert("L" if image.shape[2] == 1 else "RGB"))


def natural(name: str) -> list[tuple[int, str]]:
    """A key of names by which numbers in them are compared as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]
