"""The options of a network, for every task."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from elman.cells.registry import stored
from elman.cells.stored_cell import StoredCell
from elman.options import NotWith, PositiveInt, Share, at_most
from elman.recurrent.layer import Recurrent
from elman.schema import Decode


@dataclass(frozen=True)
class NetworkOptions:
    """Options of the network. None: chosen by the task."""

    cell: Annotated[Any, Decode(StoredCell.from_json)] = "lstm"
    """The recurrence: a name of `elman list cells`, with options as in lstm:forget_bias=0, or my_cell.py:MyCell."""
    hidden: PositiveInt | None = None
    """Units per layer."""
    layers: Annotated[PositiveInt, at_most(100)] = 1
    """Recurrent layers on top of each other."""
    dropout: Annotated[float | None, Share] = None
    """Dropout probability: between layers, before the head, and where a task adds it."""
    zoneout: Annotated[float, Share] = 0.0
    """Probability with which a unit of a state keeps its value of the step before (Krueger et al. 2017)."""
    variational_dropout: Annotated[float, Share] = 0.0
    """Dropout of the input and the state of each layer with the same mask in all steps (Gal & Ghahramani 2016)."""
    weight_drop: Annotated[float, Share] = 0.0
    """Dropout of the recurrent matrices, once a sequence (Merity et al. 2018)."""
    residual: Annotated[bool, NotWith("layers", 1)] = False
    """From the second layer on, add a layer's input to its output."""
    backend: str = "auto"
    """What runs the recurrence: auto, fused, native or loop."""
    batch_size: PositiveInt = 32
    """Rows per batch: texts side by side, or parallel streams of one text."""

    def resolved(self) -> Self:
        """The options with the cell as a run stores it: by registered name, or as its graph."""
        return replace(self, cell=stored(self.cell))

    def recurrent(self, input_size: int, hidden: int, dropout: float = 0.0, **options: Any) -> Recurrent:
        """A `Recurrent` with the cell, depth, residual connections and backend of these options."""
        options = {
            "layers": self.layers, "residual": self.residual, "zoneout": self.zoneout,
            "variational_dropout": self.variational_dropout, "weight_drop": self.weight_drop,
        } | options  # fmt: skip
        return Recurrent(input_size, hidden, self.cell, dropout=dropout, backend=self.backend, **options)


@dataclass(frozen=True)
class TokenNetworkOptions(NetworkOptions):
    """Options of a network that takes tokens."""

    embedding: PositiveInt | None = None
    """Size of a token's embedding."""
