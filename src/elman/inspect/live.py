"""A unit's value beside every character that is written, while it is written."""

from collections import deque
from collections.abc import Iterable, Iterator

from elman.cells.tap import Record, hold
from elman.recurrent.layer import Recurrent


def check_unit(layer: Recurrent, unit: str) -> None:
    """Raises a UserError for a unit, `1.c.137`, that the layer does not have."""
    with hold({unit: 0.0}):
        layer.choose()


def valued(pieces: Iterable[str], seen: Record, unit: str, before: int) -> Iterator[tuple[str, float]]:
    """Each piece with the value of the unit after it was read. `before` tokens are read first, without a piece; the
    last piece, which nobody reads, has 0. `seen` must be recording since before the first piece."""
    place, _, number = unit.rpartition(".")
    waiting, values = deque[str](), deque[float]()
    for piece in pieces:
        waiting.append(piece)
        new = seen.take(place)
        values.extend([] if new is None else new[0, :, int(number)].tolist())
        while before and values:
            values.popleft()
            before -= 1
        while waiting and values:
            yield waiting.popleft(), values.popleft()
    yield from ((piece, 0.0) for piece in waiting)
