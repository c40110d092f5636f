"""The LSTM with peepholes and its eight variants, each with one change (Greff et al. 2017, "LSTM: A Search Space
Odyssey", arXiv 1503.04069, section 2 and appendix A). z is the block input, i, f, o the gates, p the peepholes."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start


class PeepholeLSTM(Cell, name="peephole_lstm"):
    """The LSTM with peepholes: the gates i and f depend on the old cell state, o on the new one.

    Options: `forget_bias`: the initial bias of f.
    """

    gates, states = ("z", "i", "f", "o"), ("h", "c")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "f", "o", of=h)
        z = tanh(x.z + u.z)
        i, f = sigmoid(x.i + u.i + self.p_i * c), sigmoid(x.f + u.f + self.p_f * c)
        c = z * i + c * f
        o = sigmoid(x.o + u.o + self.p_o * c)
        return tanh(c) * o, c

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias} if "f" in self.gates else {}


class NIG(PeepholeLSTM, name="nig"):
    """peephole_lstm with no input gate: i = 1."""

    gates = ("z", "f", "o")

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "f", "o", of=h)
        z = tanh(x.z + u.z)
        f = sigmoid(x.f + u.f + self.p_f * c)
        c = z + c * f
        o = sigmoid(x.o + u.o + self.p_o * c)
        return tanh(c) * o, c


class NFG(Cell, name="nfg"):
    """peephole_lstm with no forget gate: f = 1."""

    gates, states = ("z", "i", "o"), ("h", "c")
    at_one = {"i": "write", "o": "output"}

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "o", of=h)
        z = tanh(x.z + u.z)
        i = sigmoid(x.i + u.i + self.p_i * c)
        c = z * i + c
        o = sigmoid(x.o + u.o + self.p_o * c)
        return tanh(c) * o, c


class NOG(PeepholeLSTM, name="nog"):
    """peephole_lstm with no output gate: o = 1."""

    gates = ("z", "i", "f")

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "f", of=h)
        z = tanh(x.z + u.z)
        i, f = sigmoid(x.i + u.i + self.p_i * c), sigmoid(x.f + u.f + self.p_f * c)
        c = z * i + c * f
        return tanh(c), c


class NIAF(PeepholeLSTM, name="niaf"):
    """peephole_lstm with no input activation function: z is linear."""

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "f", "o", of=h)
        z = x.z + u.z
        i, f = sigmoid(x.i + u.i + self.p_i * c), sigmoid(x.f + u.f + self.p_f * c)
        c = z * i + c * f
        o = sigmoid(x.o + u.o + self.p_o * c)
        return tanh(c) * o, c


class NOAF(PeepholeLSTM, name="noaf"):
    """peephole_lstm with no output activation function: h = o c."""

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "f", "o", of=h)
        z = tanh(x.z + u.z)
        i, f = sigmoid(x.i + u.i + self.p_i * c), sigmoid(x.f + u.f + self.p_f * c)
        c = z * i + c * f
        o = sigmoid(x.o + u.o + self.p_o * c)
        return c * o, c


class CIFG(Cell, name="cifg"):
    """peephole_lstm with coupled input and forget gate: f = 1 - i.

    Options: `input_bias`: the initial bias of i; -1 corresponds to a forget bias of 1.
    """

    gates, states = ("z", "i", "o"), ("h", "c")
    at_one = {"i": "write, and forget", "o": "output"}
    input_bias: float = -1.0

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "o", of=h)
        z = tanh(x.z + u.z)
        i = sigmoid(x.i + u.i + self.p_i * c)
        c = z * i + c * (1 - i)
        o = sigmoid(x.o + u.o + self.p_o * c)
        return tanh(c) * o, c

    @property
    def start(self) -> Start:
        return {"i": self.input_bias}


class NP(PeepholeLSTM, name="np"):
    """peephole_lstm with no peepholes: the LSTM in general use."""

    def step(self, x, h: Tensor, c: Tensor):
        u = self.recur("z", "i", "f", "o", of=h)
        z = tanh(x.z + u.z)
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        c = z * i + c * f
        return tanh(c) * o, c


class FGR(Cell, name="fgr"):
    """peephole_lstm with full gate recurrence: the gates depend on all gates of the step before.

    Options: `forget_bias`: the initial bias of f.
    """

    gates, states = ("z", "i", "f", "o"), ("h", "c", "i", "f", "o")
    at_one = {"i": "write", "f": "keep", "o": "output"}
    forget_bias: float = 1.0

    def step(self, x, h: Tensor, c: Tensor, i: Tensor, f: Tensor, o: Tensor):
        u = self.recur("z", "i", "f", "o", of=h)
        from_i = self.recur("i", "f", "o", of=i, name="Ri")
        from_f = self.recur("i", "f", "o", of=f, name="Rf")
        from_o = self.recur("i", "f", "o", of=o, name="Ro")
        z = tanh(x.z + u.z)
        i = sigmoid(x.i + u.i + from_i.i + from_f.i + from_o.i + self.p_i * c)
        f = sigmoid(x.f + u.f + from_i.f + from_f.f + from_o.f + self.p_f * c)
        c = z * i + c * f
        o = sigmoid(x.o + u.o + from_i.o + from_f.o + from_o.o + self.p_o * c)
        return tanh(c) * o, c, i, f, o

    @property
    def start(self) -> Start:
        return {"f": self.forget_bias}
