"""A layer without recurrence: what any recurrent cell is compared with."""

from torch import relu

from elman.cells.cell import Cell


class FeedForward(Cell, name="none"):
    """Each step is a layer of its own, whose output does not depend on other steps.

    h' = relu(W x + b)
    """

    gates = ("n",)

    def step(self, x, h):
        return (relu(x.n),)
