"""Generation: a label in, a sequence out (one to many)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.rows import Field
from elman.data.source import Batch
from elman.data.split_names import SPLIT
from elman.data.table import Table
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError
from elman.files import STANDARD_INPUT
from elman.log import Log
from elman.nets.embedding import embedding
from elman.options import NotWith, PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.state import State, like
from elman.recurrent.token_stepper import RecurrentTokenStepper
from elman.tasks.capabilities import Generates, Prompt
from elman.tasks.conditional_generation import ConditionalModel, with_end
from elman.tasks.labels import LabelEncoder
from elman.tasks.loss import Context
from elman.tasks.spec import AnyTokenizer
from elman.tasks.tables import SequenceOptions, SequenceSpec, TableTask, encoded
from elman.tasks.task import Reading
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import Tokenizer

TOKENS = "char"  # unless given
PREVIEWED, LENGTH = 4, 160  # texts of a preview, and their most tokens


@dataclass(frozen=True)
class GenerateOptions(TokenizerOptions, SequenceOptions):
    """Options of the data and the network. None: chosen from the data."""

    text_column: str | None = None
    """The column of the texts to generate; the longest when not given."""
    label_column: str | None = None
    """The columns that condition the text, a comma between them; none: - ; if not given the column with the fewest
    different values."""
    embedding: Annotated[PositiveInt | None, NotWith("feed", "nothing")] = None
    """Size of a token's embedding."""
    feed: Literal["token", "nothing"] = "token"
    """The input of each step: the token before it (token), or none (nothing), so that the state alone determines the
    text."""


@dataclass(frozen=True, kw_only=True)
class GenerateSpec(SequenceSpec):
    """tokenizer: that of the texts; labels: of each conditioning column, by role: label, label2, ..."""

    options: GenerateOptions
    tokenizer: AnyTokenizer
    labels: dict[str, LabelEncoder]


