"""A picture once for each time that it was looked at: what was not looked at lies in the dark.

Shapes: L places of a square grid, row by row from the top left.
"""

import textwrap
from dataclasses import dataclass
from math import isqrt

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image, ImageDraw

from elman.data.image import LazyImage
from elman.inspect import painting
from elman.inspect.chart import literal, png, styled
from elman.inspect.panel import escape, thumbnail
from elman.inspect.predictions import shortened
from elman.tokenizers.tokenizer import Tokenizer

LARGEST, PAGE, ALONE = 400, 220, 340  # pixels of a picture in a file, in a page, and where few are in a line
FEW = 4
ACROSS = 8  # pictures in a line
WIDE, LARGE = 10.4, 2.6  # inches of a line, and of a picture at most
TITLE, LINE, MARGIN = 0.25, 0.19, 0.08  # inches: above each picture, of a line of text, around
DARK = 0.22  # how much of the light is left where nothing was looked at
FRAME = (255, 60, 40)


@dataclass(frozen=True)
class Strip:
    """A picture, and for each word that was said, or each look, where was looked (L,). `below` says more than the
    heading; `framed`: one place alone was taken, that of the largest weight."""

    picture: LazyImage
    heading: str
    steps: list[tuple[str, np.ndarray]]
    below: str = ""
    framed: bool = False

    def images(self, most: int) -> list[tuple[str, Image.Image]]:
        """The picture as it is, and once for each step, each with its word."""
        plain = self.picture.thumbnail(most)
        return [("", plain), *((word, lit(plain, weights, self.framed)) for word, weights in self.steps)]

    def html(self) -> str:
        """For a page."""
        items = "".join(
            f"<li>{thumbnail(image)}{escape(shortened(word, 24))}</li>"
            for word, image in self.images(PAGE if len(self.steps) >= FEW else ALONE)
        )
        below = f"<small>{escape(shortened(self.below, 300))}</small>" if self.below else ""
        return f'<div class="strip"><p>{escape(shortened(self.heading, 300))}{below}</p><ol>{items}</ol></div>'

    def png(self) -> bytes:
        """As a file."""
        return png(self.chart())

    @styled
    def chart(self) -> Figure:
        """At most eight pictures a line; each is laid where it belongs, for a layout that is sought takes seconds."""
        images = self.images(LARGEST)
        columns = min(ACROSS, len(images))
        lines = -(-len(images) // columns)
        wide = min(LARGE, WIDE / columns)
        letters = max(24, int(13 * wide * columns))
        told = textwrap.wrap(self.heading, letters) + textwrap.wrap(self.below, letters)
        first = images[0][1]
        high, top = wide * first.height / first.width + TITLE, LINE * len(told) + MARGIN
        across, down = wide * columns, high * lines + top
        figure = Figure(figsize=(across, down))
        figure.set_layout_engine("none")
        font = painting.font_file("".join((self.heading, self.below, *(word for word, _ in images))), "DejaVuSans")
        for number, (word, image) in enumerate(images):
            line, column = divmod(number, columns)
            left, bottom = wide * column + MARGIN / 2, down - top - high * (line + 1) + MARGIN / 2
            size = (wide - MARGIN) / across, (high - TITLE - MARGIN) / down
            axis = figure.add_axes((left / across, bottom / down, *size))
            axis.set_axis_off()
            axis.imshow(np.asarray(image), aspect="auto")
            word = literal(shortened(word, max(8, int(10 * wide))))
            axis.set_title(word, loc="center", pad=3, font=FontProperties(fname=font, size=9))
        place = MARGIN / across, 1 - MARGIN / down
        figure.text(*place, literal("\n".join(told)), va="top", font=FontProperties(fname=font, size=10))
        return figure


def lit(plain: Image.Image, weights: np.ndarray, framed: bool = False) -> Image.Image:
    """A picture, the darker the less was looked at a place of it; where most was looked it is as it was. A frame is
    around that place, if it shall have one."""
    side = isqrt(len(weights))
    grid = (weights / max(float(weights.max()), 1e-9)).reshape(side, side).astype(np.float32)
    light = Image.fromarray(grid).resize(plain.size, Image.Resampling.BICUBIC)
    shares = DARK + (1 - DARK) * np.clip(np.asarray(light), 0, 1)[..., None]
    made = Image.fromarray(np.rint(np.asarray(plain) * shares).astype(np.uint8))
    if framed:
        down, across = divmod(int(weights.argmax()), side)
        wide, high = plain.width / side, plain.height / side
        box = (across * wide, down * high, (across + 1) * wide - 1, (down + 1) * high - 1)
        ImageDraw.Draw(made).rectangle([round(edge) for edge in box], outline=FRAME, width=max(1, plain.width // 90))
    return made


def words(tokens: Tokenizer, ids: list[int], weights: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The words of a text, each with where was looked (L,) when it was begun, from that of each token (T, L)."""
    found, decode, blank = list[tuple[str, np.ndarray]](), tokens.decoder(), True
    for token, seen in zip(ids, weights, strict=False):
        piece = decode(token)
        if piece.strip():
            if blank or piece[0].isspace() or token == tokens.unknown:
                found.append((piece.strip(), seen))
            else:
                found[-1] = found[-1][0] + piece.strip(), found[-1][1]
        blank = not piece or piece[-1].isspace()
    return found
