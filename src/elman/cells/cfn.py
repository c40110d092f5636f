"""The chaos free network."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class CFN(Cell, name="cfn"):
    """The chaos free network: without input every unit relaxes to 0.

    Laurent & von Brecht 2017, arXiv 1612.06212, equations 1 and 2. z has no bias.

    t = sigmoid(W x + U h + b);  e = sigmoid(W x + U h + b);  h' = t tanh(h) + e tanh(W_z x)

    Options: `forget_bias`: the initial bias of t; `input_bias`: that of e. (1 and -1: section 4 of the paper.)
    """

    gates, bias = ("t", "e", "z"), ("t", "e")
    at_one = {"t": "keep", "e": "write"}
    forget_bias: float = 1.0
    input_bias: float = -1.0

    def step(self, x, h: Tensor):
        u = self.recur("t", "e", of=h)
        t, e = sigmoid(x.t + u.t), sigmoid(x.e + u.e)
        return (t * tanh(h) + e * tanh(x.z),)

    @property
    def start(self) -> Start:
        return {"t": self.forget_bias, "e": self.input_bias}
