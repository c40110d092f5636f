"""The LSTM with layer normalization."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.cells.ops import normalize


class LayerNormLSTM(Cell, name="layer_norm_lstm"):
    """The LSTM with layer normalization.

    Ba, Kiros & Hinton 2016, arXiv 1607.06450, equations 20 to 22: the input projection, the recurrent projection and
    the cell state are each normalized to mean 0 and variance 1 over the units, then multiplied by a gain p.

    The statistics are taken gate by gate; in the paper over the four gates together. The bias b acts inside the
    normalization of the input projection.

    Options: `forget_bias`: the initial bias of f.
    """

    gates, states = ("i", "f", "g", "o"), ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("i", "f", "g", "o", of=h)
        i = sigmoid(self.p_ix * normalize(x.i) + self.p_iu * normalize(u.i) + self.p_i)
        f = sigmoid(self.p_fx * normalize(x.f) + self.p_fu * normalize(u.f) + self.p_f)
        g = tanh(self.p_gx * normalize(x.g) + self.p_gu * normalize(u.g) + self.p_g)
        o = sigmoid(self.p_ox * normalize(x.o) + self.p_ou * normalize(u.o) + self.p_o)
        c = f * c + i * g
        h = o * tanh(self.p_cc * normalize(c) + self.p_c)
        return h, c

    @property
    def start(self) -> Start:
        gains = {f"p_{gate}{source}": 1.0 for gate in self.gates for source in "xu"}
        return {**gains, "p_cc": 1.0, "p_f": self.forget_bias}
