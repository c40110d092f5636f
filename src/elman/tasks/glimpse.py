"""Classification of images in glimpses: the recurrent attention model (Mnih et al. 2014, arXiv 1406.6247)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.stored_cell import StoredCell
from elman.data.canvas import Canvas, RedrawnCanvases
from elman.data.image import LazyImage
from elman.data.image_shape import choose_shape
from elman.data.pixels import Pixels
from elman.data.rows import Field, Rows
from elman.data.source import Batch, Source
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.nets.glimpse import ATTENTION, Choice, Path
from elman.options import Choices, CountFloat, CountInt, OnlyWith, PositiveFloat, PositiveInt, at_most
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.state import State
from elman.schema import Decode
from elman.tasks.answer import Answer, Glimpses
from elman.tasks.class_prediction import ClassPrediction
from elman.tasks.labels import LabelEncoder
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.tables import TableSpec, TableTaskOptions
from elman.tasks.task import Dataset
from elman.tasks.vision import ImageSize

HIDDEN = 256


@dataclass(frozen=True)
class GlimpseOptions(TableTaskOptions):
    """Options of the data and the network. None: chosen from the data."""

    image_column: str | None = None
    """The column of the images; the one that has some when not given."""
    label_column: str | None = None
    """The column of the labels; the one with the fewest different values when not given."""
    image_size: ImageSize | None = None
    """Pixels per side to which images are resized. Default: their own size, 64 where they differ."""
    canvas_size: ImageSize | None = None
    """Put each image at a random position of a black canvas of so many pixels per side: another one in every epoch
    of training."""
    clutter: Annotated[CountInt, OnlyWith("canvas_size"), at_most(1_000)] = 0
    """Pieces of other images, of 8 x 8 pixels, at random positions of the canvas."""
    attention: Annotated[str, Choices(lambda: ATTENTION)] = "hard"
    """How locations are chosen: hard, sampled, and learned by REINFORCE; soft, the window of Gaussian filters of DRAW,
    learned by back-propagation; random, uniformly."""
    glimpses: Annotated[PositiveInt, at_most(1_000)] = 6
    """Glimpses of an image."""
    glimpse_size: ImageSize = 8
    """Pixels per side of the narrowest patch of a glimpse; of a soft one, filters per side."""
    scales: Annotated[PositiveInt, OnlyWith("attention", "hard", "random"), at_most(12)] = 1
    """Patches of a glimpse, each twice as wide as the one before, in as many pixels."""
    location_std: Annotated[PositiveFloat, OnlyWith("attention", "hard")] = 0.1
    """Standard deviation of a sampled location; an image is 2 wide."""
    reinforce_weight: Annotated[CountFloat, OnlyWith("attention", "hard")] = 0.01
    """Weight of the surrogate objective of REINFORCE in the loss."""
    num_samples: Annotated[PositiveInt, OnlyWith("attention", "hard", "random"), at_most(1_000)] = 1
    """Runs of sampled locations over each image in training."""
    eval_samples: Annotated[CountInt, OnlyWith("attention", "hard", "random"), at_most(1_000)] = 10
    """Runs of sampled locations whose probabilities elman eval averages for sampled_accuracy; accuracy is that of a
    single run, of hard attention with mean locations. 0: none."""
    cell: Annotated[Any, Decode(StoredCell.from_json)] = "rnn:activation=relu"
    """The recurrence: a name of `elman list cells`, with options as in lstm:forget_bias=0, or my_cell.py:MyCell."""
    batch_size: PositiveInt = 128
    """Images per batch."""


@dataclass(frozen=True, kw_only=True)
class GlimpseSpec(TableSpec):
    """labels: the classes; image_size, channels: of an image, 1 channel being grey."""

    options: GlimpseOptions
    labels: LabelEncoder
    image_size: ImageSize
    channels: Annotated[PositiveInt, at_most(3)]

    @property
    def side(self) -> int:
        """Pixels per side of what the network takes."""
        return self.options.canvas_size or self.image_size


class GlimpseModel(Model):
    """Glimpses, through a glimpse network and a `Recurrent`, the core; a linear head after the last."""

    def __init__(self, spec: GlimpseSpec):
        super().__init__(spec)
        _check_sizes(spec)  # a run may come from a stranger
        options, hidden = spec.options, spec.hidden
        self.core = options.recurrent(hidden, hidden)
        self.attention = ATTENTION[options.attention](options, spec.channels, spec.side, self.core.output_size, hidden)
        self.head = nn.Linear(self.core.output_size, len(spec.labels))

    def describe(self) -> str:
        options, side = self.spec.options, f"{self.spec.side} x {self.spec.side}"
        size = f"{options.glimpse_size} x {options.glimpse_size}" + (
            f" at {options.scales} scales" if options.scales > 1 else ""
        )
        return (
            f"{super().describe()}, {options.glimpses} glimpses of {size} in {side}, {options.attention} attention, "
            f"dropout {self.spec.dropout:g}"
        )

    def read(self, batch: Batch, choice: Choice) -> Path:
        """The glimpses of image (N, C, S, S) uint8."""
        images = batch["image"]
        return self.attention.read(images.to(self.head.weight.dtype) / 255, self.core, choice)

    def logits(self, output: Tensor) -> Tensor:
        """The logits (..., K) of the classes from outputs (..., H) of the core."""
        return self.head(drop(output, self.spec.dropout, self.training)).float()

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy after the last glimpse, in nats. image (N, C, S, S), image_of (B,), target (B,).

        The mean adds the squared error of the baseline and the surrogate of REINFORCE. Locations are sampled in
        training, for `num_samples` runs over each image; otherwise there is one, of mean locations."""
        runs = self.spec.options.num_samples if self.training else 1
        of, target = (batch[name].repeat_interleave(runs) for name in ("image_of", "target"))
        path = self.read(batch, Choice(of, self.training, context.generator))
        logits = self.logits(path.output[:, -1])
        nats, correct = F.cross_entropy(logits, target, reduction="none"), logits.detach().argmax(-1) == target
        penalty, sums = self.attention.penalty(path, correct.to(nats))
        sums = {"loss": nats.sum(), "correct": correct.to(nats).sum(), **sums}
        count = nats.new_tensor(len(batch["target"]))
        return Loss(nats.mean() + penalty, count, {name: value / runs for name, value in sums.items()})


