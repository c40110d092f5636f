"""A task of one's own in one file: a variational autoencoder (Kingma & Welling 2014) whose decoder paints an image line
by line.

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
class VaeOptions(NetworkOptions):
    """The hyper-parameters and their defaults; cell, hidden, batch_size and others are those of every network."""

    latent_size: PositiveInt = 8
    """Size of the latent vector of an image."""


@dataclass(frozen=True, kw_only=True)
class VaeSpec(Spec):
    """hidden: units of both layers; height, width: of an image. `config.json` stores it."""

    options: VaeOptions
    hidden: PositiveInt
    height: PositiveInt
    width: PositiveInt


class VaeModel(Model, Previews):
    """Encoder and decoder, each a recurrent layer over the lines of an image; a latent vector between them."""

    def __init__(self, spec: VaeSpec):
        super().__init__(spec)
        options = spec.options
        self.encoder = options.recurrent(spec.width, spec.hidden)
        self.posterior = nn.Linear(spec.hidden, 2 * options.latent_size)
        self.decoder = options.recurrent(options.latent_size, spec.hidden)
        self.line = nn.Linear(spec.hidden, spec.width)

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """The negative evidence lower bound of an image, in nats. image: (B, H, W) uint8."""
        x = batch["image"] / 255
        mean, log_std = self.posterior(self.encoder(x)[0][:, -1]).float().chunk(2, -1)
        latent = mean + log_std.exp() * self.noise(mean, context)
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(1)
        nats = F.binary_cross_entropy_with_logits(self.decode(latent), x, reduction="none").sum((1, 2))
        return Loss(
            mean=(nats + kl).mean(),
            count=torch.tensor(len(x), device=x.device),
            sums={"loss": (nats + kl).sum(), "reconstruction": nats.sum(), "kl": kl.sum()},
        )

    def decode(self, latent: Tensor) -> Tensor:
        """The logits (B, H, W) of the pixels, from latent vectors (B, Z): every line is given the same one."""
        return self.line(self.decoder(latent[:, None].expand(-1, self.spec.height, -1))[0]).float()

    def noise(self, like: Tensor, context: Context) -> Tensor:
        """Standard normal numbers; in validation and previews those of the context, the same each time."""
        if context.generator is None:
            return torch.randn_like(like)
        return torch.randn(like.shape, generator=context.generator).to(like)

    def preview(self, context: Context) -> Images:
        """Images of the prior, painted without an input."""
        prior = self.line.weight.new_empty(PREVIEWED, self.spec.options.latent_size)
        return Images((self.decode(self.noise(prior, context)).sigmoid() * 255).byte().cpu().numpy())


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


class Vae(Task, kind="vae", summary="images, by a variational autoencoder"):
    """Generation of images."""

    Options, Spec, Model = VaeOptions, VaeSpec, VaeModel
    unit = "image"
    clip = 10.0

    def prepare(self, paths: list[str], options: VaeOptions, budget: float | None = None, seed: int = 0) -> Dataset:
        sources = splits(paths, options, seed)
        height, width = sources["train"].images.shape[1:]
        spec = VaeSpec(options=options.resolved(), hidden=options.hidden or 64, height=height, width=width)
        return Dataset(sources["train"], sources["valid"], None, spec, sources["train"].key, paths)

    def source(self, spec: VaeSpec, paths: list[str], split: str | None, reading: Reading = Reading()) -> Source | None:
        return splits(paths, spec.options)[split or "all"] if split != "test" else None


def splits(paths: list[str], options: VaeOptions, seed: int = 0) -> dict[str, ShuffledImages]:
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
    trained = elman.train(Vae, sys.argv[1:], for_="60s", lr=0.003)
    print(f"images painted while training: {trained.path}/previews")
