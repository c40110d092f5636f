"""Seeing and changing the values inside a step, by name: `record()` keeps them, `hold()` fixes single units.

A step says a value with `tap("i", value)`. Most need not: every value that an equation gives a name is said under that
name (see `elman.cells.trace`). `Recurrent` puts the layer in front: `1.c` is the cell state of the first layer,
`2.backward.h` the hidden state of the backward direction of the second.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from elman.errors import UserError, unknown


class Listener:
    """Hears the named values of one step, and puts the held units in their place before anything reads them."""

    def __init__(self, holds: Mapping[str, Mapping[int, float]]):
        self.holds = holds
        self.values: dict[str, Tensor] = {}

    def __call__(self, name: str, value: Tensor) -> Tensor:
        for unit, number in self.holds.get(name, {}).items():
            # not in place: the value that is replaced may be needed by autograd
            value = value.index_fill(-1, torch.tensor([unit], device=value.device), number)
        self.values[name] = value
        return value


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_record: ContextVar["Record | None"] = ContextVar("record", default=None)
_holds: ContextVar[Mapping[str, float] | None] = ContextVar("holds", default=None)


def tap(name: str, value):
    """Says a value inside `step`; returns it, or what it is held at. Costs one look-up where nobody listens."""
    listener = _listener.get()
    return value if listener is None else listener(name, value)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within it, `tap` speaks to this listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Record:
    """What was seen, by place: `record["1.c"]` is a tensor (B, T, H) over all steps since the recording began."""

    def __init__(self):
        self._pieces: dict[str, list[Tensor]] = {}

    def add(self, place: str, values: Tensor) -> None:
        """Appends the values (B, T, H) of a place."""
        self._pieces.setdefault(place, []).append(values)

    def __getitem__(self, place: str) -> Tensor:
        if place not in self._pieces:
            raise unknown("recorded value", place, self._pieces)
        return torch.cat(self._pieces[place], 1)

    def take(self, place: str) -> Tensor | None:
        """What came to a place since the last time, None where nothing did; everything recorded so far is dropped."""
        new = self[place] if place in self._pieces else None
        self._pieces.clear()
        return new

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


@contextmanager
def record() -> Iterator[Record]:
    """`with record() as seen:` keeps every named value of every layer that runs inside; then `seen["1.c"]` is
    (B, T, H). The values stay part of the autograd graph: wrap in `torch.no_grad()` when only looking."""
    kept = Record()
    token = _record.set(kept)
    try:
        yield kept
    finally:
        _record.reset(token)


@contextmanager
def hold(units: Mapping[str, float]) -> Iterator[None]:
    """`with hold({"1.c.137": 1.0}):` fixes unit 137 of the cell state of layer 1. Whatever the step computes from
    this value, in the same step too, is computed from the held one."""
    for place in units:
        if not (unit := place.rpartition(".")[2]).isdecimal() or not unit.isascii() or place.count(".") < 2:
            raise UserError(f"'{place}' names no unit: write layer, value and unit, as in 1.c.137")
    token = _holds.set(dict(units))
    try:
        yield
    finally:
        _holds.reset(token)


def recording() -> Record | None:
    """The record that is being kept, if any."""
    return _record.get()


def keep(place: str, values: Tensor) -> None:
    """Says values (B, ...) that are no cell's, such as the weights of an attention, to the record that is kept."""
    kept = recording()
    if kept is not None:
        kept.add(place, values)


def holding() -> Mapping[str, float]:
    """The units that are held, `{"1.c.137": 1.0}`."""
    return _holds.get() or {}


def watched() -> bool:
    """Whether someone looks inside: a backend that cannot show its values refuses then."""
    return _record.get() is not None or bool(_holds.get())
