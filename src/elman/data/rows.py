"""Examples of different lengths as batches of like length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from elman.data.pixels import Pixels
from elman.data.scanlines import Scanlines
from elman.data.source import Source
from elman.data.table import Table

POOL = 50  # batches among which rows are sorted by length: little padding, and yet another order every epoch
GOLDEN = (5**0.5 - 1) / 2


class FieldMaker(Protocol):
    """A field that makes what a batch holds of it."""

    @property
    def workers(self) -> int:
        """Processes that are worth having to make it: 0 where that takes next to no time."""
        ...

    def select(self, chosen: np.ndarray) -> "FieldMaker":
        """The field of some rows."""
        ...

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """What a batch of these rows holds, under the field's name or names that begin with it."""
        ...


Field = FieldMaker | np.ndarray  # or one number a row


@dataclass(frozen=True)
class Ragged:
    """A field whose values (T,) or (T, F) have each their own length; in a batch the rest is `pad`."""

    values: Sequence[np.ndarray]
    pad: int = 0

    @property
    def workers(self) -> int:
        """See `FieldMaker`."""
        return 0

    def select(self, chosen: np.ndarray) -> "Ragged":
        """Those of some rows."""
        return replace(self, values=[self.values[number] for number in chosen])

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """NAME (B, T, ...), padded, and NAME_lengths (B,)."""
        values, lengths = padded([self.values[number] for number in chosen], self.pad)
        return {name: values, f"{name}_lengths": lengths}


class Rows(Source):
    """The rows of a table as batches: a `Source`.

    Each epoch takes every row once, in an order of its own that depends on nothing but seed and epoch; rows of like
    length stand together, and any few batches in a row hold short and long ones in their share. `table` is what the
    rows were before they were numbers.
    """

    def __init__(self, table: Table, fields: Mapping[str, Field], rows: int, by: str | None, seed: int = 0):
        """by: the field whose lengths are compared; where they are equal, those of the others are. If it has pictures,
        all rows of one stand together instead, so that it need be seen only once. Without that field: neither."""
        self.table, self.fields, self.rows, self.by, self.seed = table, fields, rows, by, seed
        first = fields.get(by or "")
        self.pictures = first.numbers if isinstance(first, Pixels) else None
        ragged = {name: field for name, field in fields.items() if isinstance(field, Ragged)}
        # the one to sort by is last
        order = sorted(ragged, key=lambda name: name == by) if isinstance(first, Ragged) else []
        self.sizes = [np.array([len(value) for value in ragged[name].values]) for name in order]
        self._order: tuple[int, list[np.ndarray]] = (-1, [])

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.table) // self.rows)

    def __str__(self) -> str:
        return f"{len(self.table):,} rows, {len(self):,} batches of {min(self.rows, len(self.table))} an epoch"

    def batch(self, epoch: int, index: int) -> dict[str, Tensor]:
        """Batch `index` of an epoch. A ragged field gives its values (B, T, ...), padded, and NAME_lengths (B,); `row`
        (B,) says which rows of the table they are."""
        if self._order[0] != epoch:
            self._order = epoch, self._ordered(epoch)
        return self.take(self._order[1][index])

    def values(self, name: str) -> Sequence[np.ndarray]:
        """The values of a field whose rows are sequences."""
        field = self.fields[name]
        assert isinstance(field, Ragged | Scanlines)
        return field.values

    @property
    def workers(self) -> int:
        """See `Source`."""
        return max((0 if isinstance(field, np.ndarray) else field.workers for field in self.fields.values()), default=0)

    def select(self, chosen: np.ndarray) -> "Rows":
        """Some of the rows."""
        fields = {name: field[chosen] if isinstance(field, np.ndarray) else field.select(chosen)
                  for name, field in self.fields.items()}  # fmt: skip
        return Rows(self.table.take(chosen.tolist()), fields, self.rows, self.by)

    def take(self, chosen: np.ndarray) -> dict[str, Tensor]:
        """These rows as a batch."""
        batch = {"row": torch.from_numpy(chosen)}
        for name, field in self.fields.items():
            batch |= (
                {name: torch.from_numpy(field[chosen])} if isinstance(field, np.ndarray) else field.take(name, chosen)
            )
        return batch

    def _ordered(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.table))
        if self.pictures is not None:
            order = order[np.argsort(random.permutation(self.pictures.max() + 1)[self.pictures[order]], kind="stable")]
        if self.sizes:
            pools = np.split(order, range(POOL * self.rows, len(order), POOL * self.rows))
            order = np.concatenate([pool[np.lexsort([sizes[pool] for sizes in self.sizes])] for pool in pools])
        batches = np.split(order, range(self.rows, len(order), self.rows))
        # multiples of the golden ratio lie evenly in [0, 1), however many are taken
        return [batches[number] for number in np.argsort((np.arange(len(batches)) * GOLDEN + random.random()) % 1)]


def padded(values: Sequence[np.ndarray], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Arrays (T, ...) of different lengths as one (B, T, ...), at least one step long, and their lengths (B,)."""
    lengths = np.array([len(value) for value in values])
    first = values[0]
    out = np.full((len(values), max(1, int(lengths.max())), *first.shape[1:]), pad, first.dtype)
    for row, value in enumerate(values):
        out[row, : len(value)] = value
    return torch.from_numpy(out), torch.from_numpy(lengths)
