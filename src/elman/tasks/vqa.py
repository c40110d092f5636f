"""Questions about pictures: a question and a picture in, one of the known answers out."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.data.picture import Picture
from elman.data.pixels import Pixels
from elman.data.rows import Field, Ragged, Rows
from elman.data.table import Table
from elman.data.tokens import KINDS, Tell, TokenOptions, from_config
from elman.data.windows import IGNORED
from elman.nets.lookup import lookup
from elman.nets.residual import Residual
from elman.nets.stacked import JOINS
from elman.options import PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.seeing import SeeingOptions
from elman.tasks.tables import TableTask, TableTaskOptions, encoded
from elman.tasks.task import Answer, Batch, Data


@Parameter(name="*")
@dataclass(frozen=True)
class VqaOptions(SeeingOptions, TokenOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    question_column: str | None = None
    """The column of the questions; the longest text when not given."""
    answer_column: str | None = None
    """The column of the answers; the one with the fewest different values when not given."""
    join: Literal["concatenated", "product", "stacked"] = "stacked"
    """How question and picture meet: side by side, multiplied, or by attention over the places of the picture."""
    answers: PositiveInt = 1000
    """So many of the most frequent answers can be said."""
    rows: PositiveInt = 64
    """Questions of a batch."""


class Vqa(TableTask):
    """A question through a `Recurrent`, a picture as a grid of vectors, joined."""

    kind: ClassVar[str] = "vqa"
    summary: ClassVar[str] = "answers to questions about pictures"
    unit: ClassVar[str] = "question"
    roles: ClassVar[tuple[str, ...]] = ("image", "question", "answer")
    takes: ClassVar[dict[str, tuple[type, ...]]] = {"image": (Picture,)}
    asks: ClassVar[tuple[str, ...]] = ("image", "question")
    by: ClassVar[str | None] = None  # questions of one length are of one kind: a batch should have all
    Options: ClassVar[type[TableTaskOptions]] = VqaOptions

    def __init__(
        self,
        answers: int,
        vocabulary: int,
        embedding: int,
        hidden: int,
        cell: Any = "lstm",
        layers: int = 1,
        join: str = "stacked",
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
    ):
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.encoder, self.lookup = Residual(), lookup(vocabulary, embedding)
        self.recurrent = Recurrent(embedding, hidden, cell, layers, dropout=dropout, residual=residual, backend=backend)
        self.join = JOINS[join](self.encoder.size, hidden, hidden)
        self.head = _head(hidden, hidden, answers)
        # what each of the two gives away alone; they learn beside the model and it does not learn from them
        self.alone = nn.ModuleDict(
            {"question": _head(hidden, hidden, answers), "image": _head(self.encoder.size, hidden, answers)}
        )
        self.dropout = dropout

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{super().describe()}, joined {self._config['join']}, dropout {self.dropout:g}"

    @classmethod
    def wanted(cls, read: Table, options: VqaOptions) -> dict[str, str | None]:
        """The column `kind`, too, where there is one."""
        return super().wanted(read, options) | ({"kind": "kind"} if "kind" in read.columns else {})

    @classmethod
    def learn(cls, train: Table, options: VqaOptions) -> dict[str, Any]:
        tokens = KINDS[options.tokens or "word"].of_texts(train.columns["question"], options.vocabulary, True)
        counts = Counter(train.columns["answer"]).most_common(options.answers)
        labels = [answer for answer, _ in counts]
        return {"tokens": tokens.to_config(), "labels": labels, "size": options.size, "priors": _priors(train)}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        questions = encoded(rows.columns["question"], config["tokens"], config["longest"], tell)
        return {"question": Ragged(questions), "image": Pixels(rows.columns["image"], config["size"], tell)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        numbers = {answer: number for number, answer in enumerate(config["labels"])}
        return {"target": np.array([numbers.get(answer, IGNORED) for answer in rows.columns["answer"]])}

    @classmethod
    def sizes(cls, train: Rows, options: VqaOptions, seconds: float | None) -> VqaOptions:
        hidden = options.hidden or 256
        dropout = 0.0 if options.dropout is None else options.dropout
        return replace(options, hidden=hidden, embedding=options.embedding or hidden // 2, dropout=dropout)

    @classmethod
    def new(cls, options: VqaOptions, data: Data) -> "Vqa":
        assert options.embedding is not None
        assert options.hidden is not None
        assert options.dropout is not None
        return cls(
            len(data.config["labels"]), len(from_config(data.config["tokens"])), options.embedding, options.hidden,
            options.cell, options.layers, options.join, options.dropout, options.residual,
            options.backend,
        )  # fmt: skip

    def logits(self, batch: Batch) -> dict[str, Tensor]:
        """image (B, 3, S, S), question (B, T), question_lengths (B,) give the logits (B, K) of the answers from `both`,
        from the `question` alone and from the `image` alone."""
        x = drop(self.lookup(batch["question"]), self.dropout, self.training)
        question = self.recurrent(x, lengths=batch["question_lengths"])[1][-1][0]
        grid = self.encoder(batch["image"])
        both = self.head(drop(self.join(grid, question), self.dropout, self.training))
        alone = {"question": question.detach(), "image": grid.mean(1).detach()}
        return {"both": both.float()} | {name: self.alone[name](seen).float() for name, seen in alone.items()}

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """image, question, question_lengths; target (B,), IGNORED where the answer is none that can be said. What is
        logged is of both."""
        logits, target = self.logits(batch), batch["target"]
        nats = {name: F.cross_entropy(each, target, ignore_index=IGNORED) for name, each in logits.items()}
        count, right = (target != IGNORED).sum(), (logits["both"].argmax(-1) == target).sum()
        return (
            torch.stack(list(nats.values())).sum(),
            None,
            {"nats": nats["both"].detach() * count, "tokens": count, "right": right},
        )

    def answers(self, batch: Batch, config: dict[str, Any], **how: Any) -> list[Answer]:
        """answer, probability, probabilities; question_only and image_only: what would be said from one alone."""
        labels, logits = config["labels"], self.logits(batch)
        alone = {name: [labels[number] for number in logits[name].argmax(-1).tolist()] for name in self.alone}
        return [
            {"answer": labels[int(chances.argmax())], "probability": float(chances.max()),
             "probabilities": dict(zip(labels, chances.tolist(), strict=True)),
             "question_only": alone["question"][row], "image_only": alone["image"][row]}
            for row, chances in enumerate(logits["both"].softmax(-1))
        ]  # fmt: skip

    def line(self, answer: Answer) -> str:
        return f"{answer['answer']}\t{answer['probability']:.3f}"

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """accuracy, of the answers from both; prior, of always saying the most frequent answer of training;
        question_only, image_only; and where the questions have kinds, the same of each."""
        kinds = rows.columns.get("kind", [None] * len(rows))
        ways = {"accuracy": "answer", "question_only": "question_only", "image_only": "image_only"}
        right: dict[Any, dict[str, list[bool]]] = {}
        for row, answer in answers.items():
            true = rows.columns["answer"][row]
            said = {name: answer[key] == true for name, key in ways.items()}
            for kind in {None, kinds[row]}:
                for name, value in (said | {"prior": config["priors"].get(kind or "") == true}).items():
                    right.setdefault(kind, {}).setdefault(name, []).append(value)
        shares = {kind: {name: float(np.mean(values)) for name, values in of.items()} for kind, of in right.items()}
        return shares.pop(None) | ({"by_kind": shares} if shares else {})


def _head(size: int, hidden: int, answers: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, answers))


def _priors(train: Table) -> dict[str, str]:
    """The most frequent answer of each kind of question, and of all: under no name."""
    answers = train.columns["answer"]
    kinds = train.columns.get("kind", [])
    counts = {"": Counter(answers)}
    for kind, answer in zip(kinds, answers, strict=bool(kinds)):
        counts.setdefault(kind, Counter())[answer] += 1
    return {kind: count.most_common(1)[0][0] for kind, count in counts.items()}
