"""Translation: a sequence in, another out, of another length (many to many, not aligned)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from elman.data.rows import Field, Ragged
from elman.data.source import Batch
from elman.data.table import Table
from elman.decode.search import Hypothesis, Search
from elman.decode.search import search as beam_search
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.metrics.translation import group_references
from elman.nets.attention import ATTENTION
from elman.nets.embedding import embedding
from elman.options import Choices, NotWith, PositiveInt, Probability, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.recurrent.stepper import Stepper
from elman.tasks.answer import Answer, Attention
from elman.tasks.conditional_generation import ConditionalGeneration, TiedModel, token_texts, with_end
from elman.tasks.loss import Context
from elman.tasks.spec import AnyTokenizer
from elman.tasks.tables import SequenceOptions, SequenceSpec, encoded
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import Tokenizer

PREVIEWED = 3  # sentences of a preview


@dataclass(frozen=True)
class TranslateOptions(TokenizerOptions, SequenceOptions):
    """Options of the data and the network. None: chosen from the data."""

    source_column: str | None = None
    """The column that is translated; the first of two when not given."""
    target_column: str | None = None
    """The column that it is translated to; the second of two when not given."""
    attention: Annotated[str, Choices(lambda: (*ATTENTION, "none"))] = "general"
    """The decoder's attention to the source: general, q W m, or dot, q m (Luong 2015), scaled, W q . U m (Vaswani
    2017), additive, v tanh(W q + U m) (Bahdanau 2015), or none: only the encoder's last state (Sutskever 2014)."""
    input_feeding: Annotated[bool, NotWith("attention", "additive", "none")] = False
    """Feed the attentional vector of the step before to the decoder (Luong 2015): step by step, so slower."""
    bidirectional: bool = True
    """Read the source backwards too."""
    reverse: bool = False
    """Reverse the source (Sutskever 2014)."""
    teacher_forcing: Annotated[float, Probability] = 1.0
    """Probability that the decoder's input is the true token at the end of training, falling from 1; otherwise it is
    the predicted one (scheduled sampling, Bengio 2015)."""
    batch_size: PositiveInt = 64
    """Sentences per batch."""
    label_smoothing: ShareFloat = 0.1
    """The part of the target's probability that is spread over all tokens, in training."""


@dataclass(frozen=True, kw_only=True)
class TranslateSpec(SequenceSpec):
    """source, target: the tokenizers of the two sides."""

    options: TranslateOptions
    source: AnyTokenizer
    target: AnyTokenizer


