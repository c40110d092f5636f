"""How much of the attention lies on what a word names.

Shapes: L places of a square grid, row by row from the top left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from elman.data.image import Box


@dataclass(frozen=True)
class Pointed:
    """A noun that was said: the share of the attention that lay on what it names, what evenly spread attention would
    give, and whether the middle of the place that was looked at most lies on it."""

    word: str
    share: float
    chance: float
    hit: bool


def covered(boxes: Iterable[Box], side: int) -> np.ndarray:
    """How much of each place (L,) of a grid so many places wide and high is covered by boxes."""
    total = np.zeros((side, side))
    for left, top, right, bottom in boxes:
        total += np.outer(_overlap(top, bottom, side), _overlap(left, right, side))
    return np.minimum(total, 1).ravel()


def pointed(weights: np.ndarray, pieces: Sequence[str], boxes: Iterable[tuple[int, Box]]) -> list[Pointed]:
    """From where was looked (T, L) before each of the tokens of a sentence was said; from these tokens as they stand in
    it, a blank before each word; and from the words of it, counted from 0, that name what lies in a box."""
    begins = [step for step, piece in enumerate(pieces) if piece[:1].isspace() and piece.strip()]
    side, named, found = isqrt(weights.shape[1]), dict[int, list[Box]](), list[Pointed]()
    if side * side != weights.shape[1]:
        return []
    for word, box in boxes:
        named.setdefault(begins[word], []).append(box)
    for step, things in named.items():
        cover, most = covered(things, side), int(weights[step].argmax())
        x, y = (most % side + 0.5) / side, (most // side + 0.5) / side
        hit = any(left <= x < right and top <= y < bottom for left, top, right, bottom in things)
        found.append(Pointed(pieces[step].strip(), float(weights[step] @ cover), float(cover.mean()), hit))
    return found


def figures(found: list[Pointed]) -> dict[str, float]:
    """attention, attention_chance and attention_hits: the means of share, chance and hit."""
    if not found:
        return {}
    return {
        "attention": float(np.mean([each.share for each in found])),
        "attention_chance": float(np.mean([each.chance for each in found])),
        "attention_hits": float(np.mean([each.hit for each in found])),
    }


def _overlap(low: float, high: float, side: int) -> np.ndarray:
    """The share of each of so many equal parts of 0 to 1 that lies between low and high."""
    edges = np.clip(np.linspace(0, 1, side + 1), low, high)
    return np.diff(edges) * side
