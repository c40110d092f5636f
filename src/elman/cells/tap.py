"""Recording and intervening on the values inside a step, by name: `record()` keeps them, `hold()` fixes single units.

A step names a value with `tap("i", value)`. Most need not: every value that an equation gives a name is recorded under
that name (see `elman.cells.trace`). `Recurrent` puts the layer in front, which makes an address: `1.c` is the cell
state of the first layer, `2.backward.h` the hidden state of the backward direction of the second.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from elman.errors import UserError, unknown


class Observer:
    """Receives the named values of one step, and replaces the held units before anything is computed from them."""

    def __init__(self, holds: Mapping[str, Mapping[int, float]]):
        self.holds = holds
        self.values: dict[str, Tensor] = {}

    def __call__(self, name: str, value: Tensor) -> Tensor:
        for unit, number in self.holds.get(name, {}).items():
            # not in place: the value that is replaced may be needed by autograd
            value = value.index_fill(-1, torch.tensor([unit], device=value.device), number)
        self.values[name] = value
        return value


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_record: ContextVar["Record | None"] = ContextVar("record", default=None)
_holds: ContextVar[Mapping[str, float] | None] = ContextVar("holds", default=None)


def tap(name: str, value):
    """Names a value inside `step`; returns it, with its held units replaced. Nearly free unless values are
    recorded or held."""
    observer = _observer.get()
    return value if observer is None else observer(name, value)


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Within it, `tap` passes its values to this observer."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


class Record:
    """Recorded values by address: `record["1.c"]` is a tensor (B, T, H) over all steps since the recording began."""

    def __init__(self):
        self._pieces: dict[str, list[Tensor]] = {}

    def add(self, address: str, values: Tensor) -> None:
        """Appends the values (B, T, H) of an address."""
        self._pieces.setdefault(address, []).append(values)

    def __getitem__(self, address: str) -> Tensor:
        if address not in self._pieces:
            raise unknown("recorded value", address, self._pieces)
        return torch.cat(self._pieces[address], 1)

    def take(self, address: str) -> Tensor | None:
        """The values recorded at an address since the last call, None if there are none; everything recorded so far is
        dropped."""
        new = self[address] if address in self._pieces else None
        self._pieces.clear()
        return new

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


_open: bool = False  # whether any thread records or holds: a plain variable, which torch.compile can guard
_count = 0


@contextmanager
def _opened(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    global _open, _count
    token = variable.set(value)
    _count += 1
    _open = True
    try:
        yield
    finally:
        variable.reset(token)
        _count -= 1
        _open = _count > 0


def observed_anywhere() -> bool:
    """Whether any thread records or holds values."""
    return _open


@contextmanager
def record() -> Iterator[Record]:
    """`with record() as values:` keeps every named value of every layer that runs inside; then `values["1.c"]` is
    (B, T, H). The values stay part of the autograd graph: wrap in `torch.no_grad()` where no gradient is needed."""
    kept = Record()
    with _opened(_record, kept):
        yield kept


@contextmanager
def hold(units: Mapping[str, float]) -> Iterator[None]:
    """`with hold({"1.c.137": 1.0}):` fixes unit 137 of the cell state of layer 1. Whatever the step computes from
    this value, in the same step too, is computed from the held one."""
    for address in units:
        if not (unit := address.rpartition(".")[2]).isdecimal() or not unit.isascii() or address.count(".") < 2:
            raise UserError(f"'{address}' names no unit: write layer, value and unit, as in 1.c.137")
    with _opened(_holds, dict(units)):
        yield


def recording() -> Record | None:
    """The active record, if any."""
    return _record.get()


def keep(address: str, values: Tensor) -> None:
    """Adds values (B, ...) that are not those of a cell, such as attention weights, to the active record, if any."""
    kept = recording()
    if kept is not None:
        kept.add(address, values)


def holding() -> Mapping[str, float]:
    """The units that are held, `{"1.c.137": 1.0}`."""
    return _holds.get() or {}


def observed() -> bool:
    """Whether values are recorded or held: a backend that cannot show its values refuses then."""
    return _record.get() is not None or bool(_holds.get())
