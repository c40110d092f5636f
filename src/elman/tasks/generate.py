"""Generation: a label in, a sequence out (one to many)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.data.rows import Field, Rows
from elman.data.split_names import SPLIT
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError, unknown
from elman.files import STANDARD_INPUT
from elman.log import Log
from elman.nets.embedding import lookup
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.lm import LMStepper
from elman.tasks.tables import TableTask, TableTaskOptions, encoded, ended, shifted
from elman.tasks.task import Answer, Batch, Data
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import Tokenizer, Unknown

TOKENS = "char"  # unless said
SHOWN = 4  # texts shown while training


@Parameter(name="*")
@dataclass(frozen=True)
class GenerateOptions(TokenizerOptions, TableTaskOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    text_column: str | None = None
    """The column that is to be written; the longest when not given."""
    label_column: str | None = None
    """The columns that say what is to be written, a comma between them; none: - ; if not given the column with the
    fewest different values."""
    feed: Literal["token", "nothing"] = "token"
    """What each step is given: the token before it, or nothing, so that all must come from the first state."""


class Generate(TableTask):
    """The columns set the first state; then lookup, `Recurrent`, linear head, cross-entropy."""

    kind: ClassVar[str] = "generate"
    summary: ClassVar[str] = "a generator of short texts from a label, or from nothing"
    unit: ClassVar[str] = "token"
    next_step: ClassVar[str] = "let it write: elman sample"
    roles: ClassVar[tuple[str, ...]] = ("text", "label")
    by: ClassVar[str | None] = "target"
    Options: ClassVar[type[TableTaskOptions]] = GenerateOptions

    def __init__(
        self,
        vocabulary: int,
        embedding: int,
        hidden: int,
        labels: list[int],
        cell: Any = "lstm",
        layers: int = 1,
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
        feed: str = "token",
    ):
        """labels: how many values each of the columns has. One token beyond the vocabulary begins and ends a text."""
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.lookup = lookup(vocabulary + 1, embedding)
        self.recurrent = Recurrent(
            embedding,
            hidden,
            cell,
            layers,
            dropout=dropout,
            residual=residual,
            backend=backend,
            learned_state=True,
        )
        self.states = len(self.recurrent.initial(1)[0])
        self.labels = nn.ModuleList(lookup(count, layers * self.states * hidden) for count in labels)
        self.head = nn.Linear(hidden, vocabulary + 1)
        self.boundary, self.dropout, self.feed = vocabulary, dropout, feed

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{super().describe()}, embedding {self._config['embedding']}, dropout {self.dropout:g}"

    @classmethod
    def wanted(cls, read: Table, options: GenerateOptions) -> dict[str, str | None]:
        """A role for each column that says what is to be written: label, label2, ..."""
        free = read.columns.keys() - {SPLIT, options.split}
        none = options.label_column in ("-", STANDARD_INPUT)  # which a lone - on the command line is
        if none or (options.label_column is None and len(free) == 1):
            return {"text": options.text_column}
        named = [None] if options.label_column is None else [name.strip() for name in options.label_column.split(",")]
        return {"text": options.text_column} | {_role(number): name for number, name in enumerate(named)}

    @classmethod
    def learn(cls, train: Table, options: GenerateOptions) -> dict[str, Any]:
        tokens = registry.find(options.tokens or TOKENS).of_texts(train.columns["text"], options.vocab_size, options.lower)
        labels = {role: sorted(set(values)) for role, values in train.columns.items() if role.startswith("label")}
        return {"tokens": tokens.to_json(), "labels": labels}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        made: dict[str, Field] = {}
        for role, labels in config["labels"].items():
            numbers, values = {label: number for number, label in enumerate(labels)}, rows.columns[role]
            for row, value in enumerate(values):
                if value not in numbers:
                    raise UserError(f"{rows.where(row)} has the {config['columns'][role]} '{value}', which no training "
                                    f"row has: {', '.join(labels[:10])}")  # fmt: skip
            made[role] = np.array([numbers[value] for value in values])
        return made

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["text"], config["tokens"], config["max_length"], log)
        return {"target": ended(ids, config["tokens"])}

    @classmethod
    def sizes(cls, train: Rows, options: GenerateOptions, seconds: float | None) -> GenerateOptions:
        hidden = options.hidden or 128
        dropout = 0.2 if options.dropout is None else options.dropout
        embedding = options.embedding or min(64, hidden)
        return replace(options, tokens=options.tokens or TOKENS, hidden=hidden, embedding=embedding, dropout=dropout)

    @classmethod
    def new(cls, options: GenerateOptions, data: Data) -> "Generate":
        assert options.hidden is not None
        assert options.embedding is not None
        assert options.dropout is not None
        return cls(
            len(registry.from_json(data.config["tokens"])), options.embedding, options.hidden,
            [len(labels) for labels in data.config["labels"].values()], options.cell, options.layers,
            options.dropout, options.residual, options.backend, options.feed,
        )  # fmt: skip

    def first(self, batch: Batch, rows: int) -> State:
        """The state before the first token: what is learned for every text, and for each of its labels (B,)."""
        learned = self.recurrent.initial(rows)
        if not self.labels:
            return learned
        wide = sum(table(batch[_role(number)]) for number, table in enumerate(self.labels))
        values = iter(wide.chunk(len(learned) * self.states, -1))  # type: ignore[union-attr]
        return tuple(tuple(value + next(values) for value in layer) for layer in learned)

    def vectors(self) -> Tensor:
        """What the recurrence is given for each token, (V, E): its vector, or nothing."""
        return self.lookup.weight if self.feed == "token" else torch.zeros_like(self.lookup.weight)

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """label, label2, ... (B,); target (B, T), the end included, IGNORED where there is none."""
        target = batch["target"]
        tokens = shifted(target, self.boundary)
        y, _ = self.recurrent(F.embedding(tokens, self.vectors()), self.first(batch, len(target)))
        counted = target != IGNORED
        logits = self.head(drop(y[counted], self.dropout, self.training)).float()
        nats = F.cross_entropy(logits, target[counted])
        count = counted.sum()
        return nats, None, {"nats": nats.detach() * count, "tokens": count}

    def predict(self, rows: Table, config: dict[str, Any], log: Log, **how: Any) -> list[Answer]:
        raise UserError("a generator writes: elman sample RUN --label WORD")

    def answers(self, batch: Batch, config: dict[str, Any], **how: Any) -> list[Answer]:
        """Nothing is asked of a generator, so it answers each row with nothing."""
        return [{} for _ in batch["row"]]

    def stepper(self) -> "GenerateStepper":
        return GenerateStepper(self)

    def opening(
        self, config: dict[str, Any], prompt: str, labels: tuple[str, ...], unknown: Unknown, log: Log
    ) -> tuple[Batch, list[int], int | None]:
        tokens, known = registry.from_json(config["tokens"]), config["labels"]
        given = _given(labels, {config["columns"][role]: role for role in known})
        batch = {role: torch.tensor([_number(given[role], known[role], config["columns"][role])]) for role in known}
        ids = tokens.encode(tokens.lead + prompt, unknown, log) if prompt else []
        return batch, [self.boundary, *ids], self.boundary

    def write(
        self, batch: Batch, rows: int, length: int, tokens: Tokenizer, generator: torch.Generator
    ) -> list[tuple[str, bool]]:
        """A text of at most so many tokens for each row of label, label2, ... (B,), and whether it came to its end."""
        drawn = sample(self.stepper(), [self.boundary], length, Sampling(), generator, rows, batch)
        texts = []
        for ids in torch.stack(list(drawn), 1).tolist():
            ended = self.boundary in ids
            text = tokens.decode(ids[: ids.index(self.boundary)] if ended else ids).removeprefix(tokens.lead)
            texts.append((text, ended))
        return texts

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str]:
        tokens, generator = registry.from_json(config["tokens"]), torch.Generator().manual_seed(0)

        def write(length: int) -> str:
            # labels that lie apart, and every text after its own
            counts = [len(labels) for labels in config["labels"].values()]
            chosen = [[count * number // SHOWN for number in range(SHOWN)] for count in counts]
            batch = {_role(number): torch.tensor(values) for number, values in enumerate(chosen)}
            lines = []
            for number, (text, _) in enumerate(self.write(batch, SHOWN, length, tokens, generator)):
                columns = zip(config["labels"].values(), chosen, strict=True)
                lines.append(" ".join([*(f"[{labels[values[number]]}]" for labels, values in columns), text]))
            return "\n".join(lines)

        return write


class GenerateStepper(LMStepper):
    """The generator a token at a time."""

    def __init__(self, model: Generate):
        super().__init__(model.recurrent, model.vectors(), model.head)
        self.first = model.first

    def begin(self, batch: Batch) -> State:
        """See `Stepper`: label, label2, ... (B,), and `input` (B, ...) for the number of rows."""
        device = self.device
        return self.first({name: value.to(device) for name, value in batch.items()}, len(batch["input"]))


def _role(number: int) -> str:
    return "label" if number == 0 else f"label{number + 1}"


def _number(value: Any, labels: list[str], column: str) -> int:
    if value not in labels:
        raise unknown(column, str(value), labels)
    return labels.index(value)


def _given(labels: tuple[str, ...], roles: dict[str, str]) -> dict[str, str]:
    """The value of each role: `Japanese` where there is one column, `country=Japan` where there are several."""
    names, found = list(roles), dict[str, str]()
    for label in labels:
        column, equals, value = label.partition("=")
        if len(names) == 1 and column not in roles:
            column, value = names[0], label
        elif not equals or column not in roles:
            raise UserError(
                f"--label {label} must be COLUMN=VALUE with the column {', '.join(names) or '(there is none)'}"
            )
        if roles[column] in found:
            raise UserError(f"--label {label} is the second {column}, after {found[roles[column]]}: say it once")
        found[roles[column]] = value
    missing = [name for name in names if roles[name] not in found]
    if missing:
        value = "WORD" if len(names) == 1 else f"{missing[0]}=VALUE"
        raise UserError(f"what shall be written? give --label {value}: the texts have a {missing[0]}")
    return found
