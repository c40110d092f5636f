"""The long short-term memory."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class LSTM(Cell, name="lstm"):
    """The long short-term memory with a forget gate, without peepholes.

    (Hochreiter & Schmidhuber 1997; the forget gate of Gers et al. 2000.)

    i, f, o = sigmoid(W x + U h + b);  g = tanh(W x + U h + b);  c' = f c + i g;  h' = o tanh(c')

    Options: `forget_bias`: the initial bias of f (1: Jozefowicz et al. 2015).
    """

    gates, states = ("i", "f", "g", "o"), ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("i", "f", "g", "o", of=h)
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        g = tanh(x.g + u.g)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias}
