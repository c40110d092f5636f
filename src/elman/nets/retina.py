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

    def prepare(self, images: Tensor) -> list[Tensor]:
        """Of images (N, C, S, S), what `glimpse` reads: for each scale k the sum over every square of 2^k pixels per
        side that touches the image, (N, C, S + 2^k - 1, S + 2^k - 1), with which a wide patch costs no more than a
        narrow one."""
        levels = [images]
        for scale in range(1, len(self.widths)):
            apart = 1 << (scale - 1)
            level = F.pad(levels[-1], [apart] * 4)
            level = level[..., :-apart] + level[..., apart:]
            levels.append(level[..., :-apart, :] + level[..., apart:, :])
        return levels

    def glimpse(self, levels: Sequence[Tensor], location: Tensor, of: Tensor) -> Tensor:
        """The patches (B, K C g g) around locations (B, 2). `levels`: from `prepare`; `of` (B,): the index of the image
        of each."""
        centre, found = (location.float().clamp(-1, 1) + 1) * (self.image_size / 2), list[Tensor]()
        steps = torch.arange(self.size, device=location.device)
        for scale, (level, width) in enumerate(zip(levels, self.widths, strict=True)):
            channels, side = level.shape[1], level.shape[-1]
            first = (centre - (width - 1) / 2).floor().long() + (1 << scale) - 1  # (B, 2): left, top
            across, down = (edge[:, None] + (steps << scale) for edge in first.unbind(1))
            inside = ((down >= 0) & (down < side))[:, :, None] & ((across >= 0) & (across < side))[:, None]  # (B, g, g)
            pixel = torch.where(inside, down[:, :, None] * side + across[:, None], 0)[:, None]
            plane = of[:, None] * channels + torch.arange(channels, device=location.device)  # (B, C)
            index = plane[:, :, None, None] * side**2 + pixel
            patches = level.flatten().index_select(0, index.flatten()).view(index.shape)
            found.append((torch.where(inside[:, None], patches, 0) / 4**scale).flatten(1))
        return torch.cat(found, 1)
