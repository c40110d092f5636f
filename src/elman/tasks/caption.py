"""Captions: an image in, a sentence out (one to many)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from elman.data.image import LazyImage
from elman.data.rows import Field
from elman.data.source import Batch
from elman.data.table import Table
from elman.decode.search import Hypothesis, Search
from elman.decode.search import search as beam_search
from elman.log import Log
from elman.metrics.captions import CaptionScores
from elman.metrics.metric import evaluate
from elman.metrics.pointing import Pointing, pointing, pointing_metrics
from elman.nets.attention_decoder import HardDecoder, SoftDecoder
from elman.nets.pooled_decoder import PooledDecoder
from elman.options import Choices, CountFloat, OnlyWith, PositiveInt, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.stepper import Stepper
from elman.tasks.answer import Answer, Attention
from elman.tasks.conditional_generation import ConditionalGeneration, TiedModel, token_texts, with_end
from elman.tasks.loss import Context
from elman.tasks.spec import AnyTokenizer
from elman.tasks.tables import SequenceSpec, encoded
from elman.tasks.vision import AnyEncoder, VisionOptions, choose, with_image
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import Tokenizer

LONGEST = 50  # tokens generated at most
PREVIEWED = 3  # captions of a preview
DECODERS: dict[str, type[PooledDecoder] | type[SoftDecoder]] = {
    "plain": PooledDecoder,
    "soft": SoftDecoder,
    "hard": HardDecoder,
}


@dataclass(frozen=True)
class CaptionOptions(VisionOptions, TokenizerOptions):
    """Options of the data and the network. None: chosen from the data."""

    caption_column: str | None = None
    """The column of the captions; the longest text when not given."""
    decoder: Annotated[str, Choices(lambda: DECODERS)] = "soft"
    """What the decoder is given of the image: the mean of its positions (plain), or attention to them before each
    token, soft, a mean over all, or hard, one, learned by REINFORCE (Xu et al. 2015)."""
    image_enters: Annotated[Literal["add", "state", "first"], OnlyWith("decoder", "plain")] = "add"
    """Where the image enters a plain decoder: as a term of every step (add), as the initial state (state), or as the
    first input (first)."""
    coverage: Annotated[CountFloat, OnlyWith("decoder", "soft")] = 0.0
    """Weight of doubly stochastic attention: every position should get as much attention as every other."""
    reinforce_weight: Annotated[CountFloat, OnlyWith("decoder", "hard")] = 0.02
    """Weight of the REINFORCE objective of a sampled position."""
    entropy: Annotated[float | None, OnlyWith("decoder", "soft", "hard")] = None
    """Weight of the entropy of the attention, which keeps it spread; below 0 it becomes narrow."""
    batch_size: PositiveInt = 64
    """Captions per batch."""
    label_smoothing: ShareFloat = 0.0
    """The part of the target's probability that is spread over all tokens, in training."""


@dataclass(frozen=True, kw_only=True)
class CaptionSpec(SequenceSpec):
    """tokenizer: that of the captions; encoder: of the images; entropy: as chosen."""

    options: CaptionOptions
    tokenizer: AnyTokenizer
    encoder: AnyEncoder
    entropy: float


