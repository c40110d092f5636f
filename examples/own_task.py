"""A task of one's own in one file: images, drawn in steps (DRAW, Gregor et al. 2015, without its attention).

python examples/own_task.py images.npz

The file has an array `images` (N, H, W) uint8. Without one, images of rectangles are drawn.
"""

import hashlib
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import elman
from elman import UserError
from elman.data.source import Batch, Source
from elman.options import PositiveInt
from elman.recurrent.state import State
from elman.tasks.capabilities import Images, Previews
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.network import NetworkOptions
from elman.tasks.spec import Spec
from elman.tasks.task import Dataset, Reading, Task

PREVIEWED = 16  # images of a preview


@dataclass(frozen=True)
class DrawOptions(NetworkOptions):
    """The hyper-parameters and their defaults; cell, hidden, batch_size and others are those of every network."""

    time_steps: PositiveInt = 6
    """Time steps, each of which reads the image and adds to the canvas."""
    latent_size: PositiveInt = 8
    """Size of the latent vector of a time step."""


@dataclass(frozen=True, kw_only=True)
class DrawSpec(Spec):
    """hidden: units of both layers; height, width: of an image. `config.json` stores it."""

    options: DrawOptions
    hidden: PositiveInt
    height: PositiveInt
    width: PositiveInt


class DrawModel(Model, Previews):
    """Encoder and decoder, each a recurrent layer; a latent vector and a change of the canvas at each time step."""

    def __init__(self, spec: DrawSpec):
        super().__init__(spec)
        options, pixels = spec.options, spec.height * spec.width
        self.encoder = options.recurrent(2 * pixels + spec.hidden, spec.hidden)
        self.posterior = nn.Linear(spec.hidden, 2 * options.latent_size)
        self.decoder = options.recurrent(options.latent_size, spec.hidden)
        self.write = nn.Linear(spec.hidden, pixels)

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """The negative evidence lower bound of an image, in nats. image: (B, H, W) uint8."""
        x = batch["image"].flatten(1) / 255  # (B, P)
        rows, encoder, decoder = len(x), self.encoder.stepper(), self.decoder.stepper()
        read, drawn = encoder.begin(rows), decoder.begin(rows)
        canvas, kl = torch.zeros_like(x), x.new_zeros(rows)
        output = x.new_zeros(rows, self.spec.hidden)
        for _ in range(self.spec.options.time_steps):
            error = x - canvas.sigmoid()
            encoded, read = encoder.step(torch.cat((x, error, output), 1), read)
            mean, log_std = self.posterior(encoded).chunk(2, -1)
            kl = kl + 0.5 * (mean**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(1)
            latent = mean + log_std.exp() * self.noise(mean, context)
            output, drawn = decoder.step(latent, drawn)
            canvas = canvas + self.write(output)
        nats = F.binary_cross_entropy_with_logits(canvas, x, reduction="none").sum(1)
        return Loss(
            mean=(nats + kl).mean(),
            count=torch.tensor(rows, device=x.device),
            sums={"loss": (nats + kl).sum(), "reconstruction": nats.sum(), "kl": kl.sum()},
        )

    def noise(self, like: Tensor, context: Context) -> Tensor:
        """Standard normal numbers; in validation and previews those of the context, the same each time."""
        if context.generator is None:
            return torch.randn_like(like)
        return torch.randn(like.shape, generator=context.generator).to(like)

    def preview(self, context: Context) -> Images:
        """Images of the prior, drawn without an input."""
        prior, decoder = self.write.weight.new_empty(PREVIEWED, self.spec.options.latent_size), self.decoder.stepper()
        drawn, canvas = decoder.begin(PREVIEWED), self.write.bias.new_zeros(())
        for _ in range(self.spec.options.time_steps):
            output, drawn = decoder.step(self.noise(prior, context), drawn)
            canvas = canvas + self.write(output)
        pixels = (canvas.sigmoid() * 255).byte().cpu().numpy()
        return Images(pixels.reshape(PREVIEWED, self.spec.height, self.spec.width))


class ShuffledImages(Source):
    """Images (N, H, W) in batches, in another order each epoch."""

    def __init__(self, images: np.ndarray, batch_size: int, key: str, seed: int = 0):
        self.images, self.batch_size, self.key, self.seed = images, batch_size, key, seed

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __str__(self) -> str:
        return f"{len(self.images):,} images, {len(self):,} batches an epoch"

    def batch(self, epoch: int, index: int) -> Batch:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        return {"image": torch.from_numpy(self.images[chosen])}


class Draw(Task, kind="draw", summary="images, drawn in steps (DRAW)"):
    """Generation of images."""

    Options, Spec, Model = DrawOptions, DrawSpec, DrawModel
    unit = "image"
    clip = 10.0

    def prepare(self, paths: list[str], options: DrawOptions, budget: float | None = None, seed: int = 0) -> Dataset:
        sources = splits(paths, options, seed)
        height, width = sources["train"].images.shape[1:]
        spec = DrawSpec(options=options.resolved(), hidden=options.hidden or 64, height=height, width=width)
        return Dataset(sources["train"], sources["valid"], None, spec, sources["train"].key, paths)

    def source(
        self, spec: DrawSpec, paths: list[str], split: str | None, reading: Reading = Reading()
    ) -> Source | None:
        return splits(paths, spec.options)[split or "all"] if split != "test" else None


def splits(paths: list[str], options: DrawOptions, seed: int = 0) -> dict[str, ShuffledImages]:
    """The last tenth of the images for validation, the others for training; and all of them."""
    images = read(paths[0]) if paths else rectangles()
    key = hashlib.blake2b(images.tobytes(), digest_size=16).hexdigest()  # names the content
    train = len(images) * 9 // 10
    parts = {"train": images[:train], "valid": images[train:], "all": images}
    return {name: ShuffledImages(part, options.batch_size, key, seed) for name, part in parts.items()}


def read(path: str) -> np.ndarray:
    """The array `images` of an .npz file."""
    try:
        with np.load(path) as file:
            images = file["images"]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no .npz file with an array `images`: {error}") from None
    if images.ndim != 3 or images.dtype != np.uint8 or len(images) < 10:
        raise UserError(f"{path}: images must be at least 10 of (H, W) uint8, not {images.shape} {images.dtype}")
    return images


def rectangles(count: int = 400, size: int = 12) -> np.ndarray:
    """Images (count, size, size) of one rectangle each."""
    random = np.random.default_rng(0)
    images = np.zeros((count, size, size), np.uint8)
    for image in images:
        (top, bottom), (left, right) = np.sort(random.choice(size + 1, (2, 2), replace=True), 1)
        image[top : bottom + 1, left : right + 1] = 255
    return images


if __name__ == "__main__":
    trained = elman.train(Draw, sys.argv[1:], for_="60s", lr=0.003)
    print(f"images drawn while training: {trained.path}/previews")
