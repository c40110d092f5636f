"""The report of a tagger: which tags it confuses, and the hardest sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

from elman.inspect.confusion import Confusion, counted
from elman.inspect.curves import training
from elman.inspect.look import Look
from elman.inspect.panel import Panel, escape
from elman.inspect.predictions import Predictions, shortened
from elman.tasks.tag import Tag
from elman.tokenizers.vocabulary import Vocabulary
from elman.training.trained_model import Model

TAKES = ("text", "length")
HARDEST, WORDS = 12, 60  # sentences that are shown, and words of each


@dataclass(frozen=True)
class Tagged:
    """A sentence: its words, their true tags, what was said of them, and with what probability."""

    words: list[str]
    truth: list[str]
    said: list[str]
    sure: list[float]

    @property
    def wrong(self) -> int:
        return sum(truth != said for truth, said in zip(self.truth, self.said, strict=True))

    def html(self) -> str:
        """Its words; beneath a wrong one the true tag, and what was said."""
        shown = [_word(*each) for each in zip(self.words[:WORDS], self.truth, self.said, strict=False)]
        return f'<p class="words" dir="auto">{" ".join(shown)}{" …" * (len(self.words) > WORDS)}</p>'


def _word(word: str, truth: str, said: str) -> str:
    plain = escape(shortened(word, 40))
    if truth == said:
        return plain
    tags = f"{escape(shortened(truth, 20))}, not {escape(shortened(said, 20))}"
    return f'<span class="wrong">{plain}<small>{tags}</small></span>'


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another."""
    here = Predictions(model, look)
    assert isinstance(here.task, Tag)
    sentences = tagged(here)
    truth = [tag for each in sentences for tag in each.truth]
    said = [tag for each in sentences for tag in each.said]
    found = counted(truth, said, here.config["tags"], "word")
    yield confusion_panel(here, sentences, found)
    if not look.quiet:
        yield hardest_panel(sentences)
    if (gates := here.gates(here.task.recurrent)) is not None:
        yield gates
    yield from training(model.run, look.log)


def tagged(here: Predictions) -> list[Tagged]:
    """The rows as sentences, cut where the model cuts them."""
    made = []
    for words, tags, answer in zip(here.column("words"), here.column("tags"), here.answers, strict=True):
        words, tags = (value.split() if isinstance(value, str) else list(value) for value in (words, tags))
        size = len(answer["each"])
        made.append(Tagged(words[:size], tags[:size], answer["each"], answer["probabilities"]))
    return made


def confusion_panel(here: Predictions, sentences: list[Tagged], found: Confusion) -> Panel:
    """The confusion of tags, and how much is right of the words that training knew and of the others."""
    known = Vocabulary(here.config["words"])
    right: dict[bool, list[bool]] = {True: [], False: []}
    for each in sentences:
        numbers = known.indices(each.words)
        for number, truth, said in zip(numbers.tolist(), each.truth, each.said, strict=True):
            right[number != 0].append(truth == said)
    kinds = (("that it knows", right[True]), ("that it met at most once in training", right[False]))
    told = [f"{sum(marks) / len(marks):.1%} of the {len(marks):,} words {which}" for which, marks in kinds if marks]
    figures = {"known": [sum(right[True]), len(right[True])], "unknown": [sum(right[False]), len(right[False])]}
    says = f"{found.says()} It is right on {', and on '.join(told)}."
    score = here.judged.get("entity_f1")
    if isinstance(score, float):
        says += f" F1 of whole names, as seqeval counts them: {score:.3f}."
    return Panel("confusion", "Which tags are confused", says, found.figures() | figures | {"entity_f1": score},
                 {"confusion": found.chart()}, found.body())  # fmt: skip


def hardest_panel(sentences: list[Tagged]) -> Panel:
    """The sentences with the most wrong words; of those with as many, the one with the least sure word."""
    some = [each for each in sentences if each.words]
    hardest = sorted(some, key=lambda each: (-each.wrong, min(each.sure)))[:HARDEST]
    wrong = sum(each.wrong > 0 for each in some)
    says = (
        f"{wrong:,} of {len(some):,} sentences have a wrong word. Those with the most come first; beneath a wrong word "
        "stands its true tag, and what was said."
        if wrong else f"No word of {len(some):,} sentences is wrong: these have the least sure words."
    )  # fmt: skip
    figures, body = {"wrong": wrong, "sentences": [vars(each) for each in hardest]}, "".join(map(Tagged.html, hardest))
    return Panel("hardest", "The hardest sentences", says, figures, body=body)
