"""A small image as a grid of vectors, by three convolutions that are trained with their task."""

from torch import Tensor, nn

from elman.nets.grid import Encoder, with_coordinates
from elman.nets.residual import MOMENTUM

WIDTHS = (16, 32, 32)  # channels after each convolution
KERNELS, STRIDES = (5, 3, 3), (2, 2, 1)


class Shallow(Encoder):
    """Pixels (B, C, S, S), 0 to 255, give a grid of L = `positions(S)`, about (S / 4)^2."""

    def __init__(self, channels: int = 3):
        """channels: C."""
        super().__init__()
        sizes = zip((channels, *WIDTHS), WIDTHS, KERNELS, STRIDES, strict=False)
        self.layers = nn.Sequential(*(self._layer(*each) for each in sizes))
        self.size = WIDTHS[-1] + 2

    @staticmethod
    def _layer(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs, momentum=MOMENTUM), nn.ReLU())

    def forward(self, pixels: Tensor) -> Tensor:
        """See `Shallow`."""
        return with_coordinates(self.layers(pixels.float() / 127.5 - 1).flatten(2).transpose(1, 2))


def positions(size: int) -> int:
    """L for images of `size` pixels per side."""
    for stride in STRIDES:
        size = -(-size // stride)
    return size**2
