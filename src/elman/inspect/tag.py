"""The report of a tagger: which tags it confuses, and the hardest sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from elman.inspect.blocks import Chart, MarkedWords
from elman.inspect.confusion import Confusion, confusion
from elman.inspect.curves import training
from elman.inspect.display import shortened
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.tokenizers.vocabulary import Vocabulary
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
HARDEST, WORDS = 12, 60  # sentences that are shown, and words of each


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence: its words, their targets, predictions, and the probabilities of the predictions."""

    words: list[str]
    targets: list[str]
    predictions: list[str]
    probabilities: list[float]

    @property
    def wrong(self) -> int:
        """The number of wrong predictions."""
        return sum(target != other for target, other in zip(self.targets, self.predictions, strict=True))

    def block(self) -> MarkedWords:
        """Its words, wrong ones marked with target and prediction."""
        marked = []
        for word, target, other in zip(self.words[:WORDS], self.targets, self.predictions, strict=False):
            mark = "" if target == other else f"{shortened(target, 20)}, not {shortened(other, 20)}"
            marked.append((shortened(word, 40), mark))
        return MarkedWords([*marked, *[("…", "")] * (len(self.words) > WORDS)])


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    sentences = tagged_sentences(here)
    targets = [tag for each in sentences for tag in each.targets]
    predictions = [tag for each in sentences for tag in each.predictions]
    yield confusion_panel(here, sentences, confusion(targets, predictions, here.spec.tags.labels, model.task.unit))
    if not options.no_text:
        yield hardest_panel(sentences)
    if (gates := here.gates(here.network.recurrent)) is not None:
        yield gates
    yield from training(model.run, options.log)


def tagged_sentences(here: Predictions) -> list[TaggedSentence]:
    """The rows as sentences, truncated as the model truncates them."""
    made = []
    for words, tags, answer in zip(here.column("words"), here.column("tags"), here.answers, strict=True):
        words, tags = (value.split() if isinstance(value, str) else list(value) for value in (words, tags))
        size = len(answer["each"])
        made.append(TaggedSentence(words[:size], tags[:size], answer["each"], answer["probabilities"]))
    return made


def confusion_panel(here: Predictions, sentences: Sequence[TaggedSentence], found: Confusion) -> Panel:
    """The confusion of tags, and the accuracy for known and for unknown words."""
    vocabulary: Vocabulary = here.spec.words
    correct: dict[bool, list[bool]] = {True: [], False: []}
    for each in sentences:
        indices = vocabulary.indices(each.words)
        for index, target, other in zip(indices.tolist(), each.targets, each.predictions, strict=True):
            correct[index != 0].append(target == other)
    groups = (("known words", correct[True]), ("words with at most one occurrence in training", correct[False]))
    accuracies = [f"{sum(marks) / len(marks):.1%} for {len(marks):,} {name}" for name, marks in groups if marks]
    metrics = {"known": [sum(correct[True]), len(correct[True])], "unknown": [sum(correct[False]), len(correct[False])]}
    summary = f"{found.summary()} The accuracy is {', and '.join(accuracies)}."
    score = here.metrics.get("entity_f1")
    if isinstance(score, float):
        summary += f" The F1 of entities, by seqeval, is {score:.3f}."
    return Panel("confusion", "Confusion matrix", summary, found.metrics() | metrics | {"entity_f1": score},
                 [Chart("confusion", found.chart()), *found.tables()])  # fmt: skip


def hardest_panel(sentences: Sequence[TaggedSentence]) -> Panel:
    """The sentences with the most wrong tags; of equal ones the one with the least probable prediction first."""
    some = [each for each in sentences if each.words]
    hardest = sorted(some, key=lambda each: (-each.wrong, min(each.probabilities)))[:HARDEST]
    wrong = sum(each.wrong > 0 for each in some)
    summary = (
        f"{wrong:,} of {len(some):,} sentences have a wrong tag; those with the most come first. Below a wrong word "
        "are its target and the prediction."
        if wrong else f"No tag of {len(some):,} sentences is wrong: these have the least probable predictions."
    )  # fmt: skip
    metrics = {"wrong": wrong, "sentences": [vars(each) for each in hardest]}
    return Panel("hardest", "Hardest sentences", summary, metrics, [each.block() for each in hardest])
