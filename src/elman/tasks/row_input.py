"""How a row that is classified becomes a sequence: texts, arrays and images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from elman.data.image import LazyImage
from elman.data.image_shape import SIZE, choose_shape
from elman.data.rows import Field, Ragged
from elman.data.scanlines import Scanlines
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.nets.embedding import embedding
from elman.nets.grid import Encoder
from elman.options import PositiveInt, at_most, changed
from elman.tasks import vision
from elman.tasks.spec import AnyTokenizer
from elman.tasks.tables import TYPES, encoded, truncated
from elman.tasks.vision import AnyEncoder
from elman.tokenizers import registry

TOKENS = "word"  # unless given
LINES = "lines"  # the encoder that is none
TEXTS_ALONE = ("tokens", "vocab_size", "lower", "embedding")  # options without effect on other inputs
IMAGES_ALONE = ("image_size", "encoder", "fine_tune")


class RowInput(ABC):
    """How inputs are encoded, as a Spec stores it.

    - kind: the type of an input
    - without_effect: options that do nothing with such inputs
    """

    kind: ClassVar[type]
    without_effect: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def choose(cls, rows: Table, options: Any) -> "RowInput":
        """How inputs like those of the training split are encoded."""

    @abstractmethod
    def encode(self, rows: Table, max_length: int, log: Log) -> Field:
        """The field of the inputs, which also gives their lengths."""

    @abstractmethod
    def embed(self, size: int) -> tuple[nn.Module, int]:
        """What makes vectors (B, T, I) of a batch, and I; `size` is that of the embedding of a token."""

    def load_pretrained(self, network: nn.Module) -> None:  # noqa: B027 - most have none
        """Loads pretrained weights into a new network of `embed`, where there are any."""


@dataclass(frozen=True)
class TextInput(RowInput):
    """Inputs that are texts: a token per step."""

    tokenizer: AnyTokenizer
    kind: ClassVar[type] = str
    without_effect: ClassVar[tuple[str, ...]] = IMAGES_ALONE

    @classmethod
    def choose(cls, rows: Table, options: Any) -> Self:
        kind = registry.find(options.tokens or TOKENS)
        return cls(kind.of_texts(rows.columns["text"], options.vocab_size, options.lower))

    def encode(self, rows: Table, max_length: int, log: Log) -> Field:
        return Ragged(encoded(rows.columns["text"], self.tokenizer, max_length, log))

    def embed(self, size: int) -> tuple[nn.Module, int]:
        return embedding(len(self.tokenizer), size), size


@dataclass(frozen=True)
class ArrayInput(RowInput):
    """Inputs that are arrays (T, F), standardised by the mean and the deviation (F,) of the training split."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    kind: ClassVar[type] = np.ndarray
    without_effect: ClassVar[tuple[str, ...]] = (*TEXTS_ALONE, *IMAGES_ALONE)

    @classmethod
    def choose(cls, rows: Table, options: Any) -> Self:
        return cls(*moments(np.concatenate(_steps(rows, rows.columns["text"][0].shape[1:]))))

    def encode(self, rows: Table, max_length: int, log: Log) -> Field:
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        made = [((steps - mean) / deviation).astype(np.float32) for steps in _steps(rows, mean.shape)]
        return Ragged(truncated(made, max_length, log))

    def embed(self, size: int) -> tuple[nn.Module, int]:
        return nn.Identity(), len(self.mean)


@dataclass(frozen=True)
class ImageInput(RowInput):
    """Inputs that are images: a line of pixels per step, from the top."""

    image_size: Annotated[PositiveInt, at_most(4096)]
    kind: ClassVar[type] = LazyImage
    without_effect: ClassVar[tuple[str, ...]] = (*TEXTS_ALONE, "max_length")

    @classmethod
    def choose(cls, rows: Table, options: Any) -> "ImageInput | EncodedInput":
        images = rows.columns["text"]
        size = choose_shape(images, options.image_size, SIZE).image_size
        if options.encoder != LINES:
            return EncodedInput(vision.choose(replace(options, image_size=size), images))
        if options.fine_tune:
            raise UserError(f"`fine_tune` is for `encoder` timm:NAME, not {LINES}")
        return cls(size)

    def encode(self, rows: Table, max_length: int, log: Log) -> Field:
        return Scanlines(rows.columns["text"], self.image_size, log)

    def embed(self, size: int) -> tuple[nn.Module, int]:
        return nn.Identity(), 3 * self.image_size


@dataclass(frozen=True)
class EncodedInput(RowInput):
    """Inputs that are images: a position of the grid of an image encoder per step."""

    encoder: AnyEncoder
    kind: ClassVar[type] = LazyImage
    without_effect: ClassVar[tuple[str, ...]] = ImageInput.without_effect

    @classmethod
    def choose(cls, rows: Table, options: Any) -> RowInput:
        return ImageInput.choose(rows, options)

    def encode(self, rows: Table, max_length: int, log: Log) -> Field:
        return RowImages(self.encoder.field(rows.columns["text"], log), self.encoder.positions)

    def embed(self, size: int) -> tuple[nn.Module, int]:
        network = self.encoder.network()
        return network, network.size

    def load_pretrained(self, network: nn.Module) -> None:
        assert isinstance(network, Encoder)
        self.encoder.load_pretrained(network)


@dataclass(frozen=True)
class RowImages:
    """A field of images; in a batch NAME (B, ...), what an encoder takes of each row's image, and NAME_lengths (B,),
    the positions of the grid that it gives."""

    field: Any
    positions: int

    @property
    def workers(self) -> int:
        """See `LazyField`."""
        return self.field.workers

    def select(self, chosen: np.ndarray) -> Self:
        """The field of these rows."""
        return replace(self, field=self.field.select(chosen))

    def take(self, name: str, chosen: np.ndarray) -> dict[str, Tensor]:
        """See `RowImages`."""
        found = self.field.take(name, chosen)
        lengths = torch.full((len(chosen),), self.positions)
        return {name: found[name][found[f"{name}_of"]], f"{name}_lengths": lengths}


INPUTS: tuple[type[RowInput], ...] = (ImageInput, ArrayInput, TextInput)
AnyInput = TextInput | ArrayInput | ImageInput | EncodedInput


def choose_input(train: Table, options: Any) -> Any:
    """How inputs like those of the training split are encoded. A UserError where an option has no effect on them."""
    kind = next(each for each in INPUTS if isinstance(train.columns["text"][0], each.kind))
    for name in changed(options):
        if name in kind.without_effect:
            inputs = TYPES[kind.kind].split()[-1]
            raise UserError(f"`{name}` has no effect: the inputs of {train.name} are {inputs}s; leave it out")
    return kind.choose(train, options)


def moments(steps: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation (F,) of steps (T, F), by which they are standardised. A deviation near 0 is replaced by the
    largest."""
    steps = steps.astype(np.float64)
    deviation = steps.std(0)
    deviation[deviation < 1e-3 * max(deviation.max(), 1e-30)] = max(deviation.max(), 1e-30)
    return tuple(steps.mean(0).tolist()), tuple(deviation.tolist())


def _steps(rows: Table, features: tuple[int, ...]) -> list[np.ndarray]:
    """The arrays as (T, F), F being that of all others; one of shape (T,) has one feature."""
    width, found = features[0] if features else 1, []
    for row, value in enumerate(rows.columns["text"]):
        steps = value[:, None] if value.ndim == 1 else value
        if steps.ndim != 2 or steps.shape[1] != width:
            raise UserError(f"{rows.where(row)} has shape {value.shape}: the others have (steps, {width})")
        found.append(steps)
    return found
