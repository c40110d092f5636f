"""Batches made in other processes, so that the network need not wait for images to be decoded."""

import os
import signal
import warnings
from collections.abc import Iterator
from threading import Timer
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from elman.data.source import Batch, Source
from elman.errors import UserError

QUEUED = 4  # batches that each process makes ahead
PATIENCE = 5.0  # seconds
PLENTY = 2**62  # batches: there is no end


class Prefetch(Source):
    """A source whose batches come from `workers` processes, in the order of training."""

    def __init__(self, source: Source, workers: int):
        self.source, self.workers = source, workers
        self._next, self._batches = (-1, -1), iter(())

    def __len__(self) -> int:
        return len(self.source)

    def __str__(self) -> str:
        return str(self.source)

    def batch(self, epoch: int, index: int) -> Batch:
        """See `Source`. Those after that are being made meanwhile."""
        if (epoch, index) != self._next:
            self._batches = self._from(epoch, index)
        try:
            made = next(self._batches)
        except RuntimeError as error:  # torch's word for a process that is gone
            line = str(error).splitlines()[0]
            raise UserError(f"a process that made batches has ended ({line}): was there memory left for it? "
                            "What was saved is kept; resume with `resume`, and `workers` 0") from None  # fmt: skip
        if isinstance(made, UserError):
            raise made
        self._next = (epoch, index + 1) if index + 1 < len(self.source) else (epoch + 1, 0)
        return made

    def _from(self, epoch: int, index: int) -> Iterator[Any]:
        order = _Order(len(self.source), epoch, index)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # more than cores: as requested
            return iter(DataLoader(
                _Made(self.source), batch_size=None, sampler=order, num_workers=self.workers, prefetch_factor=QUEUED,
                worker_init_fn=_own, generator=torch.Generator(),  # its own: the model's draws stay as they are without
            ))  # fmt: skip


class _Order(Sampler):
    """Epoch and index of every batch from one on, without end."""

    def __init__(self, batches: int, epoch: int, index: int):
        self.batches, self.first = batches, epoch * batches + index

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for number in range(self.first, PLENTY):
            yield divmod(number, self.batches)


class _Made(Dataset):
    def __init__(self, source: Source):
        self.source = source

    def __getitem__(self, position: Any) -> Batch | UserError:
        try:
            return self.source.batch(*position)
        except UserError as error:  # as it is: torch would wrap it in a traceback
            return error


def _own(worker: int) -> None:
    """Signals, which may come to all processes of a group, are for the one that trains, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _later)


def _later(number: int, frame: Any) -> None:
    """Leaves the one that trains some time to save: it would not go on without this one."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end = Timer(PATIENCE, os._exit, (1,))
    end.daemon = True
    end.start()
