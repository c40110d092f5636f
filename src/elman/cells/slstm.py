"""The sLSTM of the xLSTM."""

from torch import Tensor, exp, maximum, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.cells.ops import log_sigmoid


class SLSTM(Cell, name="slstm"):
    """The sLSTM of the xLSTM: an exponential input gate, a normaliser and a stabiliser.

    Beck et al. 2024, arXiv 2405.04517, equations 8 to 17 with a sigmoid forget gate and one head. n is the normaliser,
    m, the stabiliser, keeps the exponentials in range.

    m' = max(log f + m, log i);  c' = exp(log f + m - m') c + exp(log i - m') z;  n' the same with 1 for z;
    h' = o c' / n'

    Options: `forget_bias`: the initial bias of f.
    """

    gates, states = ("i", "f", "z", "o"), ("h", "c", "n", "m")
    at_one = {"o": "output"}
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor, n: Tensor, m: Tensor):
        u = self.recur("i", "f", "z", "o", of=h)
        log_i, log_f = x.i + u.i, log_sigmoid(x.f + u.f)
        z, o = tanh(x.z + u.z), sigmoid(x.o + u.o)
        kept = log_f + m
        m = maximum(kept, log_i)
        i, f = exp(log_i - m), exp(kept - m)
        c = f * c + i * z
        n = f * n + i
        h = o * (c / n)
        return h, c, n, m

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias}
