"""Classification: a sequence in, one label out (many to one)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.image import LazyImage
from elman.data.rows import Field
from elman.data.source import Batch
from elman.data.split_names import SPLIT
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.nets.pooling import POOLING
from elman.options import Choices, PositiveInt, at_most
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.state import State
from elman.tasks.answer import Answer, Attention
from elman.tasks.class_prediction import ClassPrediction
from elman.tasks.labels import LabelEncoder
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.row_input import LINES, AnyInput, choose_input
from elman.tasks.tables import TYPES, SequenceOptions, SequenceSpec, images
from elman.tokenizers.options import TokenizerOptions


@dataclass(frozen=True)
class ClassifyOptions(TokenizerOptions, SequenceOptions):
    """Options of the data and the network. None: chosen from the data."""

    text_column: str | None = None
    """The column of the inputs; the longest text when not given, or the images where there is no text."""
    label_column: str | None = None
    """The column of the labels; the one with the fewest different values when not given."""
    bidirectional: bool = True
    """Read each row backwards too."""
    pooling: Annotated[str, Choices(lambda: POOLING)] = "max"
    """How the outputs of all steps become one vector: last, mean, max or attention."""
    class_weights: bool = False
    """Weight each class in the loss as if all were equally frequent."""
    encoder: str = LINES
    """How an image is read. lines: line by line, from the top; residual, mlp, timm:NAME: by an image encoder, whose
    positions are the steps."""
    fine_tune: bool = False
    """Train a timm encoder further, instead of freezing it."""
    image_size: Annotated[PositiveInt | None, at_most(4096)] = None
    """Pixels per side to which images are resized. Default: their own where all are squares of one size, at most 64."""


@dataclass(frozen=True, kw_only=True)
class ClassifySpec(SequenceSpec):
    """input: how inputs are encoded; labels: the classes; class_weights: of each class in the loss, or None."""

    options: ClassifyOptions
    input: AnyInput
    labels: LabelEncoder
    class_weights: tuple[float, ...] | None


class ClassifyModel(Model):
    """Embedding, `Recurrent`, pooling, linear head, cross-entropy."""

    def __init__(self, spec: ClassifySpec):
        super().__init__(spec)
        options, self.dropout = spec.options, spec.dropout
        self.embedding, size = spec.input.embed(spec.embedding)
        self.recurrent = options.recurrent(size, spec.hidden, spec.dropout, bidirectional=options.bidirectional)
        self.pool = POOLING[options.pooling](self.recurrent.output_size, self.recurrent.directions)
        self.head = nn.Linear(self.recurrent.output_size, len(spec.labels))
        self.class_weights = None if spec.class_weights is None else torch.tensor(spec.class_weights)

    def load_pretrained(self) -> None:
        self.spec.input.load_pretrained(self.embedding)

    def describe(self) -> str:
        return f"{super().describe()}, {self.spec.options.pooling} pooling, dropout {self.dropout:g}"

    def outputs(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The outputs (B, T, D H) of the recurrence over inputs (B, T) token ids, or (B, T, F), of `lengths` (B,)."""
        return self.recurrent(drop(self.embedding(inputs), self.dropout, self.training), lengths=lengths)[0]

    def classify(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The logits (B, K) of the classes from outputs (B, T, D H)."""
        return self.head(drop(self.pool(y, lengths), self.dropout, self.training)).float()

    def logits(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The logits (B, K) of the classes for inputs (B, T) or (B, T, F) of `lengths` (B,)."""
        return self.classify(self.outputs(inputs, lengths), lengths)

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy, in nats. input (B, T) or (B, T, F), input_lengths, target (B,). Class weights count in
        the mean, not in the sums."""
        logits, target = self.logits(batch["input"], batch["input_lengths"]), batch["target"]
        nats = F.cross_entropy(logits, target, reduction="none")
        weighted = nats if self.class_weights is None else nats * self.class_weights.to(nats)[target]
        correct = (logits.argmax(-1) == target).sum()
        return Loss(weighted.mean(), nats.new_tensor(len(target)), {"loss": nats.sum(), "correct": correct})

    @torch.inference_mode()
    def prefix_probabilities(self, inputs: Tensor) -> Tensor:
        """The probabilities (T, K) of the classes after each step of one row (T,) or (T, F), as if it ended there."""
        steps = len(inputs)
        lengths = torch.arange(1, steps + 1, device=inputs.device)
        return self.eval().logits(inputs.expand(steps, *inputs.shape), lengths).softmax(-1)


class Classify(
    ClassPrediction, kind="classify", summary="a classifier of texts, images or other sequences: one label per row"
):
    """Classification."""

    Options, Spec, Model = ClassifyOptions, ClassifySpec, ClassifyModel
    nats = True
    roles = ("text", "label")
    accepts = {"text": (str, np.ndarray, LazyImage)}
    inputs = ("text",)
    bucket_by = "input"

    def wanted(self, read: Table, options: ClassifyOptions) -> dict[str, str | None]:
        """The images are the input where all else there is may be the label."""
        found = super().wanted(read, options)
        image_columns = [
            name for name, values in read.columns.items() if any(isinstance(value, LazyImage) for value in values)
        ]
        others = {name for name in read.columns if name not in (SPLIT, options.split, *image_columns)}
        return found | (
            {"text": image_columns[0]} if found["text"] is None and len(image_columns) == 1 >= len(others) else {}
        )

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> ClassifySpec:
        train, options = splits["train"], common["options"]
        labels = LabelEncoder.of_classes(train.columns["label"], train.name)
        counts = np.bincount([labels.indices[label] for label in train.columns["label"]])
        weights = len(train) / (counts * len(labels))
        hidden = options.hidden or 128
        return ClassifySpec(
            **common, hidden=hidden, embedding=options.embedding or hidden,
            dropout=0.5 if options.dropout is None else options.dropout, labels=labels,
            input=choose_input(train, options),
            class_weights=tuple(weights.tolist()) if options.class_weights else None,
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: ClassifySpec, log: Log) -> dict[str, Field]:
        for row, value in enumerate(rows.columns["text"]):
            if not isinstance(value, spec.input.kind):
                found = next(name for each, name in TYPES.items() if isinstance(value, each))
                trained = TYPES[spec.input.kind].split()[-1]
                raise UserError(f"{rows.where(row)} is {found}: the model was trained on {trained}s")
        return {"input": spec.input.encode(rows, spec.options.max_length, log)}

    def takes_images(self, spec: ClassifySpec) -> bool:
        return spec.input.kind is LazyImage

    def opened(self, rows: Table, spec: ClassifySpec) -> Table:
        """Where the model takes images, a text is the name of one."""
        if not self.takes_images(spec):
            return rows
        return replace(rows, columns=rows.columns | {"text": images(rows.columns["text"])})

    def answer(self, model: ClassifyModel, batch: Batch, **decoding: Any) -> list[Answer]:
        """label, probability, probabilities; the attention is what each step contributes to the pooled vector."""
        lengths = batch["input_lengths"]
        y = model.outputs(batch["input"], lengths)
        probabilities, weights = model.classify(y, lengths).softmax(-1), model.pool.weights(y, lengths)
        found = []
        for number, (row, each) in enumerate(zip(batch["row"].tolist(), probabilities, strict=True)):
            values = model.spec.labels.values(each.tolist())
            length = int(lengths[number])
            attention = None if weights is None else weights[number, :length].float().cpu().numpy()
            found.append(Answer(row, values, None if attention is None else Attention(attention[None], ("",), None)))
        return found
