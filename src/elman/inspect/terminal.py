"""Reports as lines of a terminal."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich.text import Text

from elman.inspect.blocks import PaintedText
from elman.inspect.painting import HIGH, LOW, STRONGEST
from elman.inspect.panel import Panel
from elman.printable import printable


def lines(panels: Iterable[Panel]) -> Iterable[Text]:
    """A line for each panel: its title and its summary."""
    for panel in panels:
        yield Text(printable(f"{panel.title}: {panel.summary}"))


def painted(panel: Panel, most: int) -> str:
    """The painted texts of a panel, at most so many characters of each."""
    texts = [block for block in panel.blocks if isinstance(block, PaintedText)]
    return "\n".join(paint(block.text[:most], block.values[:most]) for block in texts)


def paint(text: str, values: Sequence[float] | np.ndarray) -> str:
    """A text in the terminal's 24-bit colours: white on a dark background of the value's colour."""
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
