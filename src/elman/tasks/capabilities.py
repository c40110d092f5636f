"""What only some tasks and models can do. Ask with `isinstance`: of the task, or of the unwrapped model for
`Previews` and `GeneratesImages`."""

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from elman.data.source import Batch, Source
from elman.data.table import Table
from elman.log import Log
from elman.recurrent.token_stepper import TokenStepper
from elman.tasks.answer import Answer
from elman.tasks.loss import Context
from elman.tasks.task import Reading
from elman.tokenizers.tokenizer import Tokenizer

SIDE = 640  # pixels of a sheet of images, about


@dataclass(frozen=True)
class Prompt:
    """How generation starts.

    - batch: what the stepper's `begin` takes, for one row
    - tokens: read before the first is chosen
    - end: the token that ends a text, or None
    """

    batch: Batch
    tokens: list[int]
    end: int | None


class Generates(ABC):
    """A task whose models generate text of their own."""

    @abstractmethod
    def prompt(self, spec: Any, text: str, labels: tuple[str, ...], reading: Reading) -> Prompt:
        """How generation starts after `text`, for `labels` where the model was trained with some."""

    @abstractmethod
    def stepper(self, model: Any) -> TokenStepper:
        """The model, one token at a time. Make a new one after the weights have changed."""

    @abstractmethod
    def tokenizer(self, spec: Any) -> Tokenizer:
        """That of the generated text."""


class Predicts(ABC):
    """A task whose models answer rows.

    - inputs: the columns that are needed of each row: text, source, image, ...
    - decodes: whether answers are generated token by token, so that search and sampling apply
    - streams: whether a row may have any number of answers, each of which comes as soon as it is known
    """

    inputs: ClassVar[tuple[str, ...]]
    decodes: ClassVar[bool] = False
    streams: ClassVar[bool] = False

    @abstractmethod
    def predict(self, model: Any, rows: Table, log: Log, **decoding: Any) -> Iterator[Answer]:
        """The answer to each row of a table, whose columns are `inputs`, in the order of the rows; of one that
        `streams`, the answers."""

    def takes_images(self, spec: Any) -> bool:
        """Whether a text among the inputs names an image."""
        return False

    def line(self, answer: Answer) -> str:
        """An answer in one line of text."""
        return str(answer.first)

    def text(self, answer: Answer) -> str:
        """An answer in several lines, for when it is the only one."""
        return self.line(answer)


class Measures(ABC):
    """A task with metrics beside the loss, which need the model's own answers: F1, BLEU."""

    @abstractmethod
    def measure(self, model: Any, source: Source, limit: int | None = None) -> dict[str, Any]:
        """The metrics by name, over the first `limit` rows of a source."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images as a preview. pixels: (N, H, W) or (N, H, W, 3) uint8."""

    pixels: np.ndarray

    def sheet(self) -> np.ndarray:
        """One image (H', W') or (H', W', 3) that holds all of them, in about as many rows as columns."""
        count, height, width, *channels = self.pixels.shape
        columns = math.isqrt(count - 1) + 1
        rows = -(-count // columns)
        padded = np.zeros((rows * columns, height, width, *channels), np.uint8)
        padded[:count] = self.pixels
        grid = padded.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
        return grid.reshape(rows * height, columns * width, *channels)

    def png(self) -> bytes:
        """The sheet as a file, small images enlarged without interpolation."""
        sheet, out = Image.fromarray(self.sheet()), io.BytesIO()
        factor = max(1, round(SIDE / max(sheet.size)))
        sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST).save(out, "png")
        return out.getvalue()


class Previews(ABC):
    """A model that gives a sample of what it has learned while it trains."""

    @abstractmethod
    def preview(self, context: Context) -> str | Images | None:
        """The sample, as text or as images."""


@dataclass(frozen=True, eq=False)
class Painting:
    """Images as they are generated, over time.

    - canvases: (T, N, H, W) or (T, N, H, W, 3) uint8, after each step
    - windows: (T, N, 4), the box in which a step has painted: left, top, right, bottom, in pixels, from the first
      pixel's left upper corner; None where it has painted everywhere
    """

    canvases: np.ndarray
    windows: np.ndarray | None

    @property
    def images(self) -> Images:
        """The finished images."""
        return Images(self.canvases[-1])


class GeneratesImages(ABC):
    """A model that generates images of its own."""

    @abstractmethod
    def paint(self, count: int, generator: torch.Generator) -> Painting:
        """So many images. `generator`: of the random numbers, on the CPU."""
