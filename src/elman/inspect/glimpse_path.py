"""The path of glimpses over an image: what each patch covers, and in which order."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from elman.inspect.blocks import FrameStrip
from elman.tasks.answer import Glimpses

SIDE = 224  # pixels of a frame, at least
DARK, DIM = 0.3, 0.7  # of the light is left outside of all patches, and in all but the narrowest
FRAME, TRACK = (255, 60, 40), (255, 190, 40)


def path_strip(name: str, title: str, glimpses: Glimpses, caption: str = "") -> FrameStrip:
    """The image with its whole path, then each glimpse, above it the prediction after it."""
    frames = list(path_frames(glimpses))
    texts = ["", *(f"{number}: {label}" for number, label in enumerate(glimpses.labels, 1))]
    return FrameStrip(name, title, list(zip(texts, frames, strict=True)), caption)


def path_frames(glimpses: Glimpses) -> Iterator[Image.Image]:
    """The image with the whole path; then one for each glimpse, with the path so far."""
    image = glimpses.image if glimpses.image.ndim == 3 else np.repeat(glimpses.image[..., None], 3, 2)
    zoom = -(-SIDE // len(image))
    large = image.repeat(zoom, 0).repeat(zoom, 1)
    points = [tuple(each) for each in ((glimpses.location + 1) / 2 * len(large)).tolist()]
    whole = Image.fromarray(large)
    for centre, width in zip(points, glimpses.width[:, 0] * zoom, strict=True):
        _square(whole, centre, width, TRACK)
    yield _tracked(whole, points, zoom)
    for number, widths in enumerate(glimpses.width * zoom):
        yield _tracked(_covered(large, points[number], sorted(widths, reverse=True)), points[: number + 1], zoom)


def _covered(image: np.ndarray, centre: tuple[float, ...], widths: list[float]) -> Image.Image:
    """The image, dark outside of the patches, with a frame around each; the widest patch is first."""
    light = np.full(image.shape[:2], DARK)
    for width in widths:
        left, top, right, bottom = (max(round(edge), 0) for edge in _edges(centre, width))
        light[top:bottom, left:right] = 1.0 if width == widths[-1] else DIM
    made = Image.fromarray(np.rint(image * light[..., None]).astype(np.uint8))
    for width in widths:
        _square(made, centre, width, FRAME)
    return made


def _edges(centre: tuple[float, ...], width: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a square."""
    x, y = centre
    return x - width / 2, y - width / 2, x + width / 2, y + width / 2


def _square(image: Image.Image, centre: tuple[float, ...], width: float, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = _edges(centre, width)
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=colour, width=2)


def _tracked(image: Image.Image, points: list[tuple[float, ...]], zoom: int) -> Image.Image:
    """The image with lines from each point to the next, and a dot at each; the last is the largest."""
    draw = ImageDraw.Draw(image)
    if len(points) > 1:
        draw.line([value for point in points for value in point], fill=TRACK, width=2)
    for number, (x, y) in enumerate(points, 1):
        radius = 5 if number == len(points) else 3
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=TRACK, outline=(0, 0, 0))
    return image
