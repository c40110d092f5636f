"""A cell made from stored graphs instead of code."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from elman.cells.cell import Cell, Start
from elman.cells.graph import ModeGraphs
from elman.cells.size import resolve


class GraphCell(Cell):
    """A cell whose step is a graph, in training and in evaluation one of its own. `graph_cell` makes its class."""

    graphs: ClassVar[ModeGraphs]
    stored_start: ClassVar[Start] = {}

    def step(self, x: Any, *state: Tensor) -> tuple[Tensor, ...]:
        return self.graphs.of(self.training).run(self, x, *state)

    @property
    def sizes(self) -> Mapping[str, int]:
        sizes = self.graphs.training.sizes
        return {name: resolve(size, self.hidden_size, self.input_size) for name, size in sizes.items()}

    @property
    def start(self) -> Start:
        return self.stored_start


def graph_cell(name: str, graphs: ModeGraphs, start: Mapping[str, Any]) -> type[Cell]:
    """The class of the cell with this equation and these starting values."""
    training = graphs.training
    fields = {
        "gates": training.gates, "states": training.states, "bias": training.bias, "output": training.output,
        "graphs": graphs, "stored_start": dict(start), "made_by": (graph_cell, name, graphs, dict(start)),
    }  # fmt: skip
    made = type(name, (GraphCell,), fields)
    made.name = name
    return made
