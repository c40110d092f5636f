"""The Mogrifier LSTM."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.errors import UserError

MOST_ROUNDS = 16


class MogrifierLSTM(Cell, name="mogrifier_lstm"):
    """The Mogrifier LSTM: before the step, input and state gate each other in turn.

    Melis, Kocisky & Blunsom 2020, arXiv 1909.01792, equations 1 and 2.

    x^k = 2 sigmoid(Q^k h^(k-1)) x^(k-2) for odd k;  h^k = 2 sigmoid(R^k x^(k-1)) h^(k-2) for even k;  then an LSTM

    The biases of the LSTM are the vectors `p_i`, `p_f`, `p_g`, `p_o`.

    Options: `rounds`: of the gating; `forget_bias`: the initial bias of f.
    """

    states = ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    rounds: int = 5
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor):
        if not 0 <= self.rounds <= MOST_ROUNDS:
            raise UserError(f"mogrifier_lstm:rounds={self.rounds} must be from 0 to {MOST_ROUNDS}")
        v = x.raw
        for k in range(1, self.rounds + 1):
            if k % 2:
                v = 2 * sigmoid(self.recur("q", of=h, name=f"Q{k}", size=self.input_size).q) * v
            else:
                h = 2 * sigmoid(self.project("r", of=v, name=f"R{k}").r) * h
        w, u = self.project("i", "f", "g", "o", of=v), self.recur("i", "f", "g", "o", of=h)
        i, f = sigmoid(w.i + u.i + self.p_i), sigmoid(w.f + u.f + self.p_f)
        g, o = tanh(w.g + u.g + self.p_g), sigmoid(w.o + u.o + self.p_o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    @property
    def start(self) -> Start:
        return {"p_f": self.forget_bias}
