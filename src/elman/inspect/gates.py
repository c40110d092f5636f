"""Gate saturation: how often each gate is near 0, and how often near 1, unit by unit (Karpathy, Johnson & Li 2015,
figure 3)."""

from collections.abc import Mapping

import numpy as np

from elman.cells.cell import Cell
from elman.cells.trace import NotTraceable, trace
from elman.inspect.blocks import Chart, Table
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.panel import Panel
from elman.recurrent.layer import Recurrent

LOW, HIGH = 0.1, 0.9
STUCK = 0.95  # of the time


def gates(cell: Cell) -> dict[str, str]:
    """The named values of a step that are gates, from 0 to 1, and the effect of each at 1."""
    try:
        graph = trace(cell)
    except NotTraceable:
        return {}
    return {name: cell.at_one.get(name, "open") for name, number in graph.names.items()
            if graph.ops[number].kind == "sigmoid"}  # fmt: skip


def addresses(layer: Recurrent) -> dict[str, str]:
    """The gates of every layer and direction by address, `1.f`, and the effect of each at 1."""
    found = {}
    for index, cell in enumerate(layer.cells):
        assert isinstance(cell, Cell)
        found |= {layer.prefix(index) + name: effect for name, effect in gates(cell).items()}
    return found


@styled
def saturation(named: Mapping[str, str], values: Mapping[str, np.ndarray]) -> Panel | None:
    """The fraction of time that each unit's gates are below 0.1 and above 0.9; None without gates.

    named: see `addresses`; values: (T, H) by address.
    """
    if not named:
        return None
    saturated = {
        address: np.stack([(values[address] < LOW).mean(0), (values[address] > HIGH).mean(0)]) for address in named
    }
    columns = min(4, len(named))
    rows = -(-len(named) // columns)
    figure, grid = axes(10.0, 0.8 + 2.4 * rows, rows, columns, sharex=True, sharey=True)
    cells = np.atleast_1d(grid).ravel()
    for number, (axis, (address, effect)) in enumerate(zip(cells, named.items(), strict=False)):
        axis.scatter(*saturated[address], s=9, alpha=0.5, color=COLOURS[number % len(COLOURS)], linewidths=0)
        axis.plot([0, 1], [1, 0], color="#80808060", linewidth=0.8)
        axis.set_title(f"{address}   1: {effect}")
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    for axis in cells[len(named) :]:
        axis.set_axis_off()
    figure.supxlabel(f"fraction of time below {LOW}", fontsize=9)
    figure.supylabel(f"fraction of time above {HIGH}", fontsize=9)
    lines = [[address, effect, *map(float, saturated[address].mean(1)), int((saturated[address] > STUCK).any(0).sum())]
             for address, effect in named.items()]  # fmt: skip
    return Panel(
        "gates", "Gate saturation",
        f"Each point is a unit, by the fraction of time that its gate is below {LOW} (left-saturated) and above {HIGH} "
        "(right-saturated). Units near the origin use the whole range.",
        {address: {"at_one": named[address], "below": saturated[address][0], "above": saturated[address][1]}
         for address in named},
        [Chart("gates", figure),
         Table(["gate", "at 1", f"below {LOW}, mean", f"above {HIGH}, mean", "units saturated 95 % of the time"],
               lines)],
    )  # fmt: skip
