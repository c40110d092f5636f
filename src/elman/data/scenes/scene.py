"""A scene: coloured shapes on a light background, drawn from a line of text."""

import re
from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from typing import NamedTuple

from PIL import Image, ImageDraw

from elman.errors import UserError, unknown

SIDE = 64  # pixels
MIN_SIDE = 16
COLOURS = {
    "red": (214, 32, 40),
    "green": (40, 150, 60),
    "blue": (36, 72, 212),
    "cyan": (40, 200, 222),
    "yellow": (250, 214, 30),
    "purple": (142, 48, 176),
    "orange": (246, 128, 16),
    "grey": (122, 122, 122),
}
SHAPES = ("circle", "square", "triangle", "star")
SIZES = {"small": 5, "large": 9}  # half a side of the box, pixels
# not in any scene for training: each shape is in one of them, half of the colours are in one
HELD_OUT_PAIRS = (("yellow", "star"), ("grey", "circle"), ("orange", "square"), ("purple", "triangle"))
BACKGROUND = ((248, 248, 244), (226, 228, 232))  # at the top and at the bottom
SUPERSAMPLING = 4  # for smooth edges
NAME = "scene: "
_THING = re.compile(r"(\w+) (\w+) (\w+) (\d{1,2}),(\d{1,2})")


class Thing(NamedTuple):
    """An object in a scene. Its centre is at x, y: pixels from the left and from the top."""

    size: str
    colour: str
    shape: str
    x: int
    y: int

    @property
    def pair(self) -> tuple[str, str]:
        """Colour and shape."""
        return self.colour, self.shape

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The pixels that it may cover: left, top, right and bottom, these two exclusive."""
        reach = SIZES[self.size]
        return self.x - reach, self.y - reach, self.x + reach, self.y + reach

    def __str__(self) -> str:
        return f"{self.size} {self.colour} {self.shape} {self.x},{self.y}"


@dataclass(frozen=True)
class Scene:
    """Objects without overlap. Its text is its name: `scene: small red circle 12,40; large blue ...`."""

    things: tuple[Thing, ...]

    def __str__(self) -> str:
        return NAME + "; ".join(map(str, self.things))

    @classmethod
    def parse(cls, name: str) -> "Scene":
        """The scene of this name. UserError for any other text."""
        if not name.startswith(NAME):
            raise UserError(f"'{name[:80]}' is not a scene: write '{NAME}small red circle 12,40; large blue ...'")
        return cls(tuple(map(_thing, name.removeprefix(NAME).split("; "))))

    def draw(self, size: int = SIDE) -> Image.Image:
        """The image, `size` pixels wide and high."""
        if size < MIN_SIDE:
            raise UserError(
                f"a scene cannot be drawn {size} pixels wide: size must be {MIN_SIDE} or more, as {SIDE} is"
            )
        wide, scale = size * SUPERSAMPLING, size * SUPERSAMPLING / SIDE
        image = _background(wide).copy()
        pen = ImageDraw.Draw(image)
        for thing in self.things:
            left, top, right, bottom = (edge * scale for edge in thing.box)
            if thing.shape == "circle":
                pen.ellipse((left, top, right - 1, bottom - 1), COLOURS[thing.colour])
            else:
                x, y, reach = (left + right) / 2, (top + bottom) / 2, (right - left - 1) / 2
                corners = [(x - 0.5 + reach * dx, y - 0.5 + reach * dy) for dx, dy in CORNERS[thing.shape]]
                pen.polygon(corners, COLOURS[thing.colour])
        return image.reduce(SUPERSAMPLING)


def side(a: Thing, b: Thing) -> str:
    """The relation of a to b: left of, right of, above or below, by the larger of the two distances."""
    right, down = a.x - b.x, a.y - b.y
    if abs(right) > abs(down):
        return "right of" if right > 0 else "left of"
    return "below" if down > 0 else "above"


def _thing(text: str) -> Thing:
    match = _THING.fullmatch(text)
    if match is None:
        raise UserError(f"'{text[:80]}' is not an object of a scene: write its size, colour, shape and centre, as in "
                        "'small red circle 12,40'")  # fmt: skip
    size, colour, shape, x, y = match.groups()
    for what, word, words in (("size", size, SIZES), ("colour", colour, COLOURS), ("shape", shape, SHAPES)):
        if word not in words:
            raise unknown(f"{what} of an object", word, words)
    thing = Thing(size, colour, shape, int(x), int(y))
    if min(thing.box) < 0 or max(thing.box) > SIDE:
        raise UserError(f"'{text}' does not fit in a scene of {SIDE} by {SIDE} pixels: move its centre")
    return thing


@cache
def _background(size: int) -> Image.Image:
    shade = Image.linear_gradient("L").resize((size, size))
    above, below = (Image.new("RGB", (size, size), colour) for colour in BACKGROUND)
    return Image.composite(below, above, shade)


def _star() -> list[tuple[float, float]]:
    points = [(r * sin(i * pi / 5), -r * cos(i * pi / 5)) for i, r in enumerate([1, 0.46] * 5)]
    wide, low = max(x for x, _ in points), max(y for _, y in points)
    # it fills its box, and no rounding error goes beyond
    return [(round(x / wide, 9), round(2 * (y + 1) / (low + 1) - 1, 9)) for x, y in points]


CORNERS = {"square": [(-1, -1), (1, -1), (1, 1), (-1, 1)], "triangle": [(0, -1), (1, 1), (-1, 1)], "star": _star()}
