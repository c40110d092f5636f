"""The ordered neurons LSTM."""

from torch import Tensor, cumsum, sigmoid, softmax, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.errors import UserError


class ONLSTM(Cell, name="on_lstm"):
    """The ordered neurons LSTM: master gates that rise or fall over the units, so that some forget before others.

    Shen et al. 2019, arXiv 1810.09536, equations 6 to 13.

    cumax(v) = cumsum(softmax(v));  k = cumax(W x + U h + b), which keeps;  e = 1 - cumax(W x + U h + b), which writes
    w = k e;  f^ = f w + (k - w);  i^ = i w + (e - w);  c' = f^ c + i^ g;  h' = o tanh(c')

    Options: `chunk`: units that share one value of the master gates, a divisor of H; `forget_bias`: the initial bias of
    f.
    """

    gates, states = ("i", "f", "g", "o", "k", "e"), ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output", "k": "keep", "e": "write"}
    chunk: int = 1
    forget_bias: float = 1.0

    @property
    def sizes(self):
        if self.chunk < 1 or self.hidden_size % self.chunk:
            raise UserError(f"on_lstm:chunk={self.chunk} must be a divisor of the hidden size, {self.hidden_size}")
        return {"k": self.hidden_size // self.chunk, "e": self.hidden_size // self.chunk}

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("i", "f", "g", "o", of=h)
        m = self.recur("k", "e", of=h, size=self.size_of("k"))
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        g = tanh(x.g + u.g)
        k = cumsum(softmax(x.k + m.k, -1), -1).repeat_interleave(self.chunk, -1)
        e = (1 - cumsum(softmax(x.e + m.e, -1), -1)).repeat_interleave(self.chunk, -1)
        w = k * e
        f, i = f * w + (k - w), i * w + (e - w)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias}
