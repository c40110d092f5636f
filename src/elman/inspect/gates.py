"""Gates: how often each is shut, and how often open, unit by unit (Karpathy, Johnson & Li 2015, figure 3)."""

from collections.abc import Mapping

import numpy as np

from elman.cells.cell import Cell
from elman.cells.trace import NotTraceable, trace
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.panel import Panel, table
from elman.recurrent.layer import Recurrent

SHUT, OPEN = 0.1, 0.9


def gates(cell: Cell) -> dict[str, str]:
    """The named values of a step that are gates, from 0 to 1, and what each does at 1."""
    try:
        graph = trace(cell)
    except NotTraceable:
        return {}
    return {name: cell.at_one.get(name, "open") for name, number in graph.names.items()
            if graph.ops[number].kind == "sigmoid"}  # fmt: skip


def places(layer: Recurrent) -> dict[str, str]:
    """The gates of every layer and direction by place, `1.f`, and what each does at 1."""
    found = {}
    for index, cell in enumerate(layer.cells):
        assert isinstance(cell, Cell)
        found |= {layer.prefix(index) + name: says for name, says in gates(cell).items()}
    return found


@styled
def saturation(named: Mapping[str, str], values: Mapping[str, np.ndarray]) -> Panel | None:
    """The share of time that each unit's gates are below 0.1 and above 0.9; None without gates. `named`: `places`;
    `values`: (T, H) by place."""
    if not named:
        return None
    shares: Mapping[str, np.ndarray] = {
        place: np.stack([(values[place] < SHUT).mean(0), (values[place] > OPEN).mean(0)]) for place in named
    }
    columns = min(4, len(named))
    rows = -(-len(named) // columns)
    figure, grid = axes(10.0, 0.8 + 2.4 * rows, rows, columns, sharex=True, sharey=True)
    cells = np.atleast_1d(grid).ravel()
    for number, (axis, (place, says)) in enumerate(zip(cells, named.items(), strict=False)):
        axis.scatter(*shares[place], s=9, alpha=0.5, color=COLOURS[number % len(COLOURS)], linewidths=0)
        axis.plot([0, 1], [1, 0], color="#80808060", linewidth=0.8)
        axis.set_title(f"{place}   1: {says}")
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    for axis in cells[len(named) :]:
        axis.set_axis_off()
    figure.supxlabel(f"share of time below {SHUT}", fontsize=9)
    figure.supylabel(f"share of time above {OPEN}", fontsize=9)
    lines = [[place, says, *map(float, shares[place].mean(1)), int((shares[place] > 0.95).any(0).sum())]
             for place, says in named.items()]  # fmt: skip
    return Panel(
        "gates", "Gates",
        f"A point is a unit: to the right those whose gate is mostly shut (below {SHUT}), at the top those whose gate "
        f"is mostly open (above {OPEN}), near the origin those that use all of the range.",
        {place: {"at_one": named[place], "shut": shares[place][0], "open": shares[place][1]} for place in named},
        {"gates": figure},
        table(["gate", "at 1", "shut, mean", "open, mean", "units stuck 95 % of the time"], lines),
    )  # fmt: skip
