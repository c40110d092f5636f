"""Images over time as one file."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

COLORS = 128  # of the palette that all frames share, so that nothing flickers
LAST = 4  # times as long as the others, before it starts again


def gif(frames: Sequence[np.ndarray], seconds: float) -> bytes:
    """Frames (H, W, 3) uint8 as a GIF that repeats; `seconds` that each is shown."""
    palette = Image.fromarray(np.concatenate(frames)).quantize(COLORS)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    milliseconds = [round(1000 * seconds)] * (len(images) - 1) + [round(1000 * seconds * LAST)]
    out = io.BytesIO()
    images[0].save(out, "gif", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=False)
    return out.getvalue()
