"""Text painted by a value per character: blue is low, red is high. As an image; its colours are those of a page too."""

import functools
import io
import re
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from elman.printable import printable

LOW, HIGH, HEAT = (50, 110, 230), (226, 60, 50), (240, 140, 20)
STRONGEST = 0.8  # of a colour over the background
COLUMNS = 96  # of an image
PALE = 0.5  # a unit whose values differ by less to either side does not reach the strongest colour


def scaled(values: np.ndarray, gate: bool = False) -> np.ndarray:
    """Values as -1 to 1. A gate's 0 becomes -1. Of other units the range without outliers is scaled to -1 to 1; a
    unit that hardly changes stays near 0."""
    values = np.asarray(values, np.float32)
    if gate or not values.size:
        return 2 * values - 1
    low, high = np.quantile(values, (0.02, 0.98))
    return np.clip((values - (low + high) / 2) / max((high - low) / 2, PALE), -1, 1)


def png(rows: Sequence[tuple[str, str, np.ndarray]], heat: bool = False) -> bytes:
    """Painted texts below each other, (title, text, values) each, as a PNG."""
    size, lines = 26, list[tuple[str, np.ndarray | None]]()
    for heading, text, values in rows:
        lines += [("", None)] * bool(lines) + [(line, None) for line in textwrap.wrap(heading, COLUMNS)]
        lines += _wrapped(text, values)
    font = _font("".join(text for _, text, _ in rows), size)
    width, height = font.getlength("x"), int(size * 1.35)
    image = Image.new("RGB", (int(width * (COLUMNS + 2)), height * (len(lines) + 1)), "white")
    draw = ImageDraw.Draw(image)
    for number, (line, values) in enumerate(lines):
        top, left = height // 2 + number * height, width
        for position, char in enumerate(line):
            across = width * (2 if unicodedata.east_asian_width(char) in "WF" else 1)
            if values is not None:
                draw.rectangle((left, top, left + across, top + height), fill=_mixed(float(values[position]), heat))
            draw.text((left, top + 2), char, font=font, fill="#333333" if values is None else "black")
            left += across
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


def _mixed(value: float, heat: bool) -> tuple[int, int, int]:
    """The colour of a value on white."""
    colour, strength = HEAT if heat else HIGH if value > 0 else LOW, min(1.0, abs(value)) * STRONGEST
    return tuple(round(255 - (255 - part) * strength) for part in colour)  # type: ignore[return-value]


def _wrapped(text: str, values: np.ndarray) -> list[tuple[str, np.ndarray | None]]:
    """Lines of at most COLUMNS cells; a newline is the last character of its line, drawn as a blank."""
    lines: list[tuple[str, np.ndarray | None]] = []
    begin, cells = 0, 0
    for position, char in enumerate(text):
        cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if char == "\n" or cells >= COLUMNS - 1 or position == len(text) - 1:
            line = re.sub(r"[\n\t]", " ", printable(text[begin : position + 1]))
            lines.append((line, values[begin : position + 1]))
            begin, cells = position + 1, 0
    return lines


def log_uncovered(text: str, log: Callable[[str], None]) -> None:
    """Logs the characters of a text that no font on this machine has, if any."""
    if boxes := uncovered(text):
        few = "".join(boxes[:5]) + (" ..." if len(boxes) > 5 else "")
        log(f"no font on this machine has {few}: PNG files have boxes instead, the page does not")


def uncovered(text: str) -> list[str]:
    """The characters of a text for which this machine has no font: an image has boxes instead."""
    return sorted(_foreign(text) - _covered(font_file(text)))


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(text)), size)


def font_file(text: str, first: str = "DejaVuSansMono") -> Path:
    """The font of this machine with the most characters of the text; among equal ones the first, then a monospaced
    one."""
    bundled, foreign = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{first}.ttf", _foreign(text)
    if foreign <= _covered(bundled):
        return bundled
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith("Last Resort")]
    fonts.sort(key=lambda font: not any(word in font.name.lower() for word in ("mono", "coding")))
    paths = dict.fromkeys([bundled, *(Path(font.fname) for font in fonts)])
    return max(paths, key=lambda path: len(foreign & _covered(path)))


def _foreign(text: str) -> set[str]:
    return {char for char in text if ord(char) > 0x7F and char.isprintable()}


@functools.cache
def _covered(path: Path) -> frozenset[str]:
    """The characters of a font."""
    return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
