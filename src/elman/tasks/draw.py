"""Images, painted in steps: DRAW (Gregor et al. 2015)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.image import LazyImage
from elman.data.image_shape import choose_shape
from elman.data.pixels import Pixels
from elman.data.rows import Field
from elman.data.source import Batch, Source
from elman.data.table import Table
from elman.data.table_reader import TableOptions
from elman.log import Log
from elman.nets.draw import FullRead, FullWrite, WindowRead, WindowWrite
from elman.nets.filterbank import Window
from elman.options import NotWith, OnlyWith, PositiveInt, Share, at_most
from elman.recurrent.state import State
from elman.tasks.capabilities import GeneratesImages, Images, Painting, Previews
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.network import NetworkOptions
from elman.tasks.spec import Spec
from elman.tasks.tables import TableTask

LARGEST = 64  # pixels per side
AVERAGED, EXTREME = 50, 0.002  # batches, and the value next to 0 or 1, of the mean of the images
PREVIEWED = 64  # images of a preview
LOG_DEVIATION = (-6.0, 3.0)  # of a latent variable: exp stays finite, the KL divergence small enough to return from
BINARIZED = 1  # channels of images that are binarized by default: strokes of grey, not photographs

PatchSize = Annotated[PositiveInt, at_most(LARGEST), OnlyWith("attention")]


@dataclass(frozen=True)
class DrawOptions(NetworkOptions, TableOptions):
    """Options of the data and the network. None: chosen from the data."""

    image_column: str | None = None
    """The column of the images; the one that has some when not given."""
    image_size: Annotated[PositiveInt, at_most(LARGEST)] | None = None
    """Pixels per side to which images are resized. Default: their own size where all have the same, at most 64."""
    binarize: Literal["sampled", "none"] | None = None
    """Values of pixels: 0 or 1, sampled with the value as probability, again at each update and with a fixed seed in
    validation (sampled), or the values themselves (none). Default: sampled for grey images, none for colour."""
    attention: bool = False
    """Read and write through a window of Gaussian filters, instead of the whole image."""
    read_size: PatchSize = 5
    """Filters per side of the window that reads."""
    write_size: PatchSize = 5
    """Filters per side of the window that writes."""
    time_steps: Annotated[PositiveInt, at_most(1000)] = 10
    """Time steps, each of which reads the image and adds to the canvas."""
    latent_size: Annotated[PositiveInt, at_most(10_000)] = 50
    """Size of the latent vector of a time step."""
    dropout: Annotated[float | None, Share, NotWith("layers", 1)] = None
    """Dropout probability between layers."""
    batch_size: PositiveInt = 128
    """Images per batch."""


@dataclass(frozen=True, kw_only=True)
class DrawSpec(Spec):
    """columns: the column of the file for each role; hidden: units of encoder and decoder; image_size: pixels per side;
    binarized: whether pixels are 0 or 1."""

    options: DrawOptions
    columns: dict[str, str]
    hidden: PositiveInt
    image_size: Annotated[PositiveInt, at_most(LARGEST)]
    channels: Annotated[PositiveInt, at_most(3)]
    binarized: bool


@dataclass(frozen=True, eq=False)
class Steps:
    """All time steps of a batch.

    - canvases: T of (B, C, S, S), the logits of the pixels after each step
    - read, written: T windows; empty without attention. Nothing is read from where images are generated
    - kl: (T, B), in nats; None where images are generated
    - latents: (T, B, Z)
    """

    canvases: list[Tensor]
    read: list[Window]
    written: list[Window]
    kl: Tensor | None
    latents: Tensor


class DrawModel(Model, Previews, GeneratesImages):
    """Encoder and decoder, each a `Recurrent`; a latent vector and a change of the canvas at each time step."""

    def __init__(self, spec: DrawSpec):
        super().__init__(spec)
        options, hidden = spec.options, spec.hidden
        recurrence = {"dropout": options.dropout or 0.0, "learn_initial_state": True}
        self.decoder = options.recurrent(options.latent_size, hidden, name="decoder", **recurrence)
        output = self.decoder.output_size
        shape = (spec.channels, spec.image_size, output)
        self.read = WindowRead(*shape, options.read_size) if options.attention else FullRead(*shape)
        self.encoder = options.recurrent(self.read.size + output, hidden, name="encoder", **recurrence)
        self.posterior = nn.Linear(self.encoder.output_size, 2 * options.latent_size)
        self.write = WindowWrite(*shape, options.write_size) if options.attention else FullWrite(*shape)
        self.start = nn.Parameter(torch.zeros(spec.channels, spec.image_size, spec.image_size))

    @torch.no_grad()
    def initialize(self, source: Source) -> None:
        """The canvas before the first step is the mean of the images, so that steps are of use for what differs."""
        batches = [source.batch(0, index)["image"] for index in range(min(len(source), AVERAGED))]
        mean = torch.cat(batches).float().mean(0) / 255
        self.start.copy_(torch.logit(mean, EXTREME) / self.spec.options.time_steps)

    def describe(self) -> str:
        options = self.spec.options
        window = f"windows {options.read_size} and {options.write_size}" if options.attention else "no attention"
        return f"{super().describe()}, {options.time_steps} time steps, latent {options.latent_size}, {window}"

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """The negative evidence lower bound of an image, in nats (equation 12): the reconstruction, -log p(x | z), and
        the KL divergence of the latents' posterior from their prior. image (N, C, S, S) uint8, image_of (B,)."""
        x = self.images(batch, context)
        steps = self.reconstruct(x, self.noise(len(x), context))
        assert steps.kl is not None
        nats, kl = bernoulli_nats(steps.canvases[-1], x), steps.kl.sum(0)
        return Loss(
            mean=(nats + kl).mean(),
            count=torch.tensor(len(x), device=x.device),
            sums={"loss": (nats + kl).sum(), "reconstruction": nats.sum(), "kl": kl.sum()},
        )

    def images(self, batch: Batch, context: Context) -> Tensor:
        """The images (B, C, S, S) of a batch, from 0 to 1, binarized where the model takes such. Outside of training a
        row is binarized in the same way whatever the batch that it is in."""
        x = batch["image"][batch["image_of"]].float() / 255
        if not self.spec.binarized:
            return x
        if context.generator is None:
            return torch.bernoulli(x)
        thresholds = [torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(row))
                      for row in batch["row"].tolist()]  # fmt: skip
        return (torch.stack(thresholds).to(x) < x).float()

    def noise(self, rows: int, context: Context) -> Tensor:
        """Standard normal numbers (T, B, Z) of all steps; in validation and previews those of the context."""
        shape, device = (self.spec.options.time_steps, rows, self.spec.options.latent_size), self.device
        if context.generator is None:
            return torch.randn(shape, device=device)
        return torch.randn(shape, generator=context.generator).to(device)

    def reconstruct(self, x: Tensor, noise: Tensor) -> Steps:
        """The time steps (equations 3 to 8) for images (B, C, S, S), with the noise (T, B, Z) of the latents."""
        encoder, decoder, begun = self.encoder.stepper(), self.decoder.stepper(), self.read.begin(x)
        encoded, decoded, canvases = encoder.begin(x), decoder.begin(x), [self.canvas(len(x))]
        output, read, written = self.decoder.initial_output(len(x)), list[Window](), list[Window]()
        posteriors, latents = list[tuple[Tensor, Tensor]](), list[Tensor]()
        for step in noise:
            given, window = self.read(begun, canvases[-1].sigmoid(), output)
            read += [window] if window is not None else []
            y, encoded = encoder.step(torch.cat((given, output.to(given)), 1), encoded)
            mean, log_deviation = self.posterior(y).float().chunk(2, 1)
            log_deviation = log_deviation.clamp(*LOG_DEVIATION)
            posteriors.append((mean, log_deviation))
            latents.append(mean + log_deviation.exp() * step)
            output, decoded = decoder.step(latents[-1], decoded)
            self._add(output, canvases, written)
        means, log_deviations = map(torch.stack, zip(*posteriors, strict=True))
        return Steps(canvases[1:], read, written, gaussian_kl(means, log_deviations), torch.stack(latents))

    def generate(self, latents: Tensor) -> Steps:
        """The time steps from latents (T, B, Z) of the prior (equations 13 and 14)."""
        decoder = self.decoder.stepper()
        decoded, canvases, written = decoder.begin(latents[0]), [self.canvas(latents.shape[1])], list[Window]()
        for latent in latents:
            output, decoded = decoder.step(latent, decoded)
            self._add(output, canvases, written)
        return Steps(canvases[1:], [], written, None, latents)

    def _add(self, output: Tensor, canvases: list[Tensor], written: list[Window]) -> None:
        """Appends the canvas after an output (B, H) of the decoder, and the window through which it was written."""
        change, window = self.write(output)
        written += [window] if window is not None else []
        canvases.append(canvases[-1] + change.float())

    def canvas(self, rows: int) -> Tensor:
        """The canvas before the first step, learned as fast as one bias per step would be."""
        return (self.spec.options.time_steps * self.start).expand(rows, -1, -1, -1)

    @torch.inference_mode()
    def paint(self, count: int, generator: torch.Generator) -> Painting:
        self.eval()
        steps = self.generate(self.noise(count, Context(generator=generator)))
        return Painting(np.stack([pixels(canvas.sigmoid()) for canvas in steps.canvases]), boxes(steps.written))

    def preview(self, context: Context) -> Images:
        """Images of the prior."""
        assert context.generator is not None
        return self.paint(PREVIEWED, context.generator).images


