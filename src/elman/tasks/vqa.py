"""Questions about pictures: a question and a picture in, one of the known answers out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.cells.tap import record
from elman.data.image import LazyImage
from elman.data.rows import Field, Ragged, Rows
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.log import Log
from elman.metrics.answer_accuracy import accuracies, most_frequent
from elman.metrics.grouping import grouped
from elman.metrics.unknown_words import unknown_words, with_suggestions
from elman.nets.embedding import lookup
from elman.nets.fusion import JOINS
from elman.options import CountFloat, PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.lengths import past
from elman.recurrent.state import State
from elman.tasks import vision as vision
from elman.tasks.tables import TableTask, TableTaskOptions, encoded
from elman.tasks.task import Answer, Batch, Data
from elman.tasks.vision import VisionOptions
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions

SHOWN = 3  # questions shown while training
LIKELY = 3  # answers shown of one question
WAYS = {"accuracy": "answer", "question_only": "question_only", "image_only": "image_only"}


@Parameter(name="*")
@dataclass(frozen=True)
class VqaOptions(VisionOptions, TokenizerOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    question_column: str | None = None
    """The column of the questions; the longest text when not given."""
    answer_column: str | None = None
    """The column of the answers; the one with the fewest different values when not given."""
    fusion: Literal["concatenated", "product", "stacked"] = "stacked"
    """How question and picture meet: side by side, multiplied, or by attention over the places of the picture."""
    answers: PositiveInt = 1000
    """So many of the most frequent answers can be said."""
    next_word: CountFloat = 1.0
    """How much each word of a question is learned to be told from the picture and the words before it; stacked only."""
    batch_size: PositiveInt = 128
    """Questions of a batch."""


class Vqa(TableTask):
    """A question through a `Recurrent`, a picture as a grid of vectors, joined."""

    kind: ClassVar[str] = "vqa"
    summary: ClassVar[str] = "answers to questions about pictures"
    unit: ClassVar[str] = "question"
    lr: ClassVar[float] = 0.0015
    clip: ClassVar[float] = 10.0
    roles: ClassVar[tuple[str, ...]] = ("image", "question", "answer")
    takes: ClassVar[dict[str, tuple[type, ...]]] = {"image": (LazyImage,)}
    asks: ClassVar[tuple[str, ...]] = ("image", "question")
    besides: ClassVar[tuple[str, ...]] = ("kind", "pair")
    by: ClassVar[str | None] = "image"  # all questions about a picture see it once
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
        encoder: dict[str, Any] = vision.USUAL,
        next_word: float = 0.0,
    ):
        """encoder: see `elman.tasks.vision`."""
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.encoder, self.lookup = vision.encoder(encoder), lookup(vocabulary, embedding)
        recurrence = partial(
            Recurrent, hidden_size=hidden, cell=cell, layers=layers, dropout=dropout, residual=residual, backend=backend
        )
        self.recurrent = recurrence(embedding)
        self.join = JOINS[join](self.encoder.size, embedding, hidden, partial(recurrence, name="seen"))
        self.head = _head(hidden, hidden, answers)
        # what each of the two gives away alone; they learn beside the model and it does not learn from them
        self.alone = nn.ModuleDict(
            {"question": _head(hidden, hidden, answers), "image": _head(self.encoder.size, hidden, answers)}
        )
        self.next_word, self.dropout = next_word, dropout

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{super().describe()}, joined {self._config['join']}, dropout {self.dropout:g}"

    @classmethod
    def learn(cls, train: Table, options: VqaOptions) -> dict[str, Any]:
        tokens = registry.find(options.tokens or "word").of_texts(train.columns["question"], options.vocab_size, True)
        counts = Counter(train.columns["answer"]).most_common(options.answers)
        labels = [answer for answer, _ in counts]
        priors = most_frequent(train.columns["answer"], train.columns.get("kind", []))
        known = {"tokens": tokens.to_json(), "labels": labels, "priors": priors}
        return known | {"encoder": vision.asked(options)}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        questions = encoded(rows.columns["question"], config["tokens"], config["max_length"], log)
        return {"question": Ragged(questions), "image": vision.seen(rows.columns["image"], config, log)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        numbers = {answer: number for number, answer in enumerate(config["labels"])}
        target = np.array([numbers.get(answer, IGNORED) for answer in rows.columns["answer"]])
        if strange := int((target == IGNORED).sum()):
            of = f"{strange:,} of {len(target):,} answers"
            log(f"{of} are not among the {len(numbers):,} that can be said: they teach nothing, and count as wrong")
        return {"target": target}

    @classmethod
    def sizes(cls, train: Rows, options: VqaOptions, seconds: float | None) -> VqaOptions:
        hidden = options.hidden or 256
        dropout = 0.0 if options.dropout is None else options.dropout
        return replace(options, hidden=hidden, embedding=options.embedding or hidden // 2, dropout=dropout)

    @classmethod
    def prepare(
        cls, paths: list[str], options: Any, seconds: float | None = None, key: str | None = None, seed: int = 0
    ) -> tuple[Any, Data]:
        chosen, data = super().prepare(paths, options, seconds, key, seed)
        rows = data.valid or data.train
        assert isinstance(rows, Rows)
        if isinstance(data.valid, Rows) and (data.valid.fields["target"] == IGNORED).all():  # type: ignore[attr-defined]
            data.valid = None
            data.notes.append("valid part: none of its answers can be said, so the last weights are the best")
        images, questions = (rows.table.columns[role][:SHOWN] for role in cls.asks)
        data.config["shown"] = [[image.path, question] for image, question in zip(images, questions, strict=True)]
        return chosen, data

    @classmethod
    def new(cls, options: VqaOptions, data: Data) -> "Vqa":
        assert options.embedding is not None
        assert options.hidden is not None
        assert options.dropout is not None
        task = cls(
            len(data.config["labels"]), len(registry.from_json(data.config["tokens"])), options.embedding, options.hidden,
            options.cell, options.layers, options.fusion, options.dropout, options.residual,
            options.backend, data.config["encoder"], options.next_word,
        )  # fmt: skip
        vision.begin(task.encoder, data.config["encoder"])
        return task

    def logits(self, batch: Batch) -> dict[str, Tensor]:
        """image (N, 3, S, S), whose (B,) each is, question (B, T) and question_lengths (B,) give the logits (B, K) of
        the answers from `both`, from the `question` alone and from the `image` alone; and what tells the words `ahead`
        (B, T, E), if the join has it."""
        x = drop(self.lookup(batch["question"]), self.dropout, self.training)
        lengths = batch["question_lengths"]
        y, state = self.recurrent(x, lengths=lengths)
        question, grid = state[-1][0], self.encoder(batch["image"])[batch["image_of"]]
        joined, ahead = self.join(grid, x, y, lengths, question)
        found = {"both": self.head(drop(joined, self.dropout, self.training)).float()}
        for name, seen in (("question", question), ("image", grid.mean(1))):
            found[name] = self.alone[name](seen.detach()).float()
        return found if ahead is None else found | {"ahead": ahead}

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """image, question, question_lengths; target (B,), IGNORED where the answer is none that can be said. What is
        logged is of both."""
        logits, target = self.logits(batch), batch["target"]
        nats = {name: F.cross_entropy(logits[name], target, ignore_index=IGNORED, reduction="sum")
                for name in ("both", *self.alone)}  # fmt: skip
        count, right = (target != IGNORED).sum(), (logits["both"].argmax(-1) == target).sum()
        loss = torch.stack(list(nats.values())).sum() / count.clamp(min=1)  # of a batch there may be nothing to say
        if "ahead" in logits:
            words = batch["question"][:, 1:]
            there = ~past(batch["question_lengths"] - 1, words.shape[1])
            chances = F.linear(logits["ahead"][:, :-1][there], self.lookup.weight).float()
            told = F.cross_entropy(chances, words[there].long(), reduction="sum")
            loss = loss + self.next_word * told / there.sum().clamp(min=1)
        return loss, None, {"nats": nats["both"].detach(), "tokens": count, "right": right}

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

    def looked(self, batch: Batch) -> Tensor | None:
        """Where is looked (B, T + 2, L), by each word and in the end twice by the whole question, from 0 to 1 with the
        sum 1, or 0 past the end of a question; None for a join without attention."""
        with torch.inference_mode(), record() as seen:
            self.eval().logits(batch)
        return seen.take("attention")

    def predict(self, rows: Table, config: dict[str, Any], log: Log, **how: Any) -> list[Answer]:
        """See `TableTask`. A UserError where no word of all that is asked was seen in training."""
        tokens = registry.from_json(config["tokens"])
        strange, known = unknown_words(tokens, rows.columns["question"])
        if strange and not known:
            such = "".join(f"; ask as in '{question}'" for _, question in config.get("shown", ())[:1])
            raise UserError(f"no word of what is asked was seen in training: {with_suggestions(strange, tokens)}{such}")
        return super().predict(rows, config, log, **how)

    def line(self, answer: Answer) -> str:
        return f"{answer['answer']}\t{answer['probability']:.3f}"

    def told(self, answer: Answer) -> str:
        """The likeliest answers, a line each."""
        likely = sorted(answer["probabilities"].items(), key=lambda each: -each[1])[:LIKELY]
        wide = max(len(name) for name, _ in likely)
        return "\n".join(f"{name:{wide}}  {chance:.2f}" for name, chance in likely)

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """accuracy, of the answers from both; prior, of always saying the most frequent answer of training;
        question_only, image_only; by_kind: the same of each kind of question, the prior being its own; by_pair: the
        same of each pair, by_kind included."""
        return _figures(rows, answers, config["priors"], self.besides)

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str] | None:
        shown = config.get("shown", ())
        columns = {role: [each[number] for each in shown] for number, role in enumerate(self.asks)}
        rows = Table("the questions that are shown", columns, list(range(len(shown))))

        def write(length: int) -> str:
            answers = super(Vqa, self).predict(rows, config, lambda line: None)  # also where no word is known
            pairs = zip(shown, answers, strict=True)
            return "\n".join(f"{question} → {answer['answer']}" for (_, question), answer in pairs)

        return write if shown else None


def _figures(
    rows: Table, answers: dict[int, Answer], priors: dict[str, str], columns: Sequence[str], kind: str = ""
) -> dict[str, Any]:
    """Of some answers, then apart by what stands in each of the columns, and there by the columns before it."""
    true, prior = rows.columns["answer"], priors.get(kind, priors[""])
    said = {name: [answer[key] for answer in answers.values()] for name, key in WAYS.items()}
    found: dict[str, Any] = accuracies(said, [true[row] for row in answers], prior)
    for number, column in enumerate(columns):
        if apart := grouped(rows, column, answers):
            found[f"by_{column}"] = {
                name: _figures(rows, {row: answers[row] for row in some}, priors, columns[:number], name)
                for name, some in apart.items()
            }
    return found


def _head(size: int, hidden: int, answers: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, answers))

