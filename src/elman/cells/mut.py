"""The three cells that an evolutionary search found (Jozefowicz, Zaremba & Sutskever 2015, "An Empirical Exploration
of Recurrent Network Architectures", section 3.2). Where the paper adds the input x to a vector of the hidden size, the
projection W x + b is added here, so that input and hidden size may differ. z multiplies the candidate."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell


class MUT1(Cell, name="mut1"):
    """The first cell found by the search of Jozefowicz et al. 2015.

    z = sigmoid(W_z x);  r = sigmoid(W_r x + U_r h);  h' = tanh(U_n (r h) + tanh(W_n x) + p_n) z + h (1 - z)

    p_n is the paper's b_h.
    """

    gates = ("z", "r", "n")
    at_one = {"z": "replace", "r": "use the old state"}

    def step(self, x, h: Tensor):
        z = sigmoid(x.z)
        r = sigmoid(x.r + self.recur("r", of=h).r)
        n = tanh(self.recur("n", of=r * h).n + tanh(x.n) + self.p_n)
        h = n * z + h * (1 - z)
        return (h,)


class MUT2(Cell, name="mut2"):
    """The second cell found by the search of Jozefowicz et al. 2015.

    z = sigmoid(W_z x + U_z h);  r = sigmoid(W_r x + U_r h);  h' = tanh(U_n (r h) + W_n x) z + h (1 - z)

    In the paper r depends on x itself, here on W_r x.
    """

    gates = ("z", "r", "n")
    at_one = {"z": "replace", "r": "use the old state"}

    def step(self, x, h: Tensor):
        u = self.recur("z", "r", of=h)
        z, r = sigmoid(x.z + u.z), sigmoid(x.r + u.r)
        n = tanh(self.recur("n", of=r * h).n + x.n)
        h = n * z + h * (1 - z)
        return (h,)


class MUT3(Cell, name="mut3"):
    """The third cell found by the search of Jozefowicz et al. 2015.

    z = sigmoid(W_z x + U_z tanh(h));  r = sigmoid(W_r x + U_r h);  h' = tanh(U_n (r h) + W_n x) z + h (1 - z)
    """

    gates = ("z", "r", "n")
    at_one = {"z": "replace", "r": "use the old state"}

    def step(self, x, h: Tensor):
        z = sigmoid(x.z + self.recur("z", of=tanh(h)).z)
        r = sigmoid(x.r + self.recur("r", of=h).r)
        n = tanh(self.recur("n", of=r * h).n + x.n)
        h = n * z + h * (1 - z)
        return (h,)
