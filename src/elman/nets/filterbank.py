"""The differentiable window of DRAW: a grid of N x N Gaussian filters, from which an image is read and to which a patch
is written (Gregor et al. 2015, section 3.2).

Shapes: B rows, C channels of an image of height A and width W, N filters a side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.nets.attention import at_least_float32

LARGEST = 8.0  # absolute value of a logarithm: exp stays finite, and the narrowest filter is a single pixel


@dataclass(frozen=True, eq=False)
class Window:
    """The filters of a batch.

    - x, y: (B, N, W) and (B, N, A), at least float32; each row sums to 1
    - gain: (B,), gamma of the paper
    - centre: (B, 2), of the grid, x first, in pixels; the first pixel is at 0
    - stride: (B,), delta: pixels from one filter to the next
    - deviation: (B,), sigma of a filter, in pixels
    """

    x: Tensor
    y: Tensor
    gain: Tensor
    centre: Tensor
    stride: Tensor
    deviation: Tensor

    def read(self, image: Tensor) -> Tensor:
        """The patch (B, C, N, N) of an image (B, C, A, W): gamma F_Y x F_X^T (equation 27)."""
        rows, channels, height, width = image.shape
        columns = torch.bmm(image.reshape(rows, channels * height, width), self.x.transpose(1, 2).to(image.dtype))
        patch = self.y[:, None].to(columns.dtype) @ columns.view(rows, channels, height, -1)
        return self.gain[:, None, None, None].to(patch.dtype) * patch

    def write(self, patch: Tensor) -> Tensor:
        """The image (B, C, A, W) of a patch (B, C, N, N): F_Y^T w F_X / gamma (equation 29)."""
        rows, channels, size, _ = patch.shape
        patch = patch / self.gain[:, None, None, None].to(patch.dtype)
        lines = torch.bmm(patch.reshape(rows, channels * size, size), self.x.to(patch.dtype))
        return self.y[:, None].transpose(2, 3).to(lines.dtype) @ lines.view(rows, channels, size, -1)

    def boxes(self) -> Tensor:
        """The box (B, 4) of each grid, with half a stride around the outer filters: left, top, right, bottom, in
        pixels, from the left upper corner of the first pixel."""
        half = (self.x.shape[1] * self.stride / 2)[:, None]
        return torch.cat((self.centre - half, self.centre + half), 1) + 0.5


class GaussianFilterbank(nn.Module):
    """A window whose position, stride, width and gain are a linear function of an output (B, H).

    The paper counts pixels and filters from 1; here both are counted from 0, so the centre is 1 less, and filter i is
    (i - (N - 1) / 2) strides from it. At weights of 0 the grid is spread evenly over the whole image.

    - size: N
    - height, width: of the image, in pixels
    """

    def __init__(self, hidden: int, size: int, height: int, width: int):
        super().__init__()
        self.size, self.height, self.width = size, height, width
        self.of_output = nn.Linear(hidden, 5)

    def forward(self, output: Tensor) -> Window:
        """The window for an output (B, H), at least in float32: bfloat16 would move it by a tenth of a pixel."""
        with torch.autocast(output.device.type, enabled=False):
            wide = at_least_float32(output)
            return self.window(F.linear(wide, self.of_output.weight.to(wide), self.of_output.bias.to(wide)))

    def window(self, parameters: Tensor) -> Window:
        """The window of parameters (B, 5): g_X, g_Y, log sigma^2, log delta, log gamma (equations 21 to 26)."""
        position, logs = parameters[:, :2], parameters[:, 2:].clamp(-LARGEST, LARGEST)
        variance, step, gain = logs.exp().unbind(1)
        sides = parameters.new_tensor((self.width, self.height))
        centre = (sides + 1) / 2 * (position + 1) - 1
        stride = step * (max(self.width, self.height) - 1) / max(self.size - 1, 1)
        x = self._filters(centre[:, 0], stride, variance, self.width)
        y = self._filters(centre[:, 1], stride, variance, self.height)
        return Window(x, y, gain, centre, stride, variance.sqrt())

    def _filters(self, centre: Tensor, stride: Tensor, variance: Tensor, pixels: int) -> Tensor:
        """F (B, N, pixels). A softmax normalises each row to 1 also where every value would underflow to 0: a filter
        outside of the image reads its nearest pixel."""
        number = torch.arange(self.size, device=centre.device) - (self.size - 1) / 2
        mean = centre[:, None] + number * stride[:, None]  # (B, N)
        distance = torch.arange(pixels, device=centre.device) - mean[..., None]
        return (-distance.square() / (2 * variance[:, None, None])).softmax(-1)
