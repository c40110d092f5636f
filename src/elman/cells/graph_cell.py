"""A cell made from a stored graph instead of code."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from elman.cells.cell import Cell, Start
from elman.cells.graph import Graph


class GraphCell(Cell):
    """A cell whose step is a graph: what a run folder holds of a user's own. `graph_cell` makes its class."""

    graph: ClassVar[Graph]
    stored_start: ClassVar[Start] = {}

    def step(self, x: Any, *state: Tensor) -> tuple[Tensor, ...]:
        return self.graph.run(self, x, *state)

    @property
    def start(self) -> Start:
        return self.stored_start


def graph_cell(name: str, graph: Graph, start: Mapping[str, Any]) -> type[Cell]:
    """The class of the cell with this equation and these starting values."""
    fields = {"gates": graph.gates, "states": graph.states, "graph": graph, "stored_start": dict(start)}
    made = type(name, (GraphCell,), fields)
    made.name = name
    return made
