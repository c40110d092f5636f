"""The values of a unit beside the generated text, while it is generated."""

from collections import deque
from collections.abc import Iterable, Iterator

from elman.cells.tap import Record, hold
from elman.recurrent.layer import Recurrent


def check_unit(layer: Recurrent, unit: str) -> None:
    """Raises a UserError for a unit, `1.c.137`, that the layer does not have."""
    with hold({unit: 0.0}):
        layer.choose()


def with_values(pieces: Iterable[str], recorded: Record, unit: str, before: int) -> Iterator[tuple[str, float]]:
    """Each piece of text with the value of the unit after the model has read it. `before`: tokens of the prompt, which
    have no piece; the last piece, which the model does not read, has 0. `recorded` must have been recording since
    before the first piece."""
    address, _, number = unit.rpartition(".")
    waiting, values = deque[str](), deque[float]()
    for piece in pieces:
        waiting.append(piece)
        new = recorded.take(address)
        values.extend([] if new is None else new[0, :, int(number)].tolist())
        while before and values:
            values.popleft()
            before -= 1
        while waiting and values:
            yield waiting.popleft(), values.popleft()
    yield from ((piece, 0.0) for piece in waiting)
