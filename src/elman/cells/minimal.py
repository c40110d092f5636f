"""The cells without recurrent matrices (Feng et al. 2024, "Were RNNs All We Needed?", arXiv 2410.01201)."""

from torch import Tensor, sigmoid

from elman.cells.cell import Cell


class MinGRU(Cell, name="min_gru"):
    """The GRU without a recurrent matrix.

    z = sigmoid(W_z x);  n = W_n x;  h' = (1 - z) h + z n
    """

    gates = ("z", "n")
    at_one = {"z": "replace"}

    def step(self, x, h: Tensor):
        z = sigmoid(x.z)
        h = (1 - z) * h + z * x.n
        return (h,)


class MinLSTM(Cell, name="min_lstm"):
    """The LSTM without a recurrent matrix.

    f, i = sigmoid(W x);  n = W_n x;  h' = f / (f + i) h + i / (f + i) n
    """

    gates = ("f", "i", "n")
    at_one = {"f": "keep", "i": "write"}

    def step(self, x, h: Tensor):
        f, i = sigmoid(x.f), sigmoid(x.i)
        h = f / (f + i) * h + i / (f + i) * x.n
        return (h,)
