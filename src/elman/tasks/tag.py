"""Tagging: one label for every word (many to many, in step)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.data.rows import Field, Ragged, Rows
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.nets.embedding import lookup
from elman.nets.pooling import Last
from elman.options import PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.tables import TableTask, TableTaskOptions, cut
from elman.tasks.task import Answer, Batch, Data, entropy
from elman.tokenizers.vocabulary import Vocabulary

LETTERS = 16  # of a word are read: its last, for they say most of what it is
SEVERAL = 2  # times that a word must come in training to have a vector of its own


@Parameter(name="*")
@dataclass(frozen=True)
class TagOptions(TableTaskOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    words_column: str | None = None
    """The column of the words, a list or a text with spaces between them; the first when not given."""
    tags_column: str | None = None
    """The column of the tags; the last when not given."""
    bidirectional: bool = True
    """Read each row backwards too."""
    spelling: PositiveInt = 32
    """Units of the recurrence, in both directions, that reads the letters of each word (Lample et al. 2016)."""


class Tag(TableTask):
    """Words by lookup and by spelling, `Recurrent`, linear head, cross-entropy at each word."""

    kind: ClassVar[str] = "tag"
    summary: ClassVar[str] = "a tagger: one label a word"
    unit: ClassVar[str] = "word"
    roles: ClassVar[tuple[str, ...]] = ("words", "tags")
    takes: ClassVar[dict[str, tuple[type, ...]]] = {"words": (str, list), "tags": (str, list)}
    asks: ClassVar[tuple[str, ...]] = ("words",)
    by: ClassVar[str | None] = "input"
    Options: ClassVar[type[TableTaskOptions]] = TagOptions

    def __init__(
        self,
        words: int,
        letters: int,
        tags: int,
        embedding: int,
        hidden: int,
        spelling: int,
        cell: Any = "lstm",
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
    ):
        """letters: how many are known, the unknown one counted; one more stands for no letter."""
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.lookup, self.letters = lookup(words, embedding), lookup(letters + 1, spelling)
        self.speller = Recurrent(spelling, spelling, cell, bidirectional=True, backend=backend, name="spelling")
        self.spelled = Last(2 * spelling, 2)
        self.recurrent = Recurrent(
            embedding + 2 * spelling, hidden, cell, layers, bidirectional, dropout=dropout, residual=residual,
            backend=backend,
        )  # fmt: skip
        self.head = nn.Linear(self.recurrent.output_size, tags)
        self.dropout = dropout

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{self.recurrent.sizes}, spelling by {self.speller.hidden_size}, dropout {self.dropout:g}"

    @classmethod
    def learn(cls, train: Table, options: TagOptions) -> dict[str, Any]:
        sentences = [_list(value) for value in train.columns["words"]]
        tags = sorted({tag for value in train.columns["tags"] for tag in _list(value)})
        if len(tags) < 2:
            raise UserError(f"{train.name} has one tag only, '{''.join(tags)}': a tagger needs at least two")
        words, letters = Vocabulary.of(sentences, SEVERAL), Vocabulary.of(["".join(words) for words in sentences], 1)
        return {"tags": tags, "words": words.symbols, "letters": letters.symbols}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        words, letters = Vocabulary(config["words"]), Vocabulary(config["letters"])
        sentences = cut([_list(value) for value in rows.columns["words"]], config["max_length"], log)
        spelled = [np.stack([_spelled(word, letters) for word in sentence]) for sentence in sentences]
        return {"input": Ragged([words.indices(sentence) for sentence in sentences]), "letters": Ragged(spelled)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        numbers, found = {tag: number for number, tag in enumerate(config["tags"])}, []
        pairs = zip(map(_list, rows.columns["words"]), map(_list, rows.columns["tags"]), strict=True)
        for row, (words, tags) in enumerate(pairs):
            if len(words) != len(tags):
                raise UserError(f"{rows.where(row)} has {len(words)} words and {len(tags)} tags: there is one a word")
            for tag in tags:
                if tag not in numbers:
                    raise UserError(f"{rows.where(row)} has the tag '{tag}', which no training row has")
            found.append(np.array([numbers[tag] for tag in tags][: config["max_length"]]))
        return {"target": Ragged(found, IGNORED)}

    @classmethod
    def floor(cls, train: Rows) -> float | None:
        return entropy(np.concatenate(train.values("target")))

    @classmethod
    def sizes(cls, train: Rows, options: TagOptions, seconds: float | None) -> TagOptions:
        hidden = options.hidden or 128
        dropout = 0.4 if options.dropout is None else options.dropout
        return replace(options, hidden=hidden, embedding=options.embedding or min(100, hidden), dropout=dropout)

    @classmethod
    def new(cls, options: TagOptions, data: Data) -> "Tag":
        config = data.config
        assert options.hidden is not None
        assert options.embedding is not None
        assert options.dropout is not None
        return cls(
            len(Vocabulary(config["words"])), len(Vocabulary(config["letters"])), len(config["tags"]),
            options.embedding, options.hidden, options.spelling, options.cell, options.layers,
            options.bidirectional, options.dropout, options.residual, options.backend,
        )  # fmt: skip

    def logits(self, batch: Batch) -> Tensor:
        """input (B, T), input_lengths and letters (B, T, 16) give the logits (B, T, K) of the tags."""
        words, letters = batch["input"], batch["letters"]
        sizes = (letters > 0).sum(-1).flatten()
        y, _ = self.speller(self.letters(letters.flatten(0, 1)), lengths=sizes)
        x = torch.cat((self.lookup(words), self.spelled(y, sizes).view(*words.shape, -1)), -1)
        y, _ = self.recurrent(drop(x, self.dropout, self.training), lengths=batch["input_lengths"])
        return self.head(drop(y, self.dropout, self.training)).float()

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """input (B, T), input_lengths, letters (B, T, 16); target (B, T), IGNORED where there is no word."""
        logits, target = self.logits(batch), batch["target"]
        nats = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="sum")
        counted = target != IGNORED
        right = ((logits.argmax(-1) == target) & counted).sum()
        return nats / counted.sum(), None, {"nats": nats.detach(), "tokens": counted.sum(), "right": right}

    def answers(self, batch: Batch, config: dict[str, Any], **how: Any) -> list[Answer]:
        chances, best = self.logits(batch).softmax(-1).max(-1)
        found = []
        for numbers, sure, length in zip(best.tolist(), chances.tolist(), batch["input_lengths"].tolist(), strict=True):
            tags = [config["tags"][number] for number in numbers[:length]]
            found.append({"tags": " ".join(tags), "each": tags, "probabilities": sure[:length]})
        return found

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """accuracy a word; entity_f1, as seqeval counts entities, where the tags are of the kind B-PER, I-PER, O."""
        pairs = [(_list(rows.columns["tags"][row])[: config["max_length"]], answer["each"])
                 for row, answer in answers.items()]  # fmt: skip
        references, predictions = zip(*pairs, strict=True)
        return evaluate(self.kind, predictions, references, config["tags"])


def _list(value: Any) -> list[str]:
    """The words of a value: a list, or a text with spaces between them."""
    return value.split() if isinstance(value, str) else list(value)


def _spelled(word: str, letters: Vocabulary) -> np.ndarray:
    """The last letters of a word as numbers, (16,), 0 behind them; there 0 is no letter, and an unknown one is 1."""
    ids = letters.indices(list(word[-LETTERS:])) + 1
    return np.pad(ids, (0, LETTERS - len(ids)))
