"""A picture as a value of a table: known by its name, opened only when its pixels are needed."""

from abc import ABC, abstractmethod

from PIL import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom, in shares of the picture


class LazyImage(ABC):
    """A picture. Two with the same `name` are the same picture; the name holds no folder of a machine, so that a split
    by its hash is the same everywhere."""

    name: str

    @property
    def origin(self) -> str | None:
        """What tells its pixels from those of any other picture on this machine; None where making them costs no more
        than keeping them."""
        return None

    @abstractmethod
    def image(self) -> Image.Image:
        """The picture, RGB and upright. One that cannot be read is a UserError that names it."""

    def small(self, most: int) -> Image.Image:
        """The picture to be looked at: its longer side has at most so many pixels."""
        image = self.image()
        image.thumbnail((most, most), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return image

    def holds(self, caption: str) -> bool | None:
        """Whether a sentence is true of it; None where that is not known."""
        return None

    def boxes(self, caption: str) -> list[tuple[int, Box]] | None:
        """Where things lie that a caption names: the place of a noun's last word, from 0, and the box of each thing
        that is meant. None where that is not known."""
        return None

    @property
    def stamp(self) -> str:
        """The name, and what else tells that the picture has changed."""
        return self.name

    def __str__(self) -> str:
        return self.name
