"""A cell made from stored graphs instead of code."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.graph import ModeGraphs
from elman.cells.initialization import Start
from elman.cells.size import resolve


class GraphCell(Cell):
    """A cell whose step is a graph, in training and in evaluation one of its own. `graph_cell` makes its class."""

    graphs: ClassVar[ModeGraphs]
    stored_start: ClassVar[Start] = {}
    stored_projections: ClassVar[tuple[str, ...]] = ()
    given: ClassVar[tuple[type[Cell], Mapping[str, Any]] | None] = None

    def step(self, x: Any, *state: Tensor) -> tuple[Tensor, ...]:
        return self.graphs.of(self.training).run(self, x, *state, recur=self.recur)

    @property
    def sizes(self) -> Mapping[str, int]:
        sizes = self.graphs.training.sizes
        return {name: resolve(size, self.hidden_size, self.input_size) for name, size in sizes.items()}

    @property
    def start(self) -> Start:
        if self.given is None:
            return self.stored_start
        kind, options = self.given  # its tensors and functions are not stored
        with torch.random.fork_rng(devices=[]):
            cell = kind(self.input_size, self.hidden_size, **options)
        return cell.start

    def _declare(self) -> None:
        super()._declare()
        self.projections.update(self.stored_projections)


def graph_cell(
    name: str,
    graphs: ModeGraphs,
    start: Mapping[str, Any],
    projections: tuple[str, ...] = (),
    given: tuple[type[Cell], Mapping[str, Any]] | None = None,
) -> type[Cell]:
    """The class of the cell with this equation and these starting values.

    - projections: the matrices of `project`
    - given: the class and the options that the equation was traced from, whose `start` is taken where it is known
    """
    training = graphs.training
    fields = {
        "gates": training.gates, "states": training.states, "bias": training.bias, "output": training.output,
        "graphs": graphs, "stored_start": dict(start), "stored_projections": projections, "given": given,
        "made_by": (graph_cell, name, graphs, dict(start), projections),
    }  # fmt: skip
    made = type(name, (GraphCell,), fields)
    made.name = name
    return made
