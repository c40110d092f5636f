"""Tagging: one label for every word (many to many, aligned)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.rows import Field, Ragged, Rows
from elman.data.source import Batch
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.nets.embedding import embedding
from elman.nets.pooling import Last
from elman.options import PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.state import State
from elman.tasks.answer import Answer
from elman.tasks.labels import LabelEncoder
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.row_prediction import RowPrediction
from elman.tasks.tables import SequenceOptions, SequenceSpec, truncated
from elman.tasks.task import entropy
from elman.tokenizers.vocabulary import Vocabulary

CHARACTERS = 16  # at the end of a word that are read: the most informative
FREQUENT = 2  # occurrences in training above or at which a word has an embedding of its own


@dataclass(frozen=True)
class TagOptions(SequenceOptions):
    """Options of the data and the network. None: chosen from the data."""

    words_column: str | None = None
    """The column of the words, a list or a text with spaces between them; the first when not given."""
    tags_column: str | None = None
    """The column of the tags; the last when not given."""
    bidirectional: bool = True
    """Read each row backwards too."""
    spelling: PositiveInt = 32
    """Units, per direction, of the recurrence over the characters of each word (Lample et al. 2016)."""


@dataclass(frozen=True, kw_only=True)
class TagSpec(SequenceSpec):
    """words, characters: those with an embedding of their own; tags: the classes."""

    options: TagOptions
    words: Vocabulary
    characters: Vocabulary
    tags: LabelEncoder


class TagModel(Model):
    """Words by embedding and by spelling, `Recurrent`, linear head, cross-entropy at each word."""

    def __init__(self, spec: TagSpec):
        super().__init__(spec)
        options, self.dropout, spelling = spec.options, spec.dropout, spec.options.spelling
        self.words = embedding(len(spec.words), spec.embedding)
        self.characters = embedding(len(spec.characters) + 1, spelling)  # 0 is padding
        self.speller = options.recurrent(
            spelling, spelling, layers=1, residual=False, bidirectional=True, name="spelling"
        )
        self.spelled = Last(2 * spelling, 2)
        self.recurrent = options.recurrent(
            spec.embedding + 2 * spelling, spec.hidden, spec.dropout, bidirectional=options.bidirectional
        )
        self.head = nn.Linear(self.recurrent.output_size, len(spec.tags))

    def describe(self) -> str:
        return f"{self.recurrent.sizes}, spelling by {self.speller.hidden_size}, dropout {self.dropout:g}"

    def logits(self, batch: Batch) -> Tensor:
        """input (B, T), input_lengths and characters (B, T, 16) give the logits (B, T, K) of the tags."""
        words, characters = batch["input"], batch["characters"]
        sizes = (characters > 0).sum(-1).flatten()
        y, _ = self.speller(self.characters(characters.flatten(0, 1)), lengths=sizes)
        x = torch.cat((self.words(words), self.spelled(y, sizes).view(*words.shape, -1)), -1)
        y, _ = self.recurrent(drop(x, self.dropout, self.training), lengths=batch["input_lengths"])
        return self.head(drop(y, self.dropout, self.training)).float()

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy per word, in nats. input (B, T), input_lengths, characters (B, T, 16); target (B, T),
        IGNORED where there is no word."""
        logits, target = self.logits(batch), batch["target"]
        nats = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="sum")
        mask = target != IGNORED
        correct, count = ((logits.argmax(-1) == target) & mask).sum(), mask.sum()
        return Loss(nats / count, count, {"loss": nats, "correct": correct})


class Tag(RowPrediction, kind="tag", summary="a tagger: one label per word"):
    """Tagging."""

    Options, Spec, Model = TagOptions, TagSpec, TagModel
    unit = "word"
    nats = True
    roles = ("words", "tags")
    accepts = {"words": (str, list), "tags": (str, list)}
    inputs = ("words",)
    bucket_by = "input"

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> TagSpec:
        train, options = splits["train"], common["options"]
        sentences = [_list(value) for value in train.columns["words"]]
        tags = LabelEncoder.of(tag for value in train.columns["tags"] for tag in _list(value))
        if len(tags) < 2:
            raise UserError(f"{train.name} has one tag only, '{''.join(tags.labels)}': a tagger needs at least two")
        hidden = options.hidden or 128
        return TagSpec(
            **common, hidden=hidden, embedding=options.embedding or min(100, hidden),
            dropout=0.4 if options.dropout is None else options.dropout, tags=tags,
            words=Vocabulary.of(sentences, FREQUENT),
            characters=Vocabulary.of(["".join(words) for words in sentences], 1),
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: TagSpec, log: Log) -> dict[str, Field]:
        sentences = truncated([_list(value) for value in rows.columns["words"]], spec.options.max_length, log)
        spelled = [np.stack([_spelled(word, spec.characters) for word in sentence]) for sentence in sentences]
        return {
            "input": Ragged([spec.words.indices(sentence) for sentence in sentences]),
            "characters": Ragged(spelled),
        }

    def encode_targets(self, rows: Table, spec: TagSpec, log: Log) -> dict[str, Field]:
        found = []
        pairs = zip(map(_list, rows.columns["words"]), map(_list, rows.columns["tags"]), strict=True)
        for row, (words, tags) in enumerate(pairs):
            where = rows.where(row)
            if len(words) != len(tags):
                raise UserError(f"{where} has {len(words)} words and {len(tags)} tags: there must be one per word")
            indices = spec.tags.encode(tags, lambda _, where=where: where, "tag")
            found.append(indices[: spec.options.max_length])
        return {"target": Ragged(found, IGNORED)}

    def unigram_entropy(self, train: Rows) -> float | None:
        return entropy(np.concatenate(train.values("target")))

    def answer(self, model: TagModel, batch: Batch, **decoding: Any) -> list[Answer]:
        """tags, as one text; each, as a list; probabilities, one per word."""
        probabilities, best = model.logits(batch).softmax(-1).max(-1)
        lengths, found = batch["input_lengths"].tolist(), []
        rows = zip(batch["row"].tolist(), best.tolist(), probabilities.tolist(), lengths, strict=True)
        for row, indices, certain, length in rows:
            tags = [model.spec.tags.labels[index] for index in indices[:length]]
            found.append(Answer(row, {"tags": " ".join(tags), "each": tags, "probabilities": certain[:length]}))
        return found

    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: TagSpec) -> dict[str, Any]:
        """See `elman.metrics.tagging`."""
        references = [_list(rows.columns["tags"][row])[: spec.options.max_length] for row in answers]
        return evaluate(self.kind, [answer["each"] for answer in answers.values()], references, spec.tags.labels)


def _list(value: Any) -> list[str]:
    """The words of a value: a list, or a text with spaces between them."""
    return value.split() if isinstance(value, str) else list(value)


def _spelled(word: str, characters: Vocabulary) -> np.ndarray:
    """The last characters of a word as indices (16,), 0 after them; an unknown one is 1."""
    ids = characters.indices(list(word[-CHARACTERS:])) + 1
    return np.pad(ids, (0, CHARACTERS - len(ids)))
