"""Reading from an image and writing to a canvas at a step of DRAW, with a window and without (Gregor et al. 2015,
sections 3.1 and 3.2).

Shapes: B rows, C channels of S x S pixels, P = C S S, N filters a side, H size of the decoder's output.
"""

import torch
from torch import Tensor, nn

from elman.nets.filterbank import GaussianFilterbank, Window


class FullRead(nn.Module):
    """Reads all pixels of the image and of the error, x - sigma(canvas), through a linear layer.

    The paper gives them to the encoder as they are. Through the layer, x, which is the same at every step, is
    multiplied once, and the encoder has fewer weights.

    - size: of what is read
    """

    def __init__(self, channels: int, image_size: int, hidden: int):
        super().__init__()
        self.size = hidden
        pixels = channels * image_size**2
        self.of_image, self.of_painted = nn.Linear(pixels, hidden), nn.Linear(pixels, hidden, bias=False)

    def begin(self, image: Tensor) -> Tensor:
        """What is the same at every step, for an image (B, C, S, S)."""
        return self.of_image(image.flatten(1))

    def forward(self, begun: Tensor, painted: Tensor, output: Tensor) -> tuple[Tensor, Window | None]:
        """What the encoder is given (B, size), from sigma(canvas) (B, C, S, S) and the decoder's output (B, H)."""
        return begun - self.of_painted(painted.flatten(1)), None


class WindowRead(nn.Module):
    """Reads a patch of N x N of the image and of the error through a window; see `FullRead`."""

    def __init__(self, channels: int, image_size: int, hidden: int, patch_size: int):
        super().__init__()
        self.size = 2 * channels * patch_size**2
        self.bank = GaussianFilterbank(hidden, patch_size, image_size, image_size)

    def begin(self, image: Tensor) -> Tensor:
        """The image."""
        return image

    def forward(self, begun: Tensor, painted: Tensor, output: Tensor) -> tuple[Tensor, Window | None]:
        """See `FullRead`."""
        window = self.bank(output)
        return window.read(torch.cat((begun, begun - painted), 1)).flatten(1), window


class FullWrite(nn.Module):
    """Adds a linear function of the decoder's output to the canvas."""

    def __init__(self, channels: int, image_size: int, hidden: int):
        super().__init__()
        self.shape = (channels, image_size, image_size)
        self.of_output = nn.Linear(hidden, channels * image_size**2)

    def forward(self, output: Tensor) -> tuple[Tensor, Window | None]:
        """The change of the canvas (B, C, S, S) for an output (B, H)."""
        return self.of_output(output).view(-1, *self.shape), None


class WindowWrite(nn.Module):
    """Adds a patch of N x N to the canvas, through a window of its own."""

    def __init__(self, channels: int, image_size: int, hidden: int, patch_size: int):
        super().__init__()
        self.shape = (channels, patch_size, patch_size)
        self.bank = GaussianFilterbank(hidden, patch_size, image_size, image_size)
        self.of_output = nn.Linear(hidden, channels * patch_size**2)

    def forward(self, output: Tensor) -> tuple[Tensor, Window | None]:
        """See `FullWrite`."""
        window = self.bank(output)
        return window.write(self.of_output(output).view(-1, *self.shape)), window
