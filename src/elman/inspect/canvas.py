"""Canvases over time, enlarged, with the window in which each step has painted."""

import numpy as np
from PIL import Image, ImageDraw

from elman.tasks.capabilities import SIDE, Images, Painting

SMALLEST, LARGEST = 1, 8  # factors by which images are enlarged
COLOR = (230, 60, 40)  # of a window


def enlarged(images: np.ndarray, factor: int) -> np.ndarray:
    """Images (N, H, W) or (N, H, W, 3) as (N, factor H, factor W, 3)."""
    colored = images if images.ndim == 4 else np.repeat(images[..., None], 3, -1)
    return colored.repeat(factor, 1).repeat(factor, 2)


def marked(images: np.ndarray, boxes: np.ndarray | None, factor: int, color: tuple[int, ...] = COLOR) -> np.ndarray:
    """Enlarged images, each with its box of (N, 4): left, top, right, bottom in pixels; a box outside is not drawn."""
    found = enlarged(images, factor)
    for index, box in enumerate(() if boxes is None else boxes):
        image = Image.fromarray(found[index])
        left, top, right, bottom = (np.clip(box, -2, 2 + max(images.shape[1:3])) * factor).round().tolist()
        ImageDraw.Draw(image).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color)
        found[index] = np.asarray(image)
    return found


def factor_of(count: int, size: int) -> int:
    """The factor by which so many images of a size are enlarged on one sheet."""
    return min(LARGEST, max(SMALLEST, round(SIDE / (size * count**0.5))))


def frames(painting: Painting) -> list[np.ndarray]:
    """A sheet (H, W, 3) of all images after each step, their windows marked, and a last one without windows."""
    factor = factor_of(*painting.canvases.shape[1:3])
    windows = painting.windows
    sheets = [Images(marked(canvases, None if windows is None else windows[step], factor)).sheet()
              for step, canvases in enumerate(painting.canvases)]  # fmt: skip
    return sheets if windows is None else [*sheets, Images(enlarged(painting.canvases[-1], factor)).sheet()]
