"""The networks of the recurrent attention model: an image is read in glimpses (Mnih et al. 2014), whose locations are
chosen in one of three ways.

Shapes: N images of (C, S, S), B runs over them (N, or a multiple), T glimpses, K scales, G numbers of a glimpse,
H hidden size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.nets.attention import at_least_float32
from elman.nets.filterbank import GaussianFilterbank
from elman.nets.reinforce import surrogate
from elman.nets.retina import Retina
from elman.recurrent.layer import Recurrent

PARTS = 128  # units of the glimpse network for what a glimpse shows, and for its location


@dataclass(frozen=True, eq=False)
class Choice:
    """How locations are chosen.

    - of: (B,), the index of the image of each run
    - sampled: whether locations are sampled; otherwise they are the mean
    - generator: of the random numbers, on the CPU; None for torch's own
    """

    of: Tensor
    sampled: bool = True
    generator: torch.Generator | None = None

    def draw(self, random: Any) -> Tensor:
        """Random numbers (B, 2) by `torch.randn` or `torch.rand`, the same on every device where there is a
        generator."""
        device = self.of.device if self.generator is None else self.generator.device
        return random(len(self.of), 2, generator=self.generator, device=device).to(self.of.device)


@dataclass(frozen=True, eq=False)
class Path:
    """The glimpses of a batch.

    - vector: (B, T, I), of each glimpse, the input of the core
    - output: (B, T, H), of the core after each glimpse
    - before: (B, T, H), of the core before each glimpse, from which its location is chosen
    - location: (B, T, 2), the centre, (-1, -1) at the top left corner of the image
    - width: (B, T, K), of each patch, in pixels
    """

    vector: Tensor
    output: Tensor
    before: Tensor
    location: Tensor
    width: Tensor


class GlimpseNetwork(nn.Module):
    """g = ReLU(W ReLU(W patches) + W ReLU(W location)) (section 3.1)."""

    def __init__(self, patches: int, location: int, size: int):
        super().__init__()
        self.patches, self.location = nn.Linear(patches, PARTS), nn.Linear(location, PARTS)
        self.of_patches, self.of_location = nn.Linear(PARTS, size), nn.Linear(PARTS, size)

    def forward(self, patches: Tensor, location: Tensor) -> Tensor:
        """The vector (..., size) of glimpses: patches (..., G), location (..., 2)."""
        what, where = F.relu(self.patches(patches)), F.relu(self.location(location))
        return F.relu(self.of_patches(what) + self.of_location(where))


class GlimpseAttention(nn.Module):
    """Reads images in glimpses with a core, a `Recurrent`.

    - options: glimpses, glimpse_size, and those of a variant
    - size: of the vector of a glimpse
    """

    network: GlimpseNetwork

    def read(self, images: Tensor, core: Recurrent, choice: Choice) -> Path:
        """The glimpses of images (N, C, S, S), from 0 to 1."""
        raise NotImplementedError

    def penalty(self, path: Path, reward: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What is added to the mean loss, and sums over the runs, to be logged; reward (B,)."""
        return reward.new_zeros(()), {}


class RandomAttention(GlimpseAttention):
    """Uniformly random locations."""

    def __init__(self, options: Any, channels: int, image_size: int, hidden: int, size: int):
        super().__init__()
        self.steps = options.glimpses
        self.retina = Retina(options.glimpse_size, options.scales, image_size)
        self.network = GlimpseNetwork(options.scales * channels * options.glimpse_size**2, 2, size)

    def locate(self, output: Tensor, choice: Choice) -> Tensor:
        """The next location (B, 2) after an output (B, H) of the core."""
        return 2 * choice.draw(torch.rand) - 1

    def read(self, images: Tensor, core: Recurrent, choice: Choice) -> Path:
        """No gradient passes through a location, so glimpses are found in a first pass without one; then all of them
        are encoded, and the core runs over them, in one call. Both passes give the same outputs unless the cell draws
        random numbers."""
        found = self._explore(images, core, choice)
        location, patches, vector, output = (torch.stack(each, 1) for each in zip(*found, strict=True))
        if torch.is_grad_enabled():
            vector = self.encode(patches, location)
            output, _ = core(vector)
        first = core.initial_output(len(choice.of))[:, None]
        width = location.new_tensor(self.retina.widths).expand(*location.shape[:2], -1)
        return Path(vector, output, torch.cat((first, output[:, :-1]), 1), location, width)

    def encode(self, patches: Tensor, location: Tensor) -> Tensor:
        """The vectors (..., I) of glimpses; a location outside of the image is moved to its border."""
        return self.network(patches, location.clamp(-1, 1))

    @torch.no_grad()
    def _explore(self, images: Tensor, core: Recurrent, choice: Choice) -> list[tuple[Tensor, ...]]:
        """Location, patches, vector and output of each glimpse."""
        levels, stepper, found = self.retina.prepare(images), core.stepper(), list[tuple[Tensor, ...]]()
        state = stepper.begin(choice.of)
        output = core.initial_output(len(choice.of))
        for _ in range(self.steps):
            location = self.locate(output, choice)
            patches = self.retina.glimpse(levels, location, choice.of)
            vector = self.encode(patches, location)
            output, state = stepper.step(vector, state)
            found.append((location, patches, vector, output))
        return found


