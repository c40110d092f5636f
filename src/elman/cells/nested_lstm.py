"""The nested long short-term memory."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class NestedLSTM(Cell, name="nested_lstm"):
    """The nested LSTM: the memory cell of an LSTM is computed by another LSTM.

    Moniz & Krueger 2018, arXiv 1801.10308, equations 7 to 14. The inner LSTM has the input i g and the hidden state
    f c, its memory cell is n.

    i, f, o, g as in an LSTM;  x~ = i g;  h~ = f c
    i~, f~, o~ = sigmoid(W~ x~ + U~ h~ + b~);  g~ = tanh(W~ x~ + U~ h~ + b~)
    n' = f~ n + i~ g~;  c' = o~ tanh(n');  h' = o tanh(c')

    The inner biases are the vectors `p_i`, `p_f`, `p_g`, `p_o`. Options: `forget_bias`: the initial bias of f and f~.
    """

    gates, states = ("i", "f", "g", "o"), ("h", "c", "n")
    at_one = {
        "i": "write", "f": "keep", "o": "output", "inner_i": "write", "inner_f": "keep", "inner_o": "output"
    }  # fmt: skip
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor, n: Tensor):
        u = self.recur("i", "f", "g", "o", of=h)
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        inner_x, inner_h = i * tanh(x.g + u.g), f * c
        v = self.recur("i", "f", "g", "o", of=inner_x, name="V")
        w = self.recur("i", "f", "g", "o", of=inner_h, name="Y")
        inner_i = sigmoid(v.i + w.i + self.p_i)
        inner_f = sigmoid(v.f + w.f + self.p_f)
        inner_o = sigmoid(v.o + w.o + self.p_o)
        n = inner_f * n + inner_i * tanh(v.g + w.g + self.p_g)
        c = inner_o * tanh(n)
        h = o * tanh(c)
        return h, c, n

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias, "p_f": self.forget_bias}
