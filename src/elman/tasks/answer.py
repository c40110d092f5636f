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
class Answer:
    """What a model predicts for one row.

    - row: the index of the row among the inputs
    - values: by name, as JSON can hold them; the first is the answer itself
    - attention: what the model attended to on the way, where it has attention
    """

    row: int
    values: Mapping[str, Any]
    attention: Attention | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def first(self) -> Any:
        """The answer itself."""
        return next(iter(self.values.values()))
