"""The independently recurrent network."""

from torch import Tensor, relu

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class IndRNN(Cell, name="indrnn"):
    """The independently recurrent network: each unit's only recurrent weight is its own.

    Li et al. 2018, arXiv 1803.04831, equation 2; the weights start uniform in [0, 1] as in its section 3.2.

    h' = relu(W x + u * h + b)

    u is the vector `p_u`.
    """

    gates = ("h",)

    def step(self, x, h: Tensor):
        return (relu(x.h + self.p_u * h),)

    @property
    def start(self) -> Start:
        return {"p_u": lambda u: u.uniform_(0, 1)}
