"""What tasks share that take images: how an image becomes a grid of vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from elman.data.image import LazyImage
from elman.data.pixels import Pixels
from elman.data.rows import Field
from elman.errors import UserError
from elman.nets import timm_grid
from elman.nets.grid import Encoder
from elman.nets.residual import Residual
from elman.options import PositiveInt
from elman.tasks.tables import TableTaskOptions
from elman.tokenizers.tokenizer import Log

RESIDUAL = "residual"
SIZE = 64  # pixels


@dataclass(frozen=True)
class VisionOptions(TableTaskOptions):
    """How images are read."""

    image_column: str | None = None
    """The column of the images; the one that has some when not given."""
    encoder: str = RESIDUAL
    """The image encoder. residual: a small network that is trained with the task; timm:NAME: a model of the timm library
    with pretrained weights."""
    fine_tune: bool = False
    """Train a timm encoder further, instead of freezing it."""
    image_size: PositiveInt | None = None
    """Pixels per side to which images are resized. 64 for residual, what it was trained with for timm."""


class ImageEncoder(ABC):
    """How images are encoded, as a Spec stores it."""

    @abstractmethod
    def field(self, images: Sequence[LazyImage], log: Log) -> Field:
        """What the network takes of each image."""

    @abstractmethod
    def network(self) -> Encoder:
        """Gives a grid (B, L, D) of what `field` has in a batch."""

    def load_pretrained(self, network: Encoder) -> None:
        """Loads pretrained weights into a new network; where all is trained there are none."""


@dataclass(frozen=True)
class ResidualEncoder(ImageEncoder):
    """`Residual`, from pixels; image_size in pixels per side."""

    image_size: PositiveInt

    @classmethod
    def choose(cls, options: VisionOptions) -> "ResidualEncoder":
        """The encoder that the options name."""
        if options.encoder != RESIDUAL:
            raise _unknown(options.encoder)
        if options.fine_tune:
            raise UserError("--fine-tune is for --encoder timm:NAME: residual is always trained")
        return cls(options.image_size or SIZE)

    def field(self, images: Sequence[LazyImage], log: Log) -> Field:
        return Pixels(images, self.image_size, log)

    def network(self) -> Encoder:
        return Residual()
