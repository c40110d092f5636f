"""A picture as a grid of vectors, by a small residual network (He et al. 2016) that is trained with its task."""

from torch import Tensor, nn
from torch.nn import functional as F

from elman.nets.grid import Encoder, placed

WIDTHS = (32, 64, 128)  # of the vectors, after each halving of the picture
AROUND = (3, 1, 3)  # places that the second convolution of a block sees across: 28 pixels in all, about one thing
FRESH = 0.3  # share of the last batch in the running mean and variance: in minutes of training weights move fast
HALVED = 2 ** len(WIDTHS)


class Residual(Encoder):
    """pixels (B, 3, S, S), 0 to 255, give a grid of L = (S / 8)^2 places."""

    def __init__(self):
        super().__init__()
        blocks = zip((3, *WIDTHS), WIDTHS, AROUND, strict=False)
        self.blocks = nn.Sequential(*(Block(*sizes) for sizes in blocks))
        self.size = WIDTHS[-1] + 2

    def forward(self, pixels: Tensor) -> Tensor:
        # not channels_last, though a fifth faster: with it torch 2.13 on a CPU with two threads corrupts its memory
        found = self.blocks(pixels.float() / 127.5 - 1)
        return placed(found.flatten(2).transpose(1, 2))


class Block(nn.Module):
    """Two convolutions around which what went in is added to what comes out; the picture becomes half as wide. What is
    halved is taken in squares that do not overlap, so that a place lies in the middle of all that it sees."""

    def __init__(self, inputs: int, outputs: int, around: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 2, 2, bias=False)
        self.second = nn.Conv2d(outputs, outputs, around, 1, around // 2, bias=False)
        self.beside = nn.Conv2d(inputs, outputs, 2, 2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs, momentum=FRESH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, S, S) gives (B, O, S / 2, S / 2)."""
        inside = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(inside + self.norms[2](self.beside(x)))
