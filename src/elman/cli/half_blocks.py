"""An image in a terminal, as half blocks: two pixels in each character."""

from collections.abc import Iterator

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

UPPER_HALF = "▀"


def half_blocks(pixels: np.ndarray, columns: int, lines: int) -> Iterator[Text]:
    """The lines of an image (H, W) or (H, W, 3) uint8, shrunk where it is larger than so many characters."""
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((columns, 2 * lines), Image.Resampling.BOX)
    found = np.asarray(image)
    if len(found) % 2:
        found = np.concatenate((found, found[-1:]))
    for upper, lower in zip(found[::2], found[1::2], strict=True):
        line = Text(no_wrap=True, end="")
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            line.append(UPPER_HALF, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        yield line
