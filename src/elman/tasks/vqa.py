"""Visual question answering: a question and an image in, one of the known answers out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.image import LazyImage
from elman.data.rows import Field, Ragged, Rows
from elman.data.source import Batch
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.log import Log
from elman.metrics.answer_accuracy import accuracies, most_frequent
from elman.metrics.grouping import grouped
from elman.metrics.metric import evaluate
from elman.metrics.unknown_words import unknown_words, with_suggestions
from elman.nets.embedding import embedding
from elman.nets.fusion import FUSIONS
from elman.nets.pooling import Last
from elman.options import Choices, CountFloat, NotWith, OnlyWith, PositiveInt
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.lengths import padding_mask
from elman.recurrent.state import State
from elman.tasks.answer import Answer, Attention
from elman.tasks.capabilities import Previews
from elman.tasks.conditional_generation import token_texts
from elman.tasks.labels import LabelEncoder
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.row_prediction import RowPrediction
from elman.tasks.spec import AnyTokenizer
from elman.tasks.tables import SequenceSpec, encoded
from elman.tasks.task import Dataset
from elman.tasks.vision import AnyEncoder, VisionOptions, choose, with_image
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions

PREVIEWED = 3  # questions of a preview
LIKELY = 3  # answers printed for one question
PREDICTIONS = {"accuracy": "answer", "question_only": "question_only", "image_only": "image_only"}
HOPS = ("(question, first)", "(question, then)")  # queries of the attention beyond the words


@dataclass(frozen=True)
class VqaOptions(VisionOptions, TokenizerOptions):
    """Options of the data and the network. None: chosen from the data."""

    question_column: str | None = None
    """The column of the questions; the longest text when not given."""
    answer_column: str | None = None
    """The column of the answers; the one with the fewest different values when not given."""
    fusion: Annotated[str, Choices(lambda: FUSIONS)] = "stacked"
    """How question and image are joined: side by side (concatenated), multiplied (product), or by attention to the
    positions of the image (stacked)."""
    answers: PositiveInt = 1000
    """The number of answers, the most frequent ones, that can be predicted."""
    next_word: Annotated[CountFloat, OnlyWith("fusion", "stacked")] = 1.0
    """Weight of the loss of predicting each word of a question from the image and the words before it."""
    lower: Annotated[bool, NotWith("tokens", "byte")] = True
    """Read questions in lower case."""
    batch_size: PositiveInt = 128
    """Questions per batch."""


@dataclass(frozen=True, kw_only=True)
class VqaSpec(SequenceSpec):
    """tokenizer: that of the questions; answers: the classes; priors: the most frequent answer of each kind of
    question, and of all under ""; encoder: of the images; example: a question of the training split."""

    options: VqaOptions
    tokenizer: AnyTokenizer
    answers: LabelEncoder
    priors: dict[str, str]
    encoder: AnyEncoder
    example: str


class VqaModel(Model, Previews):
    """A question through a `Recurrent`, an image as a grid of vectors, fused."""

    def __init__(self, spec: VqaSpec):
        super().__init__(spec)
        options, hidden, answers, self.dropout = spec.options, spec.hidden, len(spec.answers), spec.dropout

        def recurrence(input_size: int, **name: str) -> Recurrent:
            return options.recurrent(input_size, hidden, spec.dropout, **name)

        self.encoder = spec.encoder.network()
        self.embedding = embedding(len(spec.tokenizer), spec.embedding)
        self.recurrent = recurrence(spec.embedding)
        question = self.recurrent.output_size
        self.last = Last(question, 1)
        self.fusion = FUSIONS[options.fusion](
            self.encoder.size, spec.embedding, question, lambda size: recurrence(size, name="seen")
        )
        self.head = _head(question, hidden, answers)
        # what each input predicts alone: trained beside the model, whose weights get no gradient from it
        self.alone = nn.ModuleDict(
            {"question": _head(question, hidden, answers), "image": _head(self.encoder.size, hidden, answers)}
        )

    def load_pretrained(self) -> None:
        self.spec.encoder.load_pretrained(self.encoder)

    def describe(self) -> str:
        return f"{super().describe()}, {self.spec.options.fusion} fusion, dropout {self.dropout:g}"

    def logits(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None, Tensor | None]:
        """image (N, ...), see the encoder, image_of (B,), which of them is each row's, question (B, T) and
        question_lengths (B,) give the logits (B, K) of the answers from `both`, from the `question` alone and from the
        `image` alone; and what the fusion gives for the next words and as attention."""
        x, lengths = drop(self.embedding(batch["question"]), self.dropout, self.training), batch["question_lengths"]
        y, _ = self.recurrent(x, lengths=lengths)
        question, grid = self.last(y, lengths), self.encoder(batch["image"])[batch["image_of"]]
        fused, next_words, attention = self.fusion(grid, x, y, lengths, question)
        logits = {"both": self.head(drop(fused, self.dropout, self.training)).float()}
        for name, value in (("question", question), ("image", grid.mean(1))):
            logits[name] = self.alone[name](value.detach()).float()
        return logits, next_words, attention

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy per question, in nats. image, image_of, question, question_lengths; target (B,), IGNORED
        where the answer cannot be predicted. The sums are of both inputs together, without the loss of next words."""
        (logits, next_words, _), target = self.logits(batch), batch["target"]
        nats = {name: F.cross_entropy(each, target, ignore_index=IGNORED, reduction="sum")
                for name, each in logits.items()}  # fmt: skip
        count, correct = (target != IGNORED).sum(), (logits["both"].argmax(-1) == target).sum()
        loss = torch.stack(list(nats.values())).sum() / count.clamp(min=1)  # a batch may have no answer to predict
        if next_words is not None:
            words = batch["question"][:, 1:]
            valid = ~padding_mask(batch["question_lengths"] - 1, words.shape[1])
            word_logits = F.linear(next_words[:, :-1][valid], self.embedding.weight).float()
            of_words = F.cross_entropy(word_logits, words[valid].long(), reduction="sum")
            loss = loss + self.spec.options.next_word * of_words / valid.sum().clamp(min=1)
        return Loss(loss, count, {"loss": nats["both"], "correct": correct})

    def preview(self, context: Context) -> str:
        """The first validation questions, and the answers predicted."""
        batch, tokenizer = context.batch, self.spec.tokenizer
        assert batch is not None
        best = self.logits(batch)[0]["both"].argmax(-1)[:PREVIEWED].tolist()
        lines = []
        for ids, length, answer in zip(
            batch["question"].tolist(), batch["question_lengths"].tolist(), best, strict=False
        ):
            question = tokenizer.decode(ids[:length]).removeprefix(tokenizer.lead)
            lines.append(f"{question} → {self.spec.answers.labels[answer]}")
        return "\n".join(lines)


