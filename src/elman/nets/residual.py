"""An image as a grid of vectors, by a small residual network (He et al. 2016) that is trained with its task."""

from torch import Tensor, nn
from torch.nn import functional as F

from elman.nets.grid import Encoder, with_coordinates

WIDTHS = (32, 64, 128)  # channels after each halving of the image
KERNELS = (3, 1, 3)  # of the second convolution of each block; the receptive field is 28 pixels, about one object
MOMENTUM = 0.3  # of the running mean and variance: in minutes of training the weights move fast
STRIDE = 2 ** len(WIDTHS)


class Residual(Encoder):
    """Pixels (B, 3, S, S), 0 to 255, give a grid of L = (S / 8)^2 positions."""

    def __init__(self):
        super().__init__()
        blocks = zip((3, *WIDTHS), WIDTHS, KERNELS, strict=False)
        self.blocks = nn.Sequential(*(Block(*sizes) for sizes in blocks))
        self.size = WIDTHS[-1] + 2

    def forward(self, pixels: Tensor) -> Tensor:
        """See `Residual`."""
        # not channels_last, though a fifth faster: with it torch 2.13 on a CPU with two threads corrupts its memory
        found = self.blocks(pixels.float() / 127.5 - 1)
        return with_coordinates(found.flatten(2).transpose(1, 2))


class Block(nn.Module):
    """Two convolutions and a shortcut; the image becomes half as wide. Halving takes squares that do not overlap, so
    that a position lies in the middle of its receptive field."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 2, 2, bias=False)
        self.second = nn.Conv2d(outputs, outputs, kernel, 1, kernel // 2, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 2, 2, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs, momentum=MOMENTUM) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, S, S) gives (B, O, S / 2, S / 2)."""
        inside = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(inside + self.norms[2](self.shortcut(x)))
