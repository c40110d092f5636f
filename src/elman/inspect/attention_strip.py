"""Attention to an image: the image once for each step, darker at positions of smaller weight.

Shapes: L positions of a square grid, row by row from the top left.
"""

import textwrap
from collections.abc import Sequence
from math import isqrt
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image, ImageDraw, ImageOps

from elman.data.image import LazyImage
from elman.inspect import chart, painting
from elman.inspect.blocks import FrameStrip, ImageStrip
from elman.inspect.chart import literal, styled
from elman.inspect.display import shortened
from elman.tasks.answer import Answer, Attention

PAGE, ALONE = 220, 340  # pixels of an image in a page, and where there are few
FEW = 4
ACROSS = 8  # images of a line
WIDTH, LARGEST = 10.4, 2.6  # inches of a line, and of an image at most
TITLE, LINE, MARGIN = 0.25, 0.19, 0.08  # inches: above each image, of a line of text, around
DARK = 0.22  # of the light is left where the weight is 0
FRAME = (255, 60, 40)


def attention_strips(answers: Sequence[Answer]) -> list[ImageStrip]:
    """A strip for each answer with attention to an image; its file is named after the image."""
    found = []
    for answer in answers:
        if answer.attention is not None and isinstance(image := answer.attention.keys, LazyImage):
            found.append(strip(f"{stem(image)}-attention", str(answer.first), answer.attention, str(image)))
    return found


def stem(image: LazyImage) -> str:
    """The name of an image without its folder and suffix."""
    return Path(image.name).stem.partition(":")[0]  # of a generated scene this alone is a name


def strip(name: str, title: str, attention: Attention, caption: str = "") -> ImageStrip:
    """The strip of attention to an image."""
    assert isinstance(attention.keys, LazyImage)
    return ImageStrip(name, title, attention.keys, words(attention), caption, attention.hard)


def words(attention: Attention) -> list[tuple[str, np.ndarray]]:
    """The words of the queries, each with the weights (L,) of its first token. A token that begins with a blank, or
    follows one, begins a word, and so does one in brackets."""
    found, blank = list[tuple[str, np.ndarray]](), True
    for piece, weights in zip(attention.queries, attention.weights, strict=True):
        if text := piece.strip():
            if blank or piece[0].isspace() or text[0] + text[-1] in ("<>", "()"):
                found.append((text, weights))
            else:
                found[-1] = found[-1][0] + text, found[-1][1]
        blank = not piece or piece[-1].isspace()
    return found


def lit(block: ImageStrip | FrameStrip) -> list[tuple[str, Image.Image]]:
    """The images of a strip as a page has them, with their texts."""
    return images(block, PAGE if len(block.steps if isinstance(block, ImageStrip) else block.frames) >= FEW else ALONE)


def images(block: ImageStrip | FrameStrip, most: int | None = None) -> list[tuple[str, Image.Image]]:
    """The images of a strip with their texts, the longer side of at most so many pixels: of attention first the image
    as it is, then one for each step."""
    if isinstance(block, FrameStrip):
        size = most or max(block.frames[0][1].size)
        return [(text, ImageOps.contain(image, (min(size, image.width), min(size, image.height))))
                for text, image in block.frames]  # fmt: skip
    plain = block.thumbnail
    if most is not None:
        plain = plain.copy()
        plain.thumbnail((most, most), Image.Resampling.LANCZOS)
    return [("", plain), *((word, attended(plain, weights, block.hard)) for word, weights in block.steps)]


def attended(plain: Image.Image, weights: np.ndarray, hard: bool = False) -> Image.Image:
    """An image, the darker the smaller the weight of a position; unchanged at the largest. `hard`: with a frame around
    that position."""
    side = isqrt(len(weights))
    grid = (weights / max(float(weights.max()), 1e-9)).reshape(side, side).astype(np.float32)
    light = Image.fromarray(grid).resize(plain.size, Image.Resampling.BICUBIC)
    light = DARK + (1 - DARK) * np.clip(np.asarray(light), 0, 1)[..., None]
    made = Image.fromarray(np.rint(np.asarray(plain) * light).astype(np.uint8))
    if hard:
        down, across = divmod(int(weights.argmax()), side)
        width, height = plain.width / side, plain.height / side
        box = (across * width, down * height, (across + 1) * width - 1, (down + 1) * height - 1)
        ImageDraw.Draw(made).rectangle([round(edge) for edge in box], outline=FRAME, width=max(1, plain.width // 90))
    return made


def png(block: ImageStrip | FrameStrip) -> bytes:
    """As an image file."""
    return chart.png(figure(block))


@styled
def figure(block: ImageStrip | FrameStrip) -> Figure:
    """At most eight images a line; placed by hand, because an automatic layout takes seconds."""
    shown = images(block)
    columns = min(ACROSS, len(shown))
    lines = -(-len(shown) // columns)
    width = min(LARGEST, WIDTH / columns)
    letters = max(24, int(13 * width * columns))
    text = textwrap.wrap(block.title, letters) + textwrap.wrap(block.caption, letters)
    first = shown[0][1]
    height, top = width * first.height / first.width + TITLE, LINE * len(text) + MARGIN
    across, down = width * columns, height * lines + top
    made = Figure(figsize=(across, down))
    font = painting.font_file("".join((block.title, block.caption, *(word for word, _ in shown))), "DejaVuSans")
    for number, (word, image) in enumerate(shown):
        line, column = divmod(number, columns)
        left, bottom = width * column + MARGIN / 2, down - top - height * (line + 1) + MARGIN / 2
        size = (width - MARGIN) / across, (height - TITLE - MARGIN) / down
        axis = made.add_axes((left / across, bottom / down, *size))
        axis.set_axis_off()
        axis.imshow(np.asarray(image), aspect="auto")
        word = literal(shortened(word, max(8, int(10 * width))))
        axis.set_title(word, loc="center", pad=3, font=FontProperties(fname=font, size=9))
    corner = MARGIN / across, 1 - MARGIN / down
    made.text(*corner, literal("\n".join(text)), va="top", font=FontProperties(fname=font, size=10))
    return made
