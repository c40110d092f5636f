"""The multiplicative LSTM."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class MultiplicativeLSTM(Cell, name="multiplicative_lstm"):
    """The multiplicative LSTM: the recurrent matrix depends on the input.

    (Krause et al. 2016, arXiv 1609.07959, equations 18 to 22.)

    m = (W_m x) (U_m h), and m replaces h in the four gates of an LSTM. (The original has no bias in m.)

    Options: `forget_bias`: the initial bias of f.
    """

    gates, states = ("m", "i", "f", "g", "o"), ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor):
        m = x.m * self.recur("m", of=h).m
        u = self.recur("i", "f", "g", "o", of=m)
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        g = tanh(x.g + u.g)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    @property
    def start(self) -> Start:
        # with a bias of 1 m starts near U_m h; with 0 it would start near 0
        return {"m": 1.0, "f": self.forget_bias}
