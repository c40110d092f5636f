"""Cells with options by which they can have any number of units."""

from typing import Any


def fitting(spec: Any, hidden: int) -> Any:
    """A cell for so many units: an odd number has no half, and is divided by few sizes of a head."""
    if spec == "lstmp" and hidden % 2:
        return "lstmp:projection=3"
    if spec == "mlstm":
        return f"mlstm:head_size={next(size for size in (4, 2, 1) if hidden % size == 0)}"
    return spec