class Vqa(RowPrediction, kind="vqa", summary="answers to questions about images"):
    """Visual question answering."""

    Options, Spec, Model = VqaOptions, VqaSpec, VqaModel
    unit = "question"
    lr = 0.0015
    clip = 10.0
    nats = True
    roles = ("image", "question", "answer")
    accepts = {"image": (LazyImage,)}
    inputs = ("image", "question")
    metrics_by = ("kind", "pair")
    bucket_by = "image"  # an image is encoded once for all questions about it

    def specify(self, splits: Mapping[str, Table], common: Mapping[str, Any], budget: float | None) -> VqaSpec:
        train, options, hidden = splits["train"], common["options"], common["options"].hidden or 256
        answers = Counter(train.columns["answer"]).most_common(options.answers)
        questions, kind = train.columns["question"], registry.find(options.tokens or "word")
        return VqaSpec(
            **common, hidden=hidden, embedding=options.embedding or hidden // 2,
            dropout=0.0 if options.dropout is None else options.dropout,
            encoder=choose(options, train.columns["image"]),
            tokenizer=kind.of_texts(questions, options.vocab_size, options.lower and kind.lowercases),
            answers=LabelEncoder(tuple(answer for answer, _ in answers)), example=questions[0],
            priors=most_frequent(train.columns["answer"], train.columns.get("kind", ())),
        )  # fmt: skip

    def encode_inputs(self, rows: Table, spec: VqaSpec, log: Log) -> dict[str, Field]:
        questions = encoded(rows.columns["question"], spec.tokenizer, spec.options.max_length, log)
        return {"question": Ragged(questions), "image": spec.encoder.field(rows.columns["image"], log)}

    def encode_targets(self, rows: Table, spec: VqaSpec, log: Log) -> dict[str, Field]:
        target = np.array([spec.answers.indices.get(answer, IGNORED) for answer in rows.columns["answer"]])
        if other := int((target == IGNORED).sum()):
            log(f"{other:,} of {len(target):,} answers are not among the {len(spec.answers):,} most frequent: they are "
                "not trained on, and count as wrong")  # fmt: skip
        return {"target": target}

    def prepare(self, paths: list[str], options: Any, budget: float | None = None, seed: int = 0) -> Dataset:
        data = super().prepare(paths, options, budget, seed)
        if not isinstance(data.valid, Rows) or (data.valid.fields["target"] != IGNORED).any():  # type: ignore[attr-defined]
            return data
        note = "valid split: none of its answers can be predicted, so the last weights are kept as the best"
        return replace(data, valid=None, notes=[*data.notes, note])

    def check(self, rows: Table, spec: VqaSpec, log: Log) -> None:
        """A UserError where no word of all questions was in training."""
        unknown, known = unknown_words(spec.tokenizer, rows.columns["question"])
        if unknown and not known:
            words = with_suggestions(unknown, spec.tokenizer)
            raise UserError(f"no word of the question was in training: {words}; ask as in '{spec.example}'")

    def answer(self, model: VqaModel, batch: Batch, **decoding: Any) -> list[Answer]:
        """answer, probability, probabilities; question_only and image_only: the answers from one input alone."""
        labels, (logits, _, attention) = model.spec.answers.labels, model.logits(batch)
        alone = {name: [labels[index] for index in logits[name].argmax(-1).tolist()] for name in model.alone}
        found = []
        for number, (row, each) in enumerate(zip(batch["row"].tolist(), logits["both"].softmax(-1), strict=True)):
            values = {"answer": labels[int(each.argmax())], "probability": float(each.max()),
                      "probabilities": dict(zip(labels, each.tolist(), strict=True)),
                      "question_only": alone["question"][number], "image_only": alone["image"][number]}  # fmt: skip
            found.append(Answer(row, values, self._attention(model, batch, number, attention)))
        return found

    def _attention(self, model: VqaModel, batch: Batch, number: int, weights: Tensor | None) -> Attention | None:
        if weights is None:
            return None
        ids = batch["question"][number, : int(batch["question_lengths"][number])].tolist()
        rows = torch.cat((weights[number, : len(ids)], weights[number, -len(HOPS) :]))
        return Attention(rows.float().cpu().numpy(), (*token_texts(model.spec.tokenizer, ids), *HOPS), None)

    def located(self, answer: Answer, rows: Table) -> Answer:
        return with_image(answer, rows)

    def line(self, answer: Answer) -> str:
        return f"{answer['answer']}\t{answer['probability']:.3f}"

    def text(self, answer: Answer) -> str:
        """The most probable answers, a line each."""
        likely = sorted(answer["probabilities"].items(), key=lambda each: -each[1])[:LIKELY]
        width = max(len(name) for name, _ in likely)
        return "\n".join(f"{name:{width}}  {probability:.2f}" for name, probability in likely)

    def metrics(self, rows: Table, answers: Mapping[int, Answer], spec: VqaSpec) -> dict[str, Any]:
        """accuracy, from both inputs; question_only, image_only; prior, of the most frequent answer of training;
        by_kind and by_pair, the same for each kind and pair."""
        references = [[rows.columns["answer"][row]] for row in answers]
        more = evaluate(self.kind, [answer["answer"] for answer in answers.values()], references, spec.answers.labels)
        return _accuracies(rows, answers, spec.priors, self.metrics_by) | more


def _head(size: int, hidden: int, answers: int) -> nn.Module:
    return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, answers))


def _accuracies(
    rows: Table, answers: Mapping[int, Answer], priors: Mapping[str, str], columns: Sequence[str], kind: str = ""
) -> dict[str, Any]:
    """The accuracies of some answers, and by_COLUMN those of each value of a column, and there by the columns before
    it. The prior of a kind of question is its own."""
    target = [rows.columns["answer"][row] for row in answers]
    predictions = {name: [answer[key] for answer in answers.values()] for name, key in PREDICTIONS.items()}
    found: dict[str, Any] = accuracies(predictions, target, priors.get(kind, priors[""]))
    for number, column in enumerate(columns):
        if groups := grouped(rows, column, answers):
            found[f"by_{column}"] = {
                name: _accuracies(rows, {row: answers[row] for row in some}, priors, columns[:number], name)
                for name, some in groups.items()
            }
    return found
