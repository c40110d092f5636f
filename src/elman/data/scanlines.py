"""Images as sequences of lines: a field of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.pixels import Pixels


class Scanlines(Pixels):
    """A field of images; in a batch NAME (B, S, 3 S), their lines from the top, each with its red, then its green, then
    its blue values, from -1 to 1; and NAME_lengths (B,)."""

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        found = super().take(name, chosen)
        lines = found[name][found[f"{name}_of"]].transpose(1, 2).flatten(2)
        return {name: lines / 127.5 - 1, f"{name}_lengths": torch.full((len(chosen),), self.image_size)}

    @property
    def values(self) -> Sequence[np.ndarray]:
        """The lines (S, 3 S) of single rows, each computed when it is accessed."""
        return _Values(self)


class _Values(Sequence):
    def __init__(self, field: Scanlines):
        self.field = field

    def __len__(self) -> int:
        return len(self.field.indices)

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.field.take("lines", np.array([row]))["lines"][0].numpy()