class GenerateModel(ConditionalModel):
    """The labels set the initial state; then embedding, `Recurrent`, linear head, cross-entropy."""

    def __init__(self, spec: GenerateSpec):
        vocabulary, options = len(spec.tokenizer), spec.options
        super().__init__(spec, vocabulary)
        self.embedding = embedding(vocabulary + 1, spec.embedding)
        self.recurrent = options.recurrent(spec.embedding, spec.hidden, spec.dropout, learn_initial_state=True)
        size = options.layers * sum(self.recurrent.state_sizes)
        self.labels = nn.ModuleDict({role: embedding(len(labels), size) for role, labels in spec.labels.items()})
        self.head = nn.Linear(self.recurrent.output_size, vocabulary + 1)

    def describe(self) -> str:
        return f"{super().describe()}, embedding {self.spec.embedding}, dropout {self.dropout:g}"

    def begin(self, batch: Batch) -> State:
        """The initial state: a learned state plus an embedding of each label (B,). A batch without labels has `target`
        or `input` (B, ...)."""
        rows = len(next(iter(batch.values())))
        learned = self.recurrent.initial(rows)
        if not self.labels:
            return learned
        total = sum(table(batch[role]) for role, table in self.labels.items())
        return tuple(
            tuple(map(torch.add, *each))
            for each in zip(learned, like(learned, total), strict=True)  # type: ignore[arg-type]
        )

    def inputs(self) -> Tensor:
        """The recurrence's input for each token (V, E): its embedding, or 0."""
        weight = self.embedding.weight
        return weight if self.spec.options.feed == "token" else torch.zeros_like(weight)

    def decode(self, tokens: Tensor, state: Any, context: Context) -> tuple[Tensor, None]:
        return self.recurrent(F.embedding(tokens, self.inputs()), state)[0], None

    def logits(self, hidden: Tensor) -> Tensor:
        return self.head(drop(hidden, self.dropout, self.training))

    def stepper(self) -> "GenerateStepper":
        return GenerateStepper(self)

    def generate(self, batch: Batch, length: int, generator: torch.Generator) -> list[tuple[str, bool]]:
        """A text of at most `length` tokens for each row of label, label2, ... (B,), and whether it reached its end."""
        rows, tokenizer = len(next(iter(batch.values()))), self.spec.tokenizer
        drawn = sample(self.stepper(), [self.boundary], length, Sampling(), generator, rows, batch)
        texts = []
        for ids in torch.stack(list(drawn), 1).tolist():
            ended = self.boundary in ids
            text = tokenizer.decode(ids[: ids.index(self.boundary)] if ended else ids).removeprefix(tokenizer.lead)
            texts.append((text, ended))
        return texts

    def preview(self, context: Context) -> str:
        """Texts for labels at equal distances."""
        counts = {role: len(labels) for role, labels in self.spec.labels.items()}
        chosen = {role: [count * number // PREVIEWED for number in range(PREVIEWED)] for role, count in counts.items()}
        batch = {role: torch.tensor(values, device=self.device) for role, values in chosen.items()}
        batch = batch or {"input": torch.zeros(PREVIEWED, 1)}
        generator = context.generator or torch.Generator().manual_seed(0)
        lines = []
        for number, (text, _) in enumerate(self.generate(batch, LENGTH, generator)):
            names = [f"[{labels.labels[chosen[role][number]]}]" for role, labels in self.spec.labels.items()]
            lines.append(" ".join([*names, text]))
        return "\n".join(lines)


class GenerateStepper(RecurrentTokenStepper):
    """The generator, one token at a time."""

    def __init__(self, model: GenerateModel):
        super().__init__(model.recurrent, model.inputs(), model.head)
        self.model = model

    def begin(self, inputs: Mapping[str, Tensor]) -> State:
        """See `Stepper`: label, label2, ... (B,), and `input` (B, ...) for the number of rows."""
        device = self.model.device
        labels = {role: inputs[role].to(device) for role in self.model.labels}
        return self.model.begin(labels or {"input": inputs["input"]})


class Generate(TableTask, Generates, kind="generate", summary="a generator of short texts from labels"):
    """Generation of texts from labels."""

    Options, Spec, Model = GenerateOptions, GenerateSpec, GenerateModel
    unit = "token"
    nats = True
    roles = ("text", "label")
    bucket_by = "target"

    def wanted(self, read: Table, options: GenerateOptions) -> dict[str, str | None]:
        """A role for each conditioning column: label, label2, ..."""
        free = read.columns.keys() - {SPLIT, options.split}
        none = options.label_column in ("-", STANDARD_INPUT)  # which a lone - on the command line is
        if none or (options.label_column is None and len(free) == 1):
            return {"text": options.text_column}
        columns = [None] if options.label_column is None else [name.strip() for name in options.label_column.split(",")]
        roles = ("label", *(f"label{number}" for number in range(2, len(columns) + 1)))
        return {"text": options.text_column} | dict(zip(roles, columns, strict=True))

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> GenerateSpec:
        train, options = splits["train"], common["options"]
        tokenizer = registry.find(options.tokens or TOKENS)
        hidden = options.hidden or 128
        return GenerateSpec(
            **common, hidden=hidden, embedding=options.embedding or min(64, hidden),
            dropout=0.2 if options.dropout is None else options.dropout,
            tokenizer=tokenizer.of_texts(train.columns["text"], options.vocab_size, options.lower),
            labels={role: LabelEncoder.of(train.columns[role]) for role in common["columns"] if role != "text"},
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: GenerateSpec, log: Log) -> dict[str, Field]:
        return {role: labels.encode(rows.columns[role], rows.where, spec.columns[role])
                for role, labels in spec.labels.items()}  # fmt: skip

    def encode_targets(self, rows: Table, spec: GenerateSpec, log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["text"], spec.tokenizer, spec.options.max_length, log)
        return {"target": with_end(ids, len(spec.tokenizer))}

    def prompt(self, spec: GenerateSpec, text: str, labels: tuple[str, ...], reading: Reading) -> Prompt:
        tokenizer, start = spec.tokenizer, len(spec.tokenizer)
        given = _given(labels, {spec.columns[role]: role for role in spec.labels})
        batch = {role: torch.tensor([encoder.index(given[role], spec.columns[role])])
                 for role, encoder in spec.labels.items()}  # fmt: skip
        ids = tokenizer.encode(tokenizer.lead + text, reading.unknown, reading.log) if text else []
        return Prompt(batch, [start, *ids], start)

    def stepper(self, model: GenerateModel) -> GenerateStepper:
        return model.stepper()

    def tokenizer(self, spec: GenerateSpec) -> Tokenizer:
        return spec.tokenizer


def _given(labels: tuple[str, ...], roles: dict[str, str]) -> dict[str, str]:
    """The value of each role: `Japanese` where there is one column, `country=Japan` where there are several."""
    names, found = list(roles), dict[str, str]()
    for label in labels:
        column, equals, value = label.partition("=")
        if len(names) == 1 and column not in roles:
            column, value = names[0], label
        elif not equals or column not in roles:
            raise UserError(
                f"`label` {label} must be COLUMN=VALUE with the column {', '.join(names) or '(there is none)'}"
            )
        if roles[column] in found:
            raise UserError(f"`label` {label} is the second {column}, after {found[roles[column]]}: give it once")
        found[roles[column]] = value
    missing = [name for name in names if roles[name] not in found]
    if missing:
        value = "WORD" if len(names) == 1 else f"{missing[0]}=VALUE"
        raise UserError(f"there is no label: give `label` {value}, since the texts have a {missing[0]}")
    return found
