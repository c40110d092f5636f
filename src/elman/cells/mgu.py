"""The minimal gated unit."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell


class MGU(Cell, name="mgu"):
    """The minimal gated unit: one gate in place of the two of the GRU.

    (Zhou et al. 2016, arXiv 1603.09420, equations 8 to 10.)

    f = sigmoid(W_f x + U_f h);  n = tanh(W_n x + U_n (f h));  h' = (1 - f) h + f n
    """

    gates = ("f", "n")
    at_one = {"f": "replace"}

    def step(self, x, h: Tensor):
        f = sigmoid(x.f + self.recur("f", of=h).f)
        n = tanh(x.n + self.recur("n", of=f * h).n)
        h = (1 - f) * h + f * n
        return (h,)