class HardAttention(RandomAttention):
    """A location is sampled from a normal distribution of fixed deviation whose mean is a function of the output of
    the core; learned by REINFORCE, the reward of a run being 1 where its class is right (sections 3.1 and 3.2).

    The gradient of the locations and of the baseline does not reach the core, and that of the classes does not reach
    the locations. Before the first glimpse the output of the core is 0, so the first location is learned too.
    """

    def __init__(self, options: Any, channels: int, image_size: int, hidden: int, size: int):
        super().__init__(options, channels, image_size, hidden, size)
        self.location, self.baseline = nn.Linear(hidden, 2), nn.Linear(hidden, 1)
        nn.init.zeros_(self.location.bias)
        self.deviation, self.weight = options.location_std, options.reinforce_weight

    def mean(self, output: Tensor) -> Tensor:
        """The mean of the next location (..., 2), at least float32."""
        return torch.tanh(at_least_float32(self.location(output)))

    def locate(self, output: Tensor, choice: Choice) -> Tensor:
        mean = self.mean(output)
        return mean + self.deviation * choice.draw(torch.randn) if choice.sampled else mean

    def penalty(self, path: Path, reward: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared error of the baseline, mean over the glimpses, less the weighted surrogate of REINFORCE."""
        output, reward = path.before.detach(), reward[:, None].expand(path.location.shape[:2])
        baseline = at_least_float32(self.baseline(output))[..., 0]
        distance = (path.location - self.mean(output)) / self.deviation
        log_probability = -distance.square().sum(-1) / 2  # without its constant
        objective = surrogate(log_probability, reward - baseline.detach())
        error = (baseline - reward).square().mean(1)
        return error.mean() - self.weight * objective, {"baseline": error.sum()}


class SoftAttention(GlimpseAttention):
    """The window of DRAW: a grid of Gaussian filters whose position and width are a function of the output of the core,
    learned by back-propagation (Gregor et al. 2015, section 3.2)."""

    def __init__(self, options: Any, channels: int, image_size: int, hidden: int, size: int):
        super().__init__()
        self.steps, self.image_size = options.glimpses, image_size
        self.window = GaussianFilterbank(hidden, options.glimpse_size, image_size, image_size)
        self.network = GlimpseNetwork(channels * options.glimpse_size**2, 3, size)

    def read(self, images: Tensor, core: Recurrent, choice: Choice) -> Path:
        stepper, images = core.stepper(), images[choice.of]
        state = stepper.begin(choice.of)
        outputs, found, vectors = [core.initial_output(len(choice.of))], list[Tensor](), list[Tensor]()
        for _ in range(self.steps):
            window = self.window(outputs[-1])
            sides = torch.cat((2 * window.centre + 1, window.stride[:, None]), 1) / self.image_size
            found.append(sides - sides.new_tensor((1.0, 1.0, 0.0)))
            vectors.append(self.network(window.read(images).flatten(1), found[-1]))
            output, state = stepper.step(vectors[-1], state)
            outputs.append(output)
        location = torch.stack(found, 1)
        width = location[..., 2:] * (self.image_size * self.window.size)
        output, before = torch.stack(outputs[1:], 1), torch.stack(outputs[:-1], 1)
        return Path(torch.stack(vectors, 1), output, before, location[..., :2], width)


ATTENTION: dict[str, type[RandomAttention] | type[SoftAttention]] = {
    "hard": HardAttention, "soft": SoftAttention, "random": RandomAttention
}  # fmt: skip
