"""The pointing game: how much of the attention is on the object that a word mentions (Zhang et al. 2018).

Shapes: L positions of a square grid, row by row from the top left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from elman.data.image import Box


@dataclass(frozen=True)
class Pointing:
    """A noun of a caption: the share of its attention on the objects that it mentions, that of uniform attention
    (`uniform`), and whether the centre of the position with the largest weight is on them."""

    word: str
    share: float
    uniform: float
    hit: bool


def coverage(boxes: Iterable[Box], side: int) -> np.ndarray:
    """The fraction of each position (L,) of a grid with `side` rows and columns that is covered by boxes."""
    total = np.zeros((side, side))
    for left, top, right, bottom in boxes:
        total += np.outer(_overlap(top, bottom, side), _overlap(left, right, side))
    return np.minimum(total, 1).ravel()


def pointing(weights: np.ndarray, tokens: Sequence[str], boxes: Iterable[tuple[int, Box]]) -> list[Pointing]:
    """The pointing of each noun, empty for a grid that is not square.

    - weights: (T, L), the attention with which each token of a caption was generated
    - tokens: T texts, with a space before each word
    - boxes: the index of a word, from 0, and the box of an object that it mentions
    """
    starts = [step for step, token in enumerate(tokens) if token[:1].isspace() and token.strip()]
    side, mentioned, found = isqrt(weights.shape[1]), dict[int, list[Box]](), list[Pointing]()
    if side * side != weights.shape[1]:
        return []
    for word, box in boxes:
        mentioned.setdefault(starts[word], []).append(box)
    for step, objects in mentioned.items():
        cover, largest = coverage(objects, side), int(weights[step].argmax())
        x, y = (largest % side + 0.5) / side, (largest // side + 0.5) / side
        hit = any(left <= x < right and top <= y < bottom for left, top, right, bottom in objects)
        found.append(Pointing(tokens[step].strip(), float(weights[step] @ cover), float(cover.mean()), hit))
    return found


def pointing_metrics(found: list[Pointing]) -> dict[str, float]:
    """attention, attention_uniform and attention_hits: the means of share, uniform and hit."""
    if not found:
        return {}
    return {
        "attention": float(np.mean([each.share for each in found])),
        "attention_uniform": float(np.mean([each.uniform for each in found])),
        "attention_hits": float(np.mean([each.hit for each in found])),
    }


def _overlap(low: float, high: float, side: int) -> np.ndarray:
    """The fraction of each of `side` equal parts of 0 to 1 that is between low and high."""
    edges = np.clip(np.linspace(0, 1, side + 1), low, high)
    return np.diff(edges) * side
