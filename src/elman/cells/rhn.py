"""The recurrent highway network."""

from torch import Tensor, sigmoid, tanh

from elman.cells.cell import Cell
from elman.cells.initialization import Start
from elman.cells.tap import tap
from elman.errors import UserError

DEEPEST = 32


class RHN(Cell, name="rhn"):
    """The recurrent highway network: `depth` highway layers within a step.

    Zilly et al. 2017, arXiv 1607.03474, equations 6 to 9, carry coupled to transform (c = 1 - t); the input enters the
    first layer.

    n = tanh([W_n x] + U_n s + b);  t = sigmoid([W_t x] + U_t s + b);  s' = n t + s (1 - t)

    Options: `depth`: highway layers a step; `transform_bias`: the initial bias of t in every layer.
    """

    gates = ("n", "t")
    depth: int = 3
    transform_bias: float = -2.0

    def step(self, x, h: Tensor):
        if not 1 <= self.depth <= DEEPEST:
            raise UserError(f"rhn:depth={self.depth} must be from 1 to {DEEPEST}")
        for layer in range(1, self.depth + 1):
            u = self.recur("n", "t", of=h, name=f"U{layer}")
            bias_n, bias_t = (x.n, x.t) if layer == 1 else (self.vector("n", layer), self.vector("t", layer))
            n = tap(f"n{layer}", tanh(bias_n + u.n))
            t = tap(f"t{layer}", sigmoid(bias_t + u.t))
            h = n * t + h * (1 - t)
        return (h,)

    def vector(self, gate: str, layer: int) -> Tensor:
        """The bias of a gate in a later layer, which has no input projection."""
        return getattr(self, f"p_{gate}{layer}")

    @property
    def start(self) -> Start:
        later = {f"p_t{layer}": self.transform_bias for layer in range(2, self.depth + 1)}
        return {"t": self.transform_bias, **later}
