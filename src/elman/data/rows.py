"""The rows of a table as batches, bucketed by length."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from elman.data.pixels import Pixels
from elman.data.scanlines import Scanlines
from elman.data.source import Batch, Source
from elman.data.table import Table

POOL = 50  # batches whose rows are sorted by length: little padding, and still a new order every epoch
GOLDEN = (5**0.5 - 1) / 2


class LazyField(Protocol):
    """A field whose values are computed for each batch."""

    @property
    def workers(self) -> int:
        """Processes that are worth having to compute it: 0 where that takes next to no time."""
        ...

    def select(self, chosen: np.ndarray) -> "LazyField":
        """The field of these rows."""
        ...

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """What a batch of these rows (B,) holds, under the field's name or names that start with it."""
        ...


Field = LazyField | np.ndarray  # or one number a row


@dataclass(frozen=True)
class Ragged:
    """A field whose values (T,) or (T, F) differ in length; in a batch they are padded with `pad`."""

    values: Sequence[np.ndarray]
    pad: int = 0

    @property
    def workers(self) -> int:
        """See `LazyField`."""
        return 0

    def select(self, chosen: np.ndarray) -> "Ragged":
        """The field of these rows."""
        return replace(self, values=[self.values[index] for index in chosen])

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """NAME (B, T, ...), padded, and NAME_lengths (B,)."""
        if not len(chosen):
            empty, lengths = padded([self.values[0][:0]], self.pad)
            return {name: empty[:0], f"{name}_lengths": lengths[:0]}
        values, lengths = padded([self.values[index] for index in chosen], self.pad)
        return {name: values, f"{name}_lengths": lengths}


class Rows(Source):
    """The rows of a table as batches. `table` has the rows before they were encoded.

    Each epoch has every row once, in an order that depends on seed and epoch alone. Rows of similar length share a
    batch, and any few consecutive batches have short and long rows in proportion.
    """

    def __init__(
        self,
        table: Table,
        fields: Mapping[str, Field],
        batch_size: int,
        bucket_by: str | None,
        seed: int = 0,
        key: str = "",
    ):
        """bucket_by: the field whose lengths are compared, then those of the others. If it has images, all rows of an
        image are consecutive instead, so that it is encoded once. Without that field: neither."""
        self.table, self.fields, self.batch_size, self.bucket_by = table, fields, batch_size, bucket_by
        self.seed, self.key = seed, key
        first = fields.get(bucket_by or "")
        self.images = first.indices if isinstance(first, Pixels) else None
        ragged = {name: field for name, field in fields.items() if isinstance(field, Ragged)}
        # the one to sort by is last
        order = sorted(ragged, key=lambda name: name == bucket_by) if isinstance(first, Ragged) else []
        self.lengths = [np.array([len(value) for value in ragged[name].values]) for name in order]
        lazy = (field for field in fields.values() if not isinstance(field, np.ndarray))
        self.workers = max((field.workers for field in lazy), default=0)
        self._order: tuple[int, list[np.ndarray]] = (-1, [])
        self._shard = (0, 1)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.table) // self.batch_size)

    def __str__(self) -> str:
        return f"{len(self.table):,} rows, {len(self):,} batches of {min(self.batch_size, len(self.table))} an epoch"

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of an epoch. A ragged field gives its values (B, T, ...), padded, and NAME_lengths (B,); `row`
        (B,) are the indices of the rows in the table."""
        if self._order[0] != epoch:
            self._order = epoch, self._ordered(epoch)
        chosen, (rank, world) = self._order[1][index], self._shard
        return self.take(chosen[rank * len(chosen) // world : (rank + 1) * len(chosen) // world])

    def shard(self, rank: int, world: int) -> "Rows":
        """See `Source`: some of the rows of each batch."""
        part = copy(self)
        part._shard = rank, world
        return part

    def has_steps(self, name: str) -> bool:
        """Whether the rows of a field are sequences, so that it has `values`."""
        return isinstance(self.fields[name], Ragged | Scanlines)

    def values(self, name: str) -> Sequence[np.ndarray]:
        """The values of a field whose rows are sequences."""
        field = self.fields[name]
        assert isinstance(field, Ragged | Scanlines)
        return field.values

    def select(self, chosen: np.ndarray) -> "Rows":
        """The source of these rows."""
        fields = {name: field[chosen] if isinstance(field, np.ndarray) else field.select(chosen)
                  for name, field in self.fields.items()}  # fmt: skip
        return Rows(self.table.take(chosen.tolist()), fields, self.batch_size, self.bucket_by)

    def replaced(self, name: str, field: Field) -> "Rows":
        """The source with another field of that name, its batches of the same rows."""
        other = copy(self)
        other.fields = {**self.fields, name: field}
        return other

    def take(self, chosen: np.ndarray) -> Batch:
        """These rows (B,) as a batch."""
        batch: Batch = {"row": torch.from_numpy(chosen)}
        for name, field in self.fields.items():
            batch |= (
                {name: torch.from_numpy(field[chosen])} if isinstance(field, np.ndarray) else field.take(name, chosen)
            )
        return batch

    def _ordered(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.table))
        if self.images is not None:
            order = order[np.argsort(random.permutation(self.images.max() + 1)[self.images[order]], kind="stable")]
        if self.lengths:
            pools = np.split(order, range(POOL * self.batch_size, len(order), POOL * self.batch_size))
            order = np.concatenate([pool[np.lexsort([lengths[pool] for lengths in self.lengths])] for pool in pools])
        batches = np.split(order, range(self.batch_size, len(order), self.batch_size))
        # multiples of the golden ratio are evenly distributed in [0, 1), however many there are
        return [batches[index] for index in np.argsort((np.arange(len(batches)) * GOLDEN + random.random()) % 1)]


def padded(values: Sequence[np.ndarray], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Arrays (T, ...) of different lengths as one (B, T, ...), at least one step long, and their lengths (B,)."""
    lengths = np.array([len(value) for value in values])
    first = values[0]
    out = np.full((len(values), max(1, int(lengths.max())), *first.shape[1:]), pad, first.dtype)
    for row, value in enumerate(values):
        out[row, : len(value)] = value
    return torch.from_numpy(out), torch.from_numpy(lengths)
