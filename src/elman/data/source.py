"""Sources: batches that can be requested in any order, so that a run can resume at any of them."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Any]  # tensors, batch first, and integers that stay on the host


class Source(ABC):
    """Batches of one split of a data set. `str` gives its sizes in a few words.

    - key: 32 hexadecimal digits that name the content of the data set
    - workers: how many processes are worth having to make batches; 0 where that takes next to no time
    """

    key: str = ""
    workers: int = 0

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch."""

    @abstractmethod
    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of an epoch. No state is carried into index 0."""

    def shard(self, rank: int, world: int) -> "Source":
        """The part of every batch that process `rank` of `world` computes; as long as the whole, its batches perhaps
        empty."""
        raise NotImplementedError(f"{type(self).__name__} cannot be divided among processes")


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device."""
    return {name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()}  # fmt: skip