class TranslateModel(TiedModel):
    """Encoder and decoder, each a `Recurrent`, with attention between them or without."""

    def __init__(self, spec: TranslateSpec):
        super().__init__(spec, len(spec.target))
        options, hidden, size = spec.options, spec.hidden, spec.embedding
        attention, self.feeding = options.attention, options.input_feeding
        self.source_embedding = embedding(len(spec.source), size)
        self.encoder = options.recurrent(
            size, hidden, spec.dropout, bidirectional=options.bidirectional, name="encoder"
        )
        memory = self.encoder.output_size
        # what of the source enters the decoder with each token: before its step (additive) or from the one before
        self.before = attention == "additive"
        fed = memory if self.before else size if self.feeding else 0
        self.decoder = options.recurrent(size + fed, hidden, spec.dropout, name="decoder")
        given, made = self.encoder.directions * sum(self.encoder.state_sizes), sum(self.decoder.state_sizes)
        self.bridge = nn.ModuleList(nn.Linear(given, made) for _ in range(options.layers))
        output = self.decoder.output_size
        self.memory = nn.Linear(memory, output) if attention == "dot" else nn.Identity()
        width = output if attention == "dot" else memory
        query = self.decoder.state_sizes[0] if self.before else output
        self.attention = None if attention == "none" else ATTENTION[attention](query, width, hidden)
        self.join = nn.Linear(output + (0 if self.attention is None else width), size)

    def describe(self) -> str:
        attention = "no attention" if self.attention is None else f"{self.spec.options.attention} attention"
        return f"encoder {self.encoder.sizes}, decoder {self.decoder.sizes}, {attention}, dropout {self.dropout:g}"

    @property
    def generating(self) -> Recurrent:
        return self.decoder

    @property
    def label_smoothing(self) -> float:
        return self.spec.options.label_smoothing

    def begin(self, batch: Batch) -> dict[str, Any]:
        """From source (B, S) and source_lengths: the state of the decoder's layers, the memory (B, S, M) with its keys
        and lengths, and the attentional vector to feed, (B, E)."""
        source, lengths = batch["source"], batch["source_lengths"]
        y, last = self.encoder(drop(self.source_embedding(source), self.dropout, self.training), lengths=lengths)
        state: dict[str, Any] = {"layers": self._bridged(last), "lengths": lengths}
        if self.attention is not None:
            state["memory"] = self.memory(y)
            state["keys"] = self.attention.keys(state["memory"])
        if self.feeding:
            state["fed"] = y.new_zeros(len(y), self.join.out_features)
        return state

    def _bridged(self, last: State) -> State:
        """The decoder's initial state from the encoder's last, layer by layer, both directions together."""
        made = []
        for layer, bridge in enumerate(self.bridge):
            directions = last[layer * self.encoder.directions : (layer + 1) * self.encoder.directions]
            joined = torch.cat([value for direction in directions for value in direction], -1)
            made.append(torch.tanh(bridge(joined)).float().split(self.decoder.state_sizes, -1))
        return tuple(made)

    def _attend(self, query: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
        assert self.attention is not None
        return self.attention(query, state["keys"], state["memory"], state["lengths"])

    def _attentional(self, y: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """From outputs (B, T, H) of the decoder what the head is given, (B, T, E), and the attention weights (B, T, S)
        taken on the way."""
        weights = None
        if self.attention is not None and not self.before:
            context, weights = self._attend(y, state)
            y = torch.cat((y, context), -1)
        return torch.tanh(self.join(y)), weights

    def advance(self, layer: Stepper, token: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        x, context, weights = self.embed(token), None, None
        if self.before:
            context, weights = self._attend(state["layers"][-1][0][:, None], state)
            x = torch.cat((x, context[:, 0]), -1)
        elif self.feeding:
            x = torch.cat((x, state["fed"]), -1)
        y, layers = layer.step(x, state["layers"])
        y = drop(y, self.dropout, self.training)[:, None]
        hidden, after = self._attentional(y if context is None else torch.cat((y, context), -1), state)
        weights, hidden = after if weights is None else weights, hidden[:, 0]
        more = {"fed": hidden} if self.feeding else {}
        more |= {} if weights is None else {"attention": weights[:, 0]}
        return hidden, state | {"layers": layers} | more

    def decode(self, tokens: Tensor, state: dict[str, Any], context: Context) -> tuple[Tensor, Any]:
        """See `ConditionalModel`. With scheduled sampling each input is the true token with a probability that falls in
        training, and the most probable one of the step before otherwise."""
        final = self.spec.options.teacher_forcing
        probability = 1 - (1 - final) * context.progress if self.training and final < 1 else 1.0
        if not self.before and not self.feeding and probability == 1.0:  # no step needs the output of the one before
            y, _ = self.decoder(self.embed(tokens), state["layers"])
            return self._attentional(drop(y, self.dropout, self.training), state)[0], None
        layer, outputs = self.decoder.stepper(), list[Tensor]()
        for true in tokens.unbind(1):
            token = true
            if outputs and probability < 1.0:
                predicted = self.head(outputs[-1]).argmax(-1)
                token = torch.where(torch.rand(len(true)).to(true.device) < probability, true, predicted)
            hidden, state = self.advance(layer, token, state)
            outputs.append(hidden)
        return torch.stack(outputs, 1), None

    def preview(self, context: Context) -> str:
        """The first validation rows, translated greedily."""
        assert context.batch is not None
        lengths = context.batch["source_lengths"][:PREVIEWED]
        batch = {"source": context.batch["source"][:PREVIEWED, : int(lengths.max())], "source_lengths": lengths}
        limits = [limit(length) for length in lengths.tolist()]
        found = beam_search(self.stepper(), batch, len(limits), self.boundary, self.boundary, Search(), limits)
        lines = []
        for ids, length, (best,) in zip(batch["source"].tolist(), lengths.tolist(), found, strict=True):
            ids = ids[:length][::-1] if self.spec.options.reverse else ids[:length]
            texts = (self.spec.source, ids), (self.spec.target, best.tokens)
            lines.append(" → ".join(each.decode(tokens).removeprefix(each.lead) for each, tokens in texts))
        return "\n".join(lines)


class Translate(ConditionalGeneration, kind="translate", summary="a translator: a sequence in, another out"):
    """Translation."""

    Options, Spec, Model = TranslateOptions, TranslateSpec, TranslateModel
    roles = ("source", "target")
    inputs = ("source",)
    bucket_by = "source"
    target = "target"
    answer_name = "translation"

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> TranslateSpec:
        train, options = splits["train"], common["options"]
        spaces = sum(target.count(" ") for target in train.columns["target"])
        kind = registry.find(options.tokens or ("bpe" if spaces >= len(train) else "char"))
        source, target = (kind.of_texts(train.columns[role], options.vocab_size, options.lower) for role in self.roles)
        hidden = options.hidden or 256
        return TranslateSpec(
            **common, hidden=hidden, embedding=options.embedding or hidden,
            dropout=0.1 if options.dropout is None else options.dropout, source=source, target=target,
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: TranslateSpec, log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["source"], spec.source, spec.options.max_length, log)
        return {"source": Ragged([each[::-1] for each in ids] if spec.options.reverse else ids)}

    def encode_targets(self, rows: Table, spec: TranslateSpec, log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["target"], spec.target, spec.options.max_length, log)
        return {"target": with_end(ids, len(spec.target))}

    def target_tokenizer(self, spec: TranslateSpec) -> Tokenizer:
        return spec.target

    def limits(self, batch: Batch) -> list[int]:
        return [limit(length) for length in batch["source_lengths"].tolist()]

    def attention(self, model: TranslateModel, batch: Batch, row: int, found: Hypothesis) -> Attention | None:
        if found.attention is None:
            return None
        ids = batch["source"][row, : int(batch["source_lengths"][row])].tolist()
        weights = found.attention[:, : len(ids)].numpy()
        if model.spec.options.reverse:
            ids, weights = ids[::-1], weights[:, ::-1]
        keys = token_texts(model.spec.source, ids)
        return Attention(weights, (*token_texts(model.spec.target, found.tokens), *[""] * found.ended), keys)

    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: TranslateSpec) -> dict[str, Any]:
        """See `elman.metrics.translation`. All targets of a source are references, and each source counts once."""
        sources = rows.columns["source"]
        predictions = {sources[row]: answer["translation"] for row, answer in answers.items()}
        references = group_references(sources, rows.columns["target"])
        return evaluate(self.kind, list(predictions.values()), [references[source] for source in predictions])


def limit(size: int) -> int:
    """The greatest number of tokens generated for a source of `size` tokens."""
    return 2 * size + 10
