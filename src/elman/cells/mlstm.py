"""The mLSTM of the xLSTM."""

from torch import Tensor, exp, maximum, sigmoid, sqrt

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.cells.ops import log_sigmoid, matvec, outer, sum_groups
from elman.errors import UserError


class MLSTM(Cell, name="mlstm"):
    """The mLSTM of the xLSTM: a memory matrix for each head, written by outer products of values and keys.

    Beck et al. 2024, arXiv 2405.04517, equations 19 to 27 with a sigmoid forget gate. m, the stabilizer, keeps the
    exponentials in range (its equations 15 to 17); i and f are one number a head.

    m' = max(log f + m, log i);  C' = exp(log f + m - m') C + exp(log i - m') v k^T;  n' the same with k for v k^T
    h = o (g LN(C' q / max(|n' q|, exp(-m'))))

    LN normalizes each head, as in the block of the paper (its figure 11), without which gradients explode in a stack of
    layers; the gain g is the vector `p_gain`.

    q, v = W x + b;  k = (W x + b) / sqrt(d);  o = sigmoid(W x + b);  log i = W x + b;  f = sigmoid(W x + b)

    Options: `head_size`: d, the units of a head, a divisor of H; `forget_bias`: the initial bias of f.
    """

    gates, states, output = ("q", "k", "v", "i", "f", "o"), ("C", "n", "m"), "h"
    at_one = {"o": "output"}
    head_size: int = 16
    forget_bias: float = 3.0

    @property
    def heads(self) -> int:
        """The number of heads."""
        if self.head_size < 1 or self.hidden_size % self.head_size:
            raise UserError(
                f"mlstm:head_size={self.head_size} must be a divisor of {self.hidden_size}, the hidden size"
            )
        return self.hidden_size // self.head_size

    @property
    def sizes(self):
        return {"i": self.heads, "f": self.heads, "m": self.heads, "C": self.hidden_size * self.head_size}

    def step(self, x, C: Tensor, n: Tensor, m: Tensor):
        d = self.head_size
        kept = log_sigmoid(x.f) + m
        m = maximum(kept, x.i)
        i, f = exp(x.i - m), exp(kept - m)
        k = x.k / d**0.5
        C = f.repeat_interleave(d * d, -1) * C + outer(i.repeat_interleave(d, -1) * x.v, k, self.heads)
        n = f.repeat_interleave(d, -1) * n + i.repeat_interleave(d, -1) * k
        norm = maximum(abs(sum_groups(n * x.q, d)), exp(-m))
        read = matvec(C, x.q, self.heads) / norm.repeat_interleave(d, -1)
        centred = read - sum_groups(read, d).repeat_interleave(d, -1) / d
        variance = sum_groups(centred**2, d).repeat_interleave(d, -1) / d
        h = sigmoid(x.o) * self.p_gain * centred / sqrt(variance + 1e-5)
        return h, C, n, m

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias, "p_gain": 1.0}
