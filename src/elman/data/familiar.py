"""Whether a picture is like those that a model was trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from elman.data.image import LazyImage

LOOKED = 800  # pictures from which it is learnt what is usual
LEAST = 50  # from fewer nothing is learnt
SIDE, CELLS = 64, 4  # a picture is looked at so many pixels wide, and in so many parts across and down
BEYOND = 1.3  # times as far as the farthest of the pictures that were kept aside
FAINT = 0.02  # a difference of colour that nobody sees
SLIGHT = 0.05  # what is the same in all pictures may still differ by so much
SHRUNK = 0.1  # of the covariance that is as if nothing went with anything else


class Familiar:
    """The Gaussian of what pictures look like from afar: the colours of their parts, and how rough these are. A picture
    is far when its Mahalanobis distance is larger than those of pictures kept aside (as Lee et al. 2018 do with what a
    network finds)."""

    def __init__(self, mean: ArrayLike, factor: ArrayLike, limit: float):
        """factor: what turns a difference from the mean into numbers of variance 1. limit: the distance that is far."""
        self.mean, self.factor, self.limit = np.array(mean), np.array(factor), limit

    @classmethod
    def learn(cls, pictures: Sequence[LazyImage]) -> "Familiar | None":
        """From a sample of some pictures, the first of each name; None where they are too few."""
        distinct = list({picture.name: picture for picture in pictures}.values())
        if len(distinct) < LEAST:
            return None
        chosen = np.random.default_rng(0).permutation(len(distinct))[:LOOKED]
        looks = np.stack([look(distinct[number].image()) for number in chosen])
        fitted, aside = looks[: len(looks) // 2], looks[len(looks) // 2 :]
        mean, covariance = fitted.mean(0), np.cov(fitted.T)
        spread = np.diag(covariance) + SLIGHT**2
        covariance = (1 - SHRUNK) * covariance + SHRUNK * np.diag(spread)
        values, vectors = np.linalg.eigh(covariance)
        made = cls(mean, vectors / np.sqrt(np.maximum(values, SHRUNK * spread.min())), 0.0)
        made.limit = BEYOND * max(map(made.distance, aside))
        return made

    def config(self) -> dict[str, Any]:
        """As JSON: the arguments of the constructor."""
        short = [[float(f"{value:.5g}") for value in row] for row in self.factor]
        return {"mean": [float(f"{value:.5g}") for value in self.mean], "factor": short, "limit": float(self.limit)}

    def distance(self, looks: np.ndarray) -> float:
        """Of what `look` gives: 1 is usual, as the root of the mean square."""
        return float(np.sqrt(np.mean(((looks - self.mean) @ self.factor) ** 2)))

    def far(self, picture: Image.Image) -> bool:
        """Whether a picture is unlike all of those."""
        return self.distance(look(picture)) > self.limit


def look(picture: Image.Image) -> np.ndarray:
    """A picture in few numbers: of each part the mean of red, green and blue, from 0 to 1; how much they vary; and how
    much they differ from pixel to pixel, both from -1 (not at all) to 0."""
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), float) / 255
    parts = small.reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS, 3).swapaxes(1, 2)
    varied = parts.std((2, 3)).mean(-1)
    grain = np.median(np.abs(np.diff(parts, axis=3)), (2, 3, 4))
    return np.concatenate((parts.mean((2, 3)).ravel(), np.log10(np.stack((varied, grain)).ravel() + FAINT) / 3))
