"""A cell of one's own, as its equation: a GRU that also leaks, each unit at its own rate.

elman doctor --cell examples/leaky_gru.py:LeakyGRU
elman train lm mine.txt --cell examples/leaky_gru.py:LeakyGRU --for 1m
"""

from torch import sigmoid, tanh

from elman import Cell


class LeakyGRU(Cell):
    gates = ("r", "z", "n")

    def step(self, x, h):
        u = self.recur("r", "z", of=h)
        r, z = sigmoid(x.r + u.r), sigmoid(x.z + u.z)
        n = tanh(x.n + self.recur("n", of=r * h).n)
        h = sigmoid(self.p_leak) * (z * h + (1 - z) * n)
        return (h,)

    @property
    def start(self):
        return {"p_leak": 4.0}
