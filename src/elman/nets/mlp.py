"""An image as one vector, by a layer over all of its pixels."""

from torch import Tensor, nn
from torch.nn import functional as F

from elman.nets.grid import Encoder


class MLP(Encoder):
    """Pixels (B, C, S, S), 0 to 255, give a grid (B, 1, hidden) of a single position: relu(W x + b)."""

    def __init__(self, pixels: int, hidden: int):
        """pixels: C S S."""
        super().__init__()
        self.size = hidden
        self.layer = nn.Linear(pixels, hidden)

    def forward(self, pixels: Tensor) -> Tensor:
        """See `MLP`."""
        return F.relu(self.layer(pixels.flatten(1).float() / 127.5 - 1))[:, None]