class Glimpse(ClassPrediction, kind="glimpse", summary="a classifier of images that reads them in glimpses"):
    """Classification of images in glimpses."""

    Options, Spec, Model = GlimpseOptions, GlimpseSpec, GlimpseModel
    unit = "image"
    lr = 0.003
    clip = 5.0
    nats = True
    roles = ("image", "label")
    accepts = {"image": (LazyImage,)}
    inputs = ("image",)
    bucket_by = None

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> GlimpseSpec:
        train, options = splits["train"], common["options"]
        shape = choose_shape(train.columns["image"], options.image_size)
        spec = GlimpseSpec(
            **common, hidden=options.hidden or HIDDEN, dropout=options.dropout or 0.0,
            labels=LabelEncoder.of_classes(train.columns["label"], train.name), image_size=shape.image_size,
            channels=shape.channels,
        )  # fmt: skip
        _check_sizes(spec)
        return spec

    def prepare(self, paths: list[str], options: Any, budget: float | None = None, seed: int = 0) -> Dataset:
        data = super().prepare(paths, options, budget, seed)
        train = data.train
        assert isinstance(train, Rows)
        drawn = isinstance(train.fields["image"], Canvas)
        return replace(data, train=RedrawnCanvases(train, "image")) if drawn else data

    def encode_inputs(self, rows: Table, spec: GlimpseSpec, log: Log) -> dict[str, Field]:
        images, options = rows.columns["image"], spec.options
        if options.canvas_size and choose_shape(images, options.canvas_size).note is None:
            return {"image": Pixels(images, options.canvas_size, log, spec.channels)}
        shape = choose_shape(images, spec.image_size)
        if shape.note:
            log(shape.note)
        if shape.channels > spec.channels:
            log("images in colour are read as grey ones, as in training")
        pixels = Pixels(images, spec.image_size, log, spec.channels)
        return {"image": Canvas(pixels, options.canvas_size, options.clutter) if options.canvas_size else pixels}

    def answer(self, model: GlimpseModel, batch: Batch, samples: int = 0, **decoding: Any) -> list[Answer]:
        """label, probability, probabilities, location; with `samples`, the mean of the probabilities of so many runs of
        sampled locations, and the location of the last."""
        choice = Choice(batch["image_of"], samples > 0, torch.Generator().manual_seed(0))
        paths = [model.read(batch, choice) for _ in range(max(samples, 1))]
        path, runs = paths[-1], [model.logits(path.output).softmax(-1) for path in paths]
        found = torch.stack(runs).mean(0).cpu()  # (B, T, K)
        images = batch["image"].permute(0, 2, 3, 1).cpu().numpy()
        location, width = path.location.float().clamp(-1, 1).cpu().numpy(), path.width.float().cpu().numpy()
        answers = []
        for number, (row, of) in enumerate(zip(batch["row"].tolist(), batch["image_of"].tolist(), strict=True)):
            values = model.spec.labels.values(found[number, -1].tolist())
            values["location"] = [[round(x, 3), round(y, 3)] for x, y in location[number].tolist()]
            labels = tuple(model.spec.labels.labels[index] for index in found[number].argmax(-1).tolist())
            glimpses = Glimpses(images[of].squeeze(-1) if images.shape[-1] == 1 else images[of], location[number],
                                width[number], labels)  # fmt: skip
            answers.append(Answer(row, values, glimpses=glimpses))
        return answers

    def located(self, answer: Answer, rows: Table) -> Answer:
        assert answer.glimpses is not None
        return replace(answer, glimpses=replace(answer.glimpses, of=rows.columns["image"][answer.row]))

    def measure(self, model: GlimpseModel, source: Source, limit: int | None = None) -> dict[str, Any]:
        """`metrics`, and sampled_accuracy: that of the mean probabilities of several runs of sampled locations."""
        found, samples = super().measure(model, source, limit), model.spec.options.eval_samples
        if not samples or model.spec.options.attention == "soft":
            return found
        assert isinstance(source, Rows)
        labels, sampled = source.table.columns["label"], self.answers(model, source, limit, samples=samples)
        right = [answer["label"] == labels[answer.row] for answer in sampled]
        return found | {"sampled_accuracy": sum(right) / len(right)}


def _check_sizes(spec: GlimpseSpec) -> None:
    """Raises a UserError for a canvas or a patch that does not fit."""
    options, side = spec.options, spec.side
    if options.canvas_size is not None and options.canvas_size <= spec.image_size:
        raise UserError(
            f"`canvas_size` {options.canvas_size} must be larger than the images, of {spec.image_size} pixels"
        )
    if options.glimpse_size > side:
        raise UserError(f"`glimpse_size` {options.glimpse_size} is larger than the images, of {side} pixels")
    if options.glimpse_size << (options.scales - 1) > 2 * side:
        fitting = (2 * side // options.glimpse_size).bit_length()
        raise UserError(
            f"`scales` {options.scales}: the widest patch would be more than twice as wide as the images, of {side} "
            f"pixels; at most {fitting}"
        )
