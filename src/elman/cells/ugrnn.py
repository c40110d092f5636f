"""The update gate network."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class UGRNN(Cell, name="ugrnn"):
    """The update gate network (UGRNN): one gate between the state and a candidate.

    Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913, equations of section 1.1.

    g = sigmoid(W x + U h + b);  c = tanh(W x + U h + b);  h' = g h + (1 - g) c

    Options: `gate_bias`: the initial bias of g.
    """

    gates = ("c", "g")
    at_one = {"g": "keep"}
    gate_bias: float = 1.0

    def step(self, x, h: Tensor):
        u = self.recur("c", "g", of=h)
        c, g = tanh(x.c + u.c), sigmoid(x.g + u.g)
        return (g * h + (1 - g) * c,)

    @property
    def start(self) -> Start:
        return {"g": self.gate_bias}
