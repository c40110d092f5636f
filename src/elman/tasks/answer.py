"""What a model predicts for one row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.data.image import LazyImage


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention weights of one row, as they were when its answer was computed.

    - weights: (T, L), each row sums to 1
    - queries: T texts: what was generated, or read, at each step
    - keys: L texts, or the image whose L positions form a square grid, row by row from the top left; None where they
      are the steps of the row itself
    - hard: whether a single position was used at each step, that of the largest weight
    """

    weights: np.ndarray
    queries: tuple[str, ...]
    keys: tuple[str, ...] | LazyImage | None
    hard: bool = False


@dataclass(frozen=True, eq=False)
class Glimpses:
    """What a model attended to that reads an image in glimpses, as it was when its answer was computed.

    - image: (S, S) or (S, S, 3) uint8, as the network took it
    - location: (T, 2), the centre of each glimpse, x first, (-1, -1) at the top left corner of the image
    - width: (T, K), pixels per side of the patches of each glimpse
    - labels: T texts: the prediction after each glimpse
    - of: the image as it was given
    """

    image: np.ndarray
    location: np.ndarray
    width: np.ndarray
    labels: tuple[str, ...]
    of: LazyImage | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model predicts for one row.

    - row: the index of the row among the inputs
    - values: by name, as JSON can hold them; the first is the answer itself
    - attention: what the model attended to on the way, where it has attention weights
    - glimpses: the same, where it reads an image in glimpses
    """

    row: int
    values: Mapping[str, Any]
    attention: Attention | None = None
    glimpses: Glimpses | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def first(self) -> Any:
        """The answer itself."""
        return next(iter(self.values.values()))
