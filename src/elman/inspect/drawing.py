"""What a model attended to on the way to an answer, as image files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from elman.inspect.animation import gif
from elman.inspect.attention_strip import attention_strips, png, stem
from elman.inspect.blocks import FrameStrip
from elman.inspect.glimpse_path import path_strip
from elman.tasks.answer import Answer

SECONDS = 0.7  # that a glimpse is shown


@dataclass(frozen=True, eq=False)
class Drawing:
    """The drawing of an answer.

    - name: of its files
    - what: is drawn, in a word
    - title: above the image
    - files: the content of each file, by the end of its name
    """

    name: str
    what: str
    title: str
    files: Mapping[str, Callable[[], bytes]]


def drawings(answers: Sequence[Answer]) -> list[Drawing]:
    """The drawings of those answers that have one: the attention weights over an image; or the path of glimpses, once
    as an image and once in motion."""
    found = list[Drawing]()
    for answer in answers:
        if (glimpses := answer.glimpses) is not None:
            name = f"{stem(glimpses.of)}-glimpses" if glimpses.of is not None else "glimpses"
            block = path_strip(name, str(answer.first), glimpses, str(glimpses.of or ""))
            files = {".png": partial(png, block), ".gif": partial(_motion, block)}
            found.append(Drawing(name, "glimpses", block.title, files))
        for strip in attention_strips([answer]):
            found.append(Drawing(strip.name, "attention", strip.title, {".png": partial(png, strip)}))
    return found


def _motion(block: FrameStrip) -> bytes:
    """Each glimpse in turn, and at last the whole path."""
    frames = [np.asarray(frame) for _, frame in (*block.frames[1:], block.frames[0])]
    return gif(frames, SECONDS)
