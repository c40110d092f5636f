"""Text painted by a number a character: in a page, in the terminal, as a picture. Blue is low, red is high."""

import base64
import functools
import io
import json
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from elman.inspect.panel import escape
from elman.printable import printable

LOW, HIGH, HEAT = (50, 110, 230), (226, 60, 50), (240, 140, 20)
STRONGEST = 0.8  # of a colour over the background
COLUMNS = 96  # of a picture
PALE = 0.5  # a unit that moves by less to either side does not reach the strongest colour


def scaled(values: np.ndarray, gate: bool = False) -> np.ndarray:
    """Values as -1 to 1. A gate's 0 is blue and its 1 red; of others the low end of what they reach is blue and the
    high end red, without outliers, and a unit that hardly moves is pale."""
    values = np.asarray(values, np.float32)
    if gate or not values.size:
        return 2 * values - 1
    low, high = np.quantile(values, (0.02, 0.98))
    return np.clip((values - (low + high) / 2) / max((high - low) / 2, PALE), -1, 1)


def page(text: str, values: np.ndarray, notes: Sequence[str] = (), heat: bool = False) -> str:
    """An element whose script paints each character by its value (T,) in -1 to 1, and shows on hover the value, or its
    note. With `heat` 0 to 1 goes from nothing to orange."""
    numbers = base64.b64encode(np.round(np.asarray(values) * 100).astype(np.int8).tobytes()).decode()
    listed = json.dumps(list(notes), ensure_ascii=False).replace("&", "&amp;").replace("'", "&#39;")
    told = f" data-notes='{listed}'" if notes else ""
    # a character of the script is one of Unicode's, not half of a pair; a tab or a newline stays one
    return (f'<pre class="paint{" heat" if heat else ""}" data-values="{numbers}"{told}>\n'
            f"{escape(text)}</pre>")  # fmt: skip


def terminal(text: str, values: Iterable[float]) -> str:
    """With the terminal's 24-bit colours, white on a dark background of the value's colour."""
    pieces, before = [], ""
    for char, value in zip(printable(text), values, strict=True):
        red, green, blue = (round(part * abs(value) * STRONGEST) for part in (HIGH if value > 0 else LOW))
        colour = f"\x1b[97;48;2;{red};{green};{blue}m"
        if char == "\n":  # a background would run to the end of the line
            pieces.append("\x1b[0m\n")
            before = ""
            continue
        pieces.append((colour if colour != before else "") + char)
        before = colour
    return "".join(pieces) + "\x1b[0m"


def picture(rows: Sequence[tuple[str, str, np.ndarray]], heat: bool = False) -> bytes:
    """Painted texts under each other, (heading, text, values) each, as a PNG."""
    size, lines = 26, list[tuple[str, np.ndarray | None]]()
    for heading, text, values in rows:
        lines += [("", None)] * bool(lines) + [(line, None) for line in textwrap.wrap(heading, COLUMNS)]
        lines += _wrapped(text, values)
    font = _font("".join(text for _, text, _ in rows), size)
    wide, high = font.getlength("x"), int(size * 1.35)
    image = Image.new("RGB", (int(wide * (COLUMNS + 2)), high * (len(lines) + 1)), "white")
    draw = ImageDraw.Draw(image)
    for number, (line, values) in enumerate(lines):
        top, left = high // 2 + number * high, wide
        for place, char in enumerate(line):
            across = wide * (2 if unicodedata.east_asian_width(char) in "WF" else 1)
            if values is not None:
                draw.rectangle((left, top, left + across, top + high), fill=_mixed(float(values[place]), heat))
            draw.text((left, top + 2), char, font=font, fill="#333333" if values is None else "black")
            left += across
    out = io.BytesIO()
    image.save(out, "png", optimize=True)
    return out.getvalue()


def _mixed(value: float, heat: bool) -> tuple[int, int, int]:
    """The colour of a value on white."""
    colour, strength = HEAT if heat else HIGH if value > 0 else LOW, min(1.0, abs(value)) * STRONGEST
    return tuple(round(255 - (255 - part) * strength) for part in colour)  # type: ignore[return-value]


def _wrapped(text: str, values: np.ndarray) -> list[tuple[str, np.ndarray | None]]:
    """Lines of at most COLUMNS cells; a newline is its line's last character, and shown as a blank."""
    lines: list[tuple[str, np.ndarray | None]] = []
    begin, cells = 0, 0
    for place, char in enumerate(text):
        cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if char == "\n" or cells >= COLUMNS - 1 or place == len(text) - 1:
            line = re.sub(r"[\n\t]", " ", printable(text[begin : place + 1]))
            lines.append((line, values[begin : place + 1]))
            begin, cells = place + 1, 0
    return lines


def log_uncovered(text: str, log: Callable[[str], None]) -> None:
    """Tells which characters of a text no font on this machine has, if any."""
    if boxes := uncovered(text):
        few = "".join(boxes[:5]) + (" ..." if len(boxes) > 5 else "")
        log(f"no font on this machine has {few}: boxes stand for them in the PNG files, not in the page")


def uncovered(text: str) -> list[str]:
    """The characters of a text for which this machine has no font: a picture shows boxes in their place."""
    return sorted(_foreign(text) - _covered(font_file(text)))


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(text)), size)


def font_file(text: str, first: str = "DejaVuSansMono") -> Path:
    """A font with as many of the text's characters as any on this machine: the first, or a monospaced one, if that can
    be."""
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
