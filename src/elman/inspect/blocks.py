"""Blocks: what a panel is made of, as data. How each is shown is the business of the renderers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from elman.data.image import LazyImage

THUMBNAIL = 400  # pixels of the longer side


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a panel."""

    @property
    def kind(self) -> str:
        """The name of its class, by which templates are found."""
        return type(self).__name__


@dataclass(frozen=True, eq=False)
class Drawn(Block):
    """A block that is also an image file, of that name."""

    name: str


@dataclass(frozen=True, eq=False)
class Heading(Block):
    """A heading of the blocks that follow."""

    text: str


@dataclass(frozen=True, eq=False)
class Sentence(Block):
    """A paragraph of text; a `small` one is a remark."""

    text: str
    small: bool = False


@dataclass(frozen=True, eq=False)
class Table(Block):
    """Rows of texts, integers, floats (nan: unknown), or images."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Chart(Drawn):
    """A figure."""

    figure: Figure


@dataclass(frozen=True, eq=False)
class PaintedText(Drawn):
    """A text with a coloured background. Successive texts of one name are drawn in one image.

    - values: (N,) of each character, from -1 (blue) to 1 (red); with `heat` from 0 (none) to 1 (orange)
    - notes: N texts, shown when the pointer is at a character; its value where there are none
    """

    title: str
    text: str
    values: np.ndarray
    notes: Sequence[str] = ()
    heat: bool = False


@dataclass(frozen=True, eq=False)
class MarkedWords(Block):
    """A sentence as (word, mark) pairs; an empty mark is none."""

    words: Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Verbatim(Block):
    """A text as it is, folded under its title."""

    title: str
    text: str


@dataclass(frozen=True, eq=False)
class ImageStrip(Drawn):
    """An image, and once more for each step, its positions lit by their attention weights.

    - steps: a text, and weights (L,) over the positions of a square grid, row by row from the top left
    - caption: below the title
    - hard: whether only the position of the largest weight was used at each step
    """

    title: str
    image: LazyImage
    steps: Sequence[tuple[str, np.ndarray]]
    caption: str = ""
    hard: bool = False

    @cached_property
    def thumbnail(self) -> Image.Image:
        """The image, small; opened once."""
        return self.image.thumbnail(THUMBNAIL)


@dataclass(frozen=True, eq=False)
class FrameStrip(Drawn):
    """Images in a row, a text below each.

    - caption: below the title
    """

    title: str
    frames: Sequence[tuple[str, Image.Image]]
    caption: str = ""


@dataclass(frozen=True, eq=False)
class TimeLine(Drawn):
    """Spans of labels over time, in lanes one above the other: true ones, predicted ones.

    - labels: all that may occur, by which colours are chosen
    - lanes: a name, and spans: start and end in seconds, and a label; between spans there is none
    - end: of the time line, in seconds
    - caption: beside the title
    """

    title: str
    labels: Sequence[str]
    lanes: Sequence[tuple[str, Sequence[tuple[float, float, str]]]]
    end: float
    caption: str = ""