class CaptionModel(TiedModel):
    """An image as a grid of vectors, and a decoder that generates its caption."""

    def __init__(self, spec: CaptionSpec):
        super().__init__(spec, len(spec.tokenizer))
        options = spec.options

        def recurrence(input_size: int) -> Recurrent:
            return options.recurrent(input_size, spec.hidden, spec.dropout)

        self.encoder = spec.encoder.network()
        self.decoder = DECODERS[options.decoder](self.encoder.size, spec.embedding, recurrence, options, spec.entropy)

    def load_pretrained(self) -> None:
        self.spec.encoder.load_pretrained(self.encoder)

    def describe(self) -> str:
        return f"{super().describe()}, {self.spec.options.decoder} decoder, dropout {self.dropout:g}"

    @property
    def generating(self) -> Recurrent:
        return self.decoder.recurrent

    @property
    def label_smoothing(self) -> float:
        return self.spec.options.label_smoothing

    def begin(self, batch: Batch) -> dict[str, Any]:
        """From image (N, ...), see the encoder, and image_of (B,), which of them is each row's."""
        return self.decoder.begin(self.encoder(batch["image"])[batch["image_of"]])

    def advance(self, layer: Stepper, token: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        hidden, state = self.decoder.advance(layer, self.embed(token), state)
        return drop(hidden, self.dropout, self.training), state

    def decode(self, tokens: Tensor, state: dict[str, Any], context: Context) -> tuple[Tensor, Any]:
        hidden, attended = self.decoder.decode(self.embed(tokens), state)
        return drop(hidden, self.dropout, self.training), attended

    def penalty(self, decoded: Any, nats: Tensor, mask: Tensor) -> Tensor:
        return self.decoder.penalty(decoded, nats, mask)

    def preview(self, context: Context) -> str:
        """A reference of the first validation images, and the caption generated greedily."""
        assert context.batch is not None
        first = {int(image): row for row, image in reversed(list(enumerate(context.batch["image_of"].tolist())))}
        images = torch.tensor(sorted(first)[:PREVIEWED], device=self.device)
        batch = {"image": context.batch["image"][images], "image_of": torch.arange(len(images), device=self.device)}
        found = beam_search(self.stepper(), batch, len(images), self.boundary, self.boundary, Search(), LONGEST)
        lines, tokenizer = [], self.spec.tokenizer
        for image, (best,) in zip(images.tolist(), found, strict=True):
            target = [token for token in context.batch["target"][first[image]].tolist() if 0 <= token < self.boundary]
            texts = (tokenizer.decode(ids).removeprefix(tokenizer.lead) for ids in (target, best.tokens))
            lines.append(" → ".join(texts))
        return "\n".join(lines)


class Caption(ConditionalGeneration, kind="caption", summary="captions: an image in, a sentence out"):
    """Captions."""

    Options, Spec, Model = CaptionOptions, CaptionSpec, CaptionModel
    roles = ("image", "caption")
    accepts = {"image": (LazyImage,)}
    inputs = ("image",)
    metrics_by = ("pair",)
    bucket_by = None  # else batch norm could learn the length from the batch
    target = "caption"
    answer_name = "caption"

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> CaptionSpec:
        train, options = splits["train"], common["options"]
        kind, hidden = registry.find(options.tokens or "word"), options.hidden or 256
        default = DECODERS[options.decoder].entropy
        return CaptionSpec(
            **common, hidden=hidden, embedding=options.embedding or hidden // 2,
            dropout=0.1 if options.dropout is None else options.dropout,
            encoder=choose(options, train.columns["image"]),
            tokenizer=kind.of_texts(train.columns["caption"], options.vocab_size, options.lower),
            entropy=default if options.entropy is None else options.entropy,
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: CaptionSpec, log: Log) -> dict[str, Field]:
        return {"image": spec.encoder.field(rows.columns["image"], log)}

    def encode_targets(self, rows: Table, spec: CaptionSpec, log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["caption"], spec.tokenizer, spec.options.max_length, log)
        return {"target": with_end(ids, len(spec.tokenizer))}

    def target_tokenizer(self, spec: CaptionSpec) -> Tokenizer:
        return spec.tokenizer

    def limits(self, batch: Batch) -> list[int]:
        return [LONGEST] * len(batch["image_of"])

    def attention(self, model: CaptionModel, batch: Batch, row: int, found: Hypothesis) -> Attention | None:
        if found.attention is None:
            return None
        texts = token_texts(model.spec.tokenizer, found.tokens)
        return Attention(found.attention[: len(texts)].numpy(), texts, None, model.decoder.hard)

    def located(self, answer: Answer, rows: Table) -> Answer:
        return with_image(answer, rows)

    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: CaptionSpec) -> dict[str, Any]:
        """See `CaptionScores.metrics` and `pointing_metrics`. Each image counts once, with all its captions."""
        once = {image.name: answers[row] for row, image in enumerate(rows.columns["image"]) if row in answers}
        scores = CaptionScores(rows, {answer.row: answer["caption"] for answer in once.values()})
        references = [scores.references[name] for name in once]
        found = [each for some in pointings(rows, once.values(), spec).values() for each in some]
        more = evaluate(self.kind, list(scores.predictions.values()), references)
        return scores.metrics() | pointing_metrics(found) | more


def pointings(rows: Table, answers: Iterable[Answer], spec: CaptionSpec) -> dict[int, list[Pointing]]:
    """The `pointing` of answers, by row, where images know the boxes of their objects and tokens are words."""
    found = {}
    for answer in answers:
        boxes, attention = rows.columns["image"][answer.row].boxes(answer["caption"]), answer.attention
        if boxes and attention is not None and spec.tokenizer.unit == "word":
            found[answer.row] = pointing(attention.weights, attention.queries, boxes)
    return found
