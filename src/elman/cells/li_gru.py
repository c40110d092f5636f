"""The light gated recurrent unit."""

from torch import Tensor, relu, sigmoid

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.cells.ops import normalize


class LiGRU(Cell, name="li_gru"):
    """The light gated recurrent unit: a GRU without reset gate, with ReLU.

    Ravanelli et al. 2018, arXiv 1803.10225, equations 8 and 9. The paper normalizes W x over the batch; here it is
    normalized over the units (layer normalization, Ba et al. 2016), which needs no statistics of other rows.

    z = sigmoid(LN(W x) + U h);  c = relu(LN(W x) + U h);  h' = z h + (1 - z) c

    The gains and biases of LN are the vectors `p_gz`, `p_bz`, `p_gc`, `p_bc`.
    """

    gates, bias = ("z", "c"), False
    at_one = {"z": "keep"}

    def step(self, x, h: Tensor):
        u = self.recur("z", "c", of=h)
        z = sigmoid(self.p_gz * normalize(x.z) + self.p_bz + u.z)
        c = relu(self.p_gc * normalize(x.c) + self.p_bc + u.c)
        return (z * h + (1 - z) * c,)

    @property
    def start(self) -> Start:
        return {"p_gz": 1.0, "p_gc": 1.0}
