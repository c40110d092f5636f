"""Small specifications, from which tests build models without data."""

from typing import Any

import torch

from elman.data.table import Table
from elman.tasks.answer import Answer, Attention
from elman.tasks.caption import CaptionOptions, CaptionSpec
from elman.tasks.classify import ClassifyOptions, ClassifySpec
from elman.tasks.generate import GenerateOptions, GenerateSpec
from elman.tasks.glimpse import GlimpseOptions, GlimpseSpec
from elman.tasks.labels import LabelEncoder
from elman.tasks.row_input import ArrayInput, TextInput
from elman.tasks.tag import TagOptions, TagSpec
from elman.tasks.task import find
from elman.tasks.translate import TranslateOptions, TranslateSpec
from elman.tasks.vision import ResidualEncoder
from elman.tasks.vqa import VqaOptions, VqaSpec
from elman.tokenizers.char import CharTokenizer
from elman.tokenizers.vocabulary import Vocabulary
from elman.tokenizers.word import WordTokenizer

NAMES = "abcdefghijklmnopqrstuvwxyz"
UNKNOWN = "<unk>"


def rows(**columns: list[Any]) -> Table:
    """A table of these columns."""
    return Table("rows", columns, list(range(1, 1 + len(next(iter(columns.values()))))))


def answer(row: int, attention: Attention | None = None, **values: Any) -> Answer:
    """An answer that a model might give."""
    return Answer(row, values, attention)


def characters(count: int, first: str = "a") -> CharTokenizer:
    """A tokenizer of so many characters from `first` on."""
    begin = NAMES.index(first)
    return CharTokenizer(NAMES[begin : begin + count])


def labels(count: int) -> LabelEncoder:
    """The classes a, b, c, ..."""
    return LabelEncoder(tuple(NAMES[:count]))


def classify(
    classes: int = 3, hidden: int = 6, vocabulary: int = 11, embedding: int = 5, dropout: float = 0.0,
    features: int = 0, class_weights: tuple[float, ...] | None = None, **options: Any,
) -> ClassifySpec:  # fmt: skip
    """Of texts, or of arrays of so many features."""
    chosen = ClassifyOptions(backend="loop", **options).resolved()
    arrays = ArrayInput((0.0,) * features, (1.0,) * features)
    return ClassifySpec(
        options=chosen, columns={"text": "text", "label": "label"}, hidden=hidden, embedding=embedding,
        dropout=dropout, input=arrays if features else TextInput(characters(vocabulary)), labels=labels(classes),
        class_weights=class_weights,
    )  # fmt: skip


def tag(
    words: int = 9, letters: int = 7, tags: int = 4, hidden: int = 5, embedding: int = 6, spelling: int = 3,
    dropout: float = 0.0, **options: Any,
) -> TagSpec:  # fmt: skip
    """Of so many words and characters, the unknown one included."""
    chosen = TagOptions(backend="loop", spelling=spelling, **options).resolved()
    return TagSpec(
        options=chosen, columns={"words": "words", "tags": "tags"}, hidden=hidden, embedding=embedding,
        dropout=dropout, words=Vocabulary([f"word{number}" for number in range(words - 1)]),
        characters=Vocabulary(list(NAMES[: letters - 1])), tags=labels(tags),
    )  # fmt: skip


def generate(
    columns: dict[str, tuple[str, ...]], hidden: int = 8, embedding: int = 6, tokens: int = 5, dropout: float = 0.0,
    **options: Any,
) -> GenerateSpec:  # fmt: skip
    """Of the characters v, w, ..., with the labels of each column."""
    chosen = GenerateOptions(**{"backend": "loop", **options}).resolved()
    roles = [f"label{number}" if number > 1 else "label" for number in range(1, len(columns) + 1)]
    return GenerateSpec(
        options=chosen, columns={"text": "text"} | dict(zip(roles, columns, strict=True)), hidden=hidden,
        embedding=embedding, dropout=dropout, tokenizer=characters(tokens, "v"),
        labels={role: LabelEncoder(each) for role, each in zip(roles, columns.values(), strict=True)},
    )  # fmt: skip


def translate(
    sources: int = 7, targets: int = 5, embedding: int = 6, hidden: int = 8, dropout: float = 0.0, **options: Any
) -> TranslateSpec:
    """From the characters a, b, ... to v, w, ...; without label smoothing unless given."""
    chosen = TranslateOptions(**{"backend": "loop", "label_smoothing": 0.0, **options}).resolved()
    return TranslateSpec(
        options=chosen, columns={"source": "source", "target": "target"}, hidden=hidden, embedding=embedding,
        dropout=dropout, source=characters(sources), target=characters(targets, "v"),
    )  # fmt: skip


def caption(
    tokens: int = 5, embedding: int = 6, hidden: int = 8, dropout: float = 0.0, entropy: float = 0.0,
    image_size: int = 64, **options: Any,
) -> CaptionSpec:  # fmt: skip
    """Of images, in the characters v, w, ..."""
    chosen = CaptionOptions(**{"backend": "loop", "cell": "rnn", **options}).resolved()
    return CaptionSpec(
        options=chosen, columns={"image": "image", "caption": "caption"}, hidden=hidden, embedding=embedding,
        dropout=dropout, tokenizer=characters(tokens, "v"), encoder=ResidualEncoder(image_size), entropy=entropy,
    )  # fmt: skip


def vqa(
    words: int = 7, answers: int = 3, embedding: int = 6, hidden: int = 8, dropout: float = 0.0,
    image_size: int = 32, **options: Any,
) -> VqaSpec:  # fmt: skip
    """Of so many words, the unknown one included, and the answers a, b, c, ...; the next word has no loss unless
    given."""
    chosen = VqaOptions(**{"backend": "loop", "cell": "rnn", "next_word": 0.0, **options}).resolved()
    return VqaSpec(
        options=chosen, columns={"image": "image", "question": "question", "answer": "answer"}, hidden=hidden,
        embedding=embedding, dropout=dropout, encoder=ResidualEncoder(image_size), example="a b",
        tokenizer=WordTokenizer([UNKNOWN, *(f" {each}" for each in NAMES[: words - 1])]),
        answers=labels(answers), priors={"": "a"},
    )  # fmt: skip


def glimpse(
    classes: int = 3, hidden: int = 7, image_size: int = 9, channels: int = 1, dropout: float = 0.0, **options: Any
) -> GlimpseSpec:
    """Of images with the labels a, b, c, ..."""
    chosen = GlimpseOptions(**{"backend": "loop", "glimpse_size": 3, "glimpses": 3, **options}).resolved()
    return GlimpseSpec(
        options=chosen, columns={"image": "image", "label": "label"}, hidden=hidden, dropout=dropout,
        labels=labels(classes), image_size=image_size, channels=channels,
    )  # fmt: skip


def build(kind: str, spec: Any, seed: int = 0) -> Any:
    """The model of a specification, for evaluation."""
    torch.manual_seed(seed)
    return find(kind).build(spec).eval()


def randomize(model: Any, std: float, bias: float | None = None) -> Any:
    """The model with normal weights of that deviation, so that every part of it counts, its image encoder as it is;
    `bias` is the deviation of vectors."""
    for name, weight in model.named_parameters():
        if not name.startswith("encoder.blocks"):
            torch.nn.init.normal_(weight, std=std if weight.dim() > 1 or bias is None else bias)
    return model


def target_logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """The logits (N, V) of all tokens of the targets, as the loss computes them."""
    found: list[torch.Tensor] = []
    handle = model.head.register_forward_hook(lambda module, inputs, output: found.append(output.detach()))
    model.loss(batch)
    handle.remove()
    return found[-1]
