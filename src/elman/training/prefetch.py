"""Batches prepared in other processes, so that training need not wait for images to be decoded."""

import os
import signal
import warnings
from collections.abc import Iterator
from threading import Timer
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from elman.data.source import Batch, Source
from elman.errors import UserError

QUEUED = 4  # batches that each process prepares ahead
GRACE = 5.0  # seconds for the training process to save before its workers end
ENDLESS = 2**62  # batches


class Prefetch(Source):
    """A source whose batches come from `workers` processes, in the order of training. It ends them as a context
    manager."""

    def __init__(self, source: Source, workers: int):
        self.source, self.workers = source, workers
        self._next, self._batches = (-1, -1), iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # by reference count; the garbage collector would close their queues first, and they would end seconds later
        self._batches = iter(())

    def __len__(self) -> int:
        return len(self.source)

    def __str__(self) -> str:
        return str(self.source)

    def batch(self, epoch: int, index: int) -> Batch:
        """See `Source`. The batches after it are prepared meanwhile."""
        if (epoch, index) != self._next:
            self._batches = self._from(epoch, index)
        try:
            made = next(self._batches)
        except RuntimeError as error:  # raised by torch where a worker has died
            line = str(error).splitlines()[0]
            raise UserError(f"a process that prepared batches has ended ({line}), perhaps for lack of memory: what was "
                            "saved is kept; resume it with `workers` 0") from None  # fmt: skip
        if isinstance(made, UserError):
            raise made
        self._next = (epoch, index + 1) if index + 1 < len(self.source) else (epoch + 1, 0)
        return made

    def _from(self, epoch: int, index: int) -> Iterator[Any]:
        order = _Order(len(self.source), epoch, index)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores, as given
            return iter(DataLoader(
                _Batches(self.source), batch_size=None, sampler=order, num_workers=self.workers, prefetch_factor=QUEUED,
                worker_init_fn=_handle_signals,
                generator=torch.Generator(),  # its own: random numbers of training are the same without workers
            ))  # fmt: skip


class _Order(Sampler):
    """Epoch and index of every batch, from a first one, without end."""

    def __init__(self, batches: int, epoch: int, index: int):
        self.batches, self.first = batches, epoch * batches + index

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for number in range(self.first, ENDLESS):
            yield divmod(number, self.batches)


class _Batches(Dataset):
    def __init__(self, source: Source):
        self.source = source

    def __getitem__(self, position: tuple[int, int]) -> Batch | UserError:
        try:
            return self.source.batch(*position)
        except UserError as error:  # returned: torch would wrap it in a traceback
            return error


def _handle_signals(worker: int) -> None:
    """Signals may reach all processes of a group; the training process handles them, and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: Any) -> None:
    """Leaves the training process time to save, which it could not do without its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end = Timer(GRACE, os._exit, (1,))
    end.daemon = True
    end.start()
