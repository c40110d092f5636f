"""The gated recurrent unit, with the reset gate after or before the product."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell


class GRU(Cell, name="gru"):
    """The gated recurrent unit as in cuDNN and PyTorch: reset after the product.

    r, z = sigmoid(W x + U h + b);  n = tanh(W_n x + b_n + r (U_n h + p_n));  h' = (1 - z) n + z h

    (Cho et al. 2014, arXiv 1406.1078 version 1.) At z = 1 the state is kept.
    """

    gates = ("r", "z", "n")
    at_one = {"z": "keep", "r": "use the old state"}

    def step(self, x, h: Tensor):
        u = self.recur("r", "z", "n", of=h)
        r, z = sigmoid(x.r + u.r), sigmoid(x.z + u.z)
        n = tanh(x.n + r * (u.n + self.p_n))
        h = (1 - z) * n + z * h
        return (h,)


class GRUBefore(Cell, name="gru_before"):
    """The gated recurrent unit as published by Cho et al. 2014: reset before the product.

    (arXiv 1406.1078 version 3, equations 5 to 8.)

    r, z = sigmoid(W x + U h + b);  n = tanh(W_n x + U_n (r h) + b_n);  h' = z h + (1 - z) n
    """

    gates = ("r", "z", "n")
    at_one = {"z": "keep", "r": "use the old state"}

    def step(self, x, h: Tensor):
        u = self.recur("r", "z", of=h)
        r, z = sigmoid(x.r + u.r), sigmoid(x.z + u.z)
        n = tanh(x.n + self.recur("n", of=r * h).n)
        h = z * h + (1 - z) * n
        return (h,)
