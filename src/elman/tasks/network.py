"""The options of a network, whatever its task."""

from dataclasses import dataclass
from typing import Annotated, Any

from elman.options import PositiveInt, Share


@dataclass(frozen=True)
class NetworkOptions:
    """What is built. None: chosen from the size of the data and the time there is."""

    cell: Any = "lstm"
    """The recurrence: a name of `elman list cells`, with options as in lstm:forget_bias=0, or my_cell.py:MyCell."""
    hidden: PositiveInt | None = None
    """Units a layer."""
    layers: PositiveInt = 1
    """Recurrent layers on top of each other."""
    embedding: PositiveInt | None = None
    """Size of the vector that stands for a token."""
    dropout: Annotated[float | None, Share] = None
    """Share of units set to 0 in training: between layers, before the head, and where a task says so."""
    residual: bool = False
    """From the second layer on, add a layer's input to its output."""
    backend: str = "auto"
    """What runs the recurrence: auto, fused, native or loop."""
    batch_size: PositiveInt = 32
    """Rows of a batch: texts side by side, or parallel streams of one text."""
