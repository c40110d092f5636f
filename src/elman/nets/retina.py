"""The retina of the recurrent attention model: patches around a location, at several scales (Mnih et al. 2014).

Shapes: N images, B glimpses, C channels, S pixels per side of an image, K scales, g pixels per side of a patch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


class Retina:
    """K square patches around a location, the first of g x g pixels and each next twice as wide, all averaged to g x g
    (section 3.1, rho). A patch may reach over the border: pixels outside of the image are 0.

    A location (x, y) is (0, 0) at the centre of the image and (-1, -1) at its top left corner; one outside of the image
    is moved to its border. A patch begins at a whole pixel.
    """

    def __init__(self, size: int, scales: int, image_size: int):
        self.size, self.image_size = size, image_size
        self.widths = tuple(size << scale for scale in range(scales))
        self.padding = self.widths[-1] // 2 + 1
        self.side = image_size + 2 * self.padding

    def prepare(self, images: Tensor) -> list[Tensor]:
        """Of images (N, C, S, S), what `glimpse` reads: for each scale the mean over a square of pixels at every
        position, with which a wide patch costs no more than a narrow one."""
        levels = [F.pad(images, [self.padding] * 4)]
        for scale in range(1, len(self.widths)):
            level, apart = levels[-1], 1 << (scale - 1)
            level = level + level.roll(-apart, -1)  # what is rolled over the edge is never read
            levels.append((level + level.roll(-apart, -2)) / 4)
        return [level.flatten(1) for level in levels]

    def glimpse(self, levels: Sequence[Tensor], location: Tensor, of: Tensor) -> Tensor:
        """The patches (B, K C g g) around locations (B, 2). `levels`: from `prepare`; `of` (B,): the index of the image
        of each."""
        area, found = self.side * self.side, list[Tensor]()
        channels = torch.arange(levels[0].shape[1] // area, device=location.device) * area
        centre = (location.float().clamp(-1, 1) + 1) * (self.image_size / 2) + self.padding
        first, steps = of[:, None] * levels[0].shape[1] + channels, torch.arange(self.size, device=location.device)
        for scale, (level, width) in enumerate(zip(levels, self.widths, strict=True)):
            left, top = (centre - (width - 1) / 2).floor().long().unbind(1)
            across, down = (edge[:, None] + (steps << scale) for edge in (left, top))
            pixel = down[:, :, None] * self.side + across[:, None]  # (B, g, g)
            index = first[:, :, None, None] + pixel[:, None]
            found.append(level.flatten().index_select(0, index.flatten()).view(len(of), -1))
        return torch.cat(found, 1)
