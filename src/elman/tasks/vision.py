"""What tasks share that take images: how an image becomes a grid of vectors."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Protocol

import numpy as np
import torch

from elman.data.features import FeatureExtractor, Features
from elman.data.image import LazyImage
from elman.data.image_shape import SIZE, choose_shape
from elman.data.pixels import Pixels
from elman.data.rows import Field
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.nets import timm_grid
from elman.nets.grid import Encoder, GridFeatures
from elman.nets.mlp import MLP
from elman.nets.residual import STRIDE, Residual
from elman.nets.shallow import Shallow
from elman.nets.shallow import positions as shallow_positions
from elman.nets.timm_grid import TimmGrid, TimmModel
from elman.options import PositiveInt, at_most
from elman.schema import to_json
from elman.tasks.answer import Answer
from elman.tasks.tables import SequenceOptions

RESIDUAL, SHALLOW, MLP_NAME = "residual", "shallow", "mlp"
HIDDEN = 256  # units of the layer of an MLP
ImageSize = Annotated[PositiveInt, at_most(4096)]
GridSize = Annotated[PositiveInt, at_most(65536)]


@dataclass(frozen=True)
class VisionOptions(SequenceOptions):
    """How images are read."""

    image_column: str | None = None
    """The column of the images; the one that has some when not given."""
    encoder: str = RESIDUAL
    """The image encoder. residual: a small network that is trained with the task; shallow: a smaller one, for images of
    few pixels; mlp: a layer over all pixels; timm:NAME: a model of the timm library with pretrained weights."""
    fine_tune: bool = False
    """Train a timm encoder further, instead of freezing it."""
    image_size: ImageSize | None = None
    """Pixels per side to which images are resized. Default: 64, for timm that of pretraining."""


class EncoderOptions(Protocol):
    """The options that choose an encoder."""

    @property
    def encoder(self) -> str: ...
    @property
    def fine_tune(self) -> bool: ...
    @property
    def image_size(self) -> int | None: ...
    @property
    def hidden(self) -> int | None: ...


class ImageEncoder(ABC):
    """How images are encoded, as a Spec stores it."""

    image_size: ImageSize

    @property
    def input_channels(self) -> int:
        """C, those of the pixels."""
        return 3

    @property
    @abstractmethod
    def positions(self) -> int:
        """L, those of the grid."""

    def field(self, images: Sequence[LazyImage], log: Log) -> Field:
        """What the network takes of each image: its pixels, unless `frozen`."""
        return Pixels(images, self.image_size, log, self.input_channels)

    @abstractmethod
    def network(self) -> Encoder:
        """Gives a grid (B, L, D) of what `field` has in a batch."""

    @property
    def frozen(self) -> bool:
        """Whether `field` has features, which `extractor` computes from pixels."""
        return False

    def extractor(self) -> FeatureExtractor:
        """See `frozen`."""
        raise NotImplementedError

    def load_pretrained(self, network: Encoder) -> None:  # noqa: B027 - most have none
        """Loads pretrained weights into a new network, where there are any."""


@dataclass(frozen=True)
class ResidualEncoder(ImageEncoder):
    """`Residual`, from pixels; image_size in pixels per side."""

    image_size: ImageSize

    @classmethod
    def choose(cls, options: EncoderOptions, images: Sequence[LazyImage]) -> "ResidualEncoder":
        """The encoder that the options name, for such images."""
        _check_trained(options, RESIDUAL)
        return cls(options.image_size or SIZE)

    @property
    def positions(self) -> int:
        return (self.image_size // STRIDE) ** 2

    def network(self) -> Encoder:
        return Residual()


@dataclass(frozen=True)
class ShallowEncoder(ImageEncoder):
    """`Shallow`, from pixels.

    - channels: 1 where all images are grey, else 3
    """

    image_size: ImageSize
    channels: PositiveInt

    @classmethod
    def choose(cls, options: EncoderOptions, images: Sequence[LazyImage]) -> "ShallowEncoder":
        """See `ResidualEncoder.choose`."""
        _check_trained(options, SHALLOW)
        shape = choose_shape(images, options.image_size or SIZE)
        return cls(shape.image_size, shape.channels)

    @property
    def input_channels(self) -> int:
        return self.channels

    @property
    def positions(self) -> int:
        return shallow_positions(self.image_size)

    def network(self) -> Encoder:
        return Shallow(self.channels)


@dataclass(frozen=True)
class MLPEncoder(ImageEncoder):
    """`MLP`, from pixels.

    - channels: 1 where all images are grey, else 3
    - hidden: the size of its layer
    """

    image_size: ImageSize
    channels: PositiveInt
    hidden: PositiveInt

    @classmethod
    def choose(cls, options: EncoderOptions, images: Sequence[LazyImage]) -> "MLPEncoder":
        """See `ResidualEncoder.choose`."""
        _check_trained(options, MLP_NAME)
        shape = choose_shape(images, options.image_size or SIZE)
        return cls(shape.image_size, shape.channels, options.hidden or HIDDEN)

    @property
    def input_channels(self) -> int:
        return self.channels

    @property
    def positions(self) -> int:
        return 1

    def network(self) -> Encoder:
        return MLP(self.channels * self.image_size**2, self.hidden)


@dataclass(frozen=True)
class TimmEncoder(ImageEncoder):
    """A model of the timm library: trained with the task, or frozen, with its features computed once for each image.

    - grid: (L, D) of its features
    - weights: the digest of the frozen weights, None for fine-tuned ones, which are those of the run
    """

    model: TimmModel
    image_size: ImageSize
    fine_tune: bool
    grid: tuple[GridSize, GridSize]
    weights: str | None

    @classmethod
    def choose(cls, options: EncoderOptions, images: Sequence[LazyImage]) -> "TimmEncoder":
        """See `ResidualEncoder.choose`."""
        name = options.encoder.partition(":")[2]
        if not name:
            raise _unknown(options.encoder)
        model, size = timm_grid.describe(name, options.image_size)
        network = TimmGrid(model, size) if options.fine_tune else _pretrained(model, size)
        grid = timm_grid.shape(network, size, name)
        return cls(model, size, options.fine_tune, grid, None if options.fine_tune else network.digest())

    @property
    def positions(self) -> int:
        return self.grid[0]

    def field(self, images: Sequence[LazyImage], log: Log) -> Field:
        return Features(images, self.extractor(), log) if self.frozen else super().field(images, log)

    @property
    def frozen(self) -> bool:
        return not self.fine_tune

    def network(self) -> Encoder:
        return TimmGrid(self.model, self.image_size) if self.fine_tune else GridFeatures(self.grid[1])

    def load_pretrained(self, network: Encoder) -> None:
        if self.fine_tune:
            network.load_state_dict(TimmGrid(self.model, self.image_size, pretrained=True).state_dict())

    def extractor(self) -> FeatureExtractor:
        name = f"timm:{self.model.name}"

        @cache
        def network() -> TimmGrid:
            found = _pretrained(self.model, self.image_size)
            if found.digest() != self.weights:
                raise UserError(f"the weights of {name} are not those that this model was trained with: its features "
                                "would differ")  # fmt: skip
            return found

        @torch.inference_mode()
        def find(pixels: np.ndarray) -> np.ndarray:
            given = torch.from_numpy(pixels)[None].to(network().mean.device)
            return network().grid(given)[0].float().cpu().numpy()

        version = timm_grid.timm(self.model.name).__version__
        key = json.dumps([to_json(self.model), self.image_size, self.weights, version])
        return FeatureExtractor(name, key, self.image_size, self.grid, find)


@cache
def _pretrained(model: TimmModel, size: int) -> TimmGrid:
    """A frozen model, made once per process."""
    device = "cuda" if torch.cuda.is_available() and torch.utils.data.get_worker_info() is None else "cpu"
    return TimmGrid(model, size, pretrained=True).to(device).eval().requires_grad_(False)


AnyEncoder = MLPEncoder | ShallowEncoder | ResidualEncoder | TimmEncoder
ENCODERS: dict[str, type[AnyEncoder]] = {
    RESIDUAL: ResidualEncoder, SHALLOW: ShallowEncoder, MLP_NAME: MLPEncoder, "timm": TimmEncoder,
}  # fmt: skip


def choose(options: EncoderOptions, images: Sequence[LazyImage]) -> AnyEncoder:
    """The image encoder that the options name, for such images: a registered word, with a colon and its own
    argument."""
    word = options.encoder.partition(":")[0]
    if word not in ENCODERS:
        raise _unknown(options.encoder)
    return ENCODERS[word].choose(options, images)


def _check_trained(options: EncoderOptions, name: str) -> None:
    if options.encoder != name:
        raise _unknown(options.encoder)
    if options.fine_tune:
        raise UserError(f"`fine_tune` is for `encoder` timm:NAME: {name} is always trained")


def with_image(answer: Answer, rows: Table) -> Answer:
    """The answer, its attention over the image of its row."""
    if answer.attention is None:
        return answer
    return replace(answer, attention=replace(answer.attention, keys=rows.columns["image"][answer.row]))


def _unknown(name: str) -> UserError:
    return UserError(
        f"unknown encoder '{name}': it is {RESIDUAL}, {SHALLOW}, {MLP_NAME}, or timm:NAME, such as timm:resnet18"
    )
