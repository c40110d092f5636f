"""The LSTM with a recurrent projection."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.errors import UserError


class LSTMP(Cell, name="lstmp"):
    """The LSTM with a recurrent projection: the state h, which is the output, is smaller than the memory cell.

    Sak, Senior & Beaufays 2014, arXiv 1402.1128, equations 7 to 13 without peepholes, as `torch.nn.LSTM(proj_size=)`.

    i, f, o = sigmoid(W x + U h + b);  g = tanh(W x + U h + b);  c' = f c + i g;  h' = P (o tanh(c'))

    P is the matrix `P_h` (projection, H). Options: `projection`: the size of h, half of H unless given; `forget_bias`:
    the initial bias of f.
    """

    gates, states = ("i", "f", "g", "o"), ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    projection: int = 0
    forget_bias: float = 1.0

    @property
    def sizes(self):
        if self.projection < 0:
            raise UserError(f"lstmp:projection={self.projection} must be above 0, or 0 for half of the hidden size")
        if not self.projection and self.hidden_size % 2:
            raise UserError(f"lstmp without a projection needs an even hidden size, not {self.hidden_size}")
        return {"h": self.projection or self.hidden_size // 2}

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("i", "f", "g", "o", of=h)
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        g = tanh(x.g + u.g)
        c = f * c + i * g
        m = o * tanh(c)
        h = self.recur("h", of=m, name="P", size=self.size_of("h")).h
        return h, c

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias}