class Draw(TableTask, kind="draw", summary="images, painted in steps (DRAW)"):
    """Generation of images."""

    Options, Spec, Model = DrawOptions, DrawSpec, DrawModel
    unit = "image"
    lr = 0.003
    clip = 100.0
    roles = ("image",)
    accepts = {"image": (LazyImage,)}
    bucket_by = None

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> DrawSpec:
        options = common["options"]
        shape = choose_shape(splits["train"].columns["image"], options.image_size, LARGEST)
        binarize = options.binarize or ("sampled" if shape.channels == BINARIZED else "none")
        return DrawSpec(
            **common, hidden=options.hidden or 256, image_size=shape.image_size, channels=shape.channels,
            binarized=binarize == "sampled",
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: DrawSpec, log: Log) -> dict[str, Field]:
        images = rows.columns["image"]
        if note := choose_shape(images, spec.image_size).note:
            log(note)
        return {"image": Pixels(images, spec.image_size, log, spec.channels)}

    def encode_targets(self, rows: Table, spec: DrawSpec, log: Log) -> dict[str, Field]:
        return {}


def bernoulli_nats(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x) (B,) of images x (B, C, S, S), of independent pixels."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian_kl(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """The KL divergence (...) of independent normal variables (..., Z) from standard normal ones, in nats."""
    return 0.5 * (mean.square() + (2 * log_deviation).exp() - 2 * log_deviation - 1).sum(-1)


def pixels(images: Tensor) -> np.ndarray:
    """Images (N, C, S, S) from 0 to 1 as pixels (N, S, S) or (N, S, S, 3) uint8."""
    found = (images * 255).round().byte().cpu().numpy()
    return found[:, 0] if found.shape[1] == 1 else np.ascontiguousarray(found.transpose(0, 2, 3, 1))


def boxes(windows: list[Window]) -> np.ndarray | None:
    """The boxes (T, N, 4) of windows: left, top, right, bottom, in pixels; None without attention."""
    return np.stack([window.boxes().cpu().numpy() for window in windows]) if windows else None
