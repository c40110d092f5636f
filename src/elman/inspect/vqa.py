"""The report of visual question answering: the accuracy from both inputs and from each alone, confusions, attention,
and confident wrong answers."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from elman.inspect.attention_strip import PAGE, strip
from elman.inspect.blocks import Block, Chart, Heading, ImageStrip, Table
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.confusion import Confusion, confusion
from elman.inspect.curves import training
from elman.inspect.display import quoted, shortened
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.metrics.grouping import grouped
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
SHOWN, HARDEST, CONFUSED = 6, 12, 4  # questions with attention, wrong answers, confusions of a kind of question
ANSWERS = 3  # the most probable, below a question
FEWEST, MOST = 2, 20  # answers of a kind of question that is drawn
INPUTS = {"accuracy": "both", "image_only": "image only", "question_only": "question only", "prior": "neither (prior)"}
BLIND = "The fusion has only the mean over all positions of the image, so there is no attention to show."


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    yield accuracy_panel(here)
    if not options.no_text:
        yield confusion_panel(here)
        yield attention_panel(here)
        yield hardest_panel(here)
    yield from training(model.run, options.log)


def accuracy_panel(here: Predictions) -> Panel:
    """The accuracy from both inputs, from each alone, and of the most frequent answer."""
    found = here.metrics
    kinds, pairs = found.get("by_kind", {}), found.get("by_pair", {})
    summary = (
        f"The accuracy is {found['accuracy']:.1%} over {len(here):,} questions; from the question alone "
        f"{found['question_only']:.1%}, from the image alone {found['image_only']:.1%}, with the most frequent answer "
        f"{found['prior']:.1%}."
    )
    if kinds:
        ordered = sorted(kinds, key=lambda kind: kinds[kind]["accuracy"])
        low, high = (f"“{shortened(kind, 40)}” ({kinds[kind]['accuracy']:.0%})" for kind in (ordered[0], ordered[-1]))
        summary += f" It is highest for questions of the kind {high}, lowest for {low}."
    counts = {name: len(rows) for column in here.task.metrics_by
              for name, rows in grouped(here.table, column, range(len(here))).items()}  # fmt: skip
    groups = {"all": found} | kinds | {f"{pair} pairs": each for pair, each in pairs.items()}
    sizes = {"all": len(here)} | counts | {f"{pair} pairs": counts[pair] for pair in pairs}
    rows = [[shortened(name, 40), sizes[name], *(each[given] for given in INPUTS)] for name, each in groups.items()]
    return Panel("answers", "Accuracy", summary, found, [
        Chart("answers", accuracy_chart(groups)), Table(["", "questions", *INPUTS.values()], rows)])  # fmt: skip


@styled
def accuracy_chart(groups: dict[str, dict[str, float]]) -> Figure:
    """The accuracy of each kind of question, by what the model is given."""
    groups = dict(list(groups.items())[:MOST])
    figure, axis = axes(7.0, 1.0 + 0.5 * len(groups))
    positions = np.arange(len(groups))
    colours = (*COLOURS[: len(INPUTS) - 1], COLOURS[9])
    for number, ((given, name), colour) in enumerate(zip(INPUTS.items(), colours, strict=True)):
        values = [each[given] for each in groups.values()]
        axis.barh(positions + 0.2 * (number - 1.5), values, 0.18, label=name, color=colour)
    axis.set_yticks(positions, [literal(shortened(name, 24)) for name in groups])
    axis.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5), xlabel="accuracy from")
    axis.grid(False, axis="y")
    axis.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def confusions(here: Predictions) -> dict[str, Confusion]:
    """Of each kind of question, or of all under ""."""
    targets, predictions = here.column("answer"), [answer["answer"] for answer in here.answers]
    kinds = grouped(here.table, "kind", range(len(here))) or {"": range(len(here))}
    found = {}
    for kind, rows in kinds.items():
        some, predicted = [targets[row] for row in rows], [predictions[row] for row in rows]
        found[kind] = confusion(some, predicted, sorted({*some, *predicted}), "question")
    return found


def confusion_panel(here: Predictions) -> Panel:
    """Confusion matrices, by kind of question."""
    found, title = confusions(here), "Confusion matrix"
    if list(found) == [""]:
        one = found[""]
        return Panel("confusion", title, one.summary(), one.metrics(),
                     [Chart("confusion", one.chart()), *one.tables()])  # fmt: skip
    worst = {kind: each.worst()[:CONFUSED] for kind, each in found.items()}
    ordered = sorted(
        ((int(found[kind].counts[pair]), kind, *(found[kind].labels[k] for k in pair))
         for kind, pairs in worst.items() for pair in pairs), key=lambda each: -each[0],
    )  # fmt: skip
    summary = f"Rows are targets, columns predictions, of {len(here):,} questions by kind."
    if ordered:
        count, kind, target, other = ordered[0]
        summary += (f" The most frequent confusion: {quoted(target)} predicted as {quoted(other)}, {count:,} times, "
                    f"for questions of the kind “{shortened(kind, 40)}”.")  # fmt: skip
    drawn = [(kind, each) for kind, each in found.items() if FEWEST <= len(each.labels) <= MOST]
    blocks: list[Block] = [Chart(f"confusion-{k}", each.small_chart(kind)) for k, (kind, each) in enumerate(drawn, 1)]
    for kind, pairs in worst.items():
        if pairs:
            each = found[kind]
            total = int(each.counts.sum())
            title_ = f"{shortened(kind, 40)}: accuracy {each.accuracy:.0%} over {total:,} questions"
            blocks += [Heading(title_), each.confused(pairs)]
    metrics = {"by_kind": {kind: each.metrics() for kind, each in found.items()}}
    return Panel("confusion", title, summary, metrics, blocks)


def attention_panel(here: Predictions) -> Panel:
    """The attention of some questions."""
    rows = [row for row in range(min(SHOWN, len(here))) if here.answers[row].attention is not None]
    if not rows:
        return Panel("attention", "Attention", BLIND)
    summary = (f"{len(rows)} random questions, with the attention weights over the image at each word, and twice at "
               "the end of the question: the darker a position, the smaller its weight.")  # fmt: skip
    questions = [{"question": here.column("question")[row], "answer": here.column("answer")[row],
                  "predicted": here.answers[row]["answer"]} for row in rows]  # fmt: skip
    strips = [question_strip(here, number, row) for number, row in enumerate(rows, 1)]
    return Panel("attention", "Attention", summary, {"questions": questions}, strips)


def question_strip(here: Predictions, number: int, row: int) -> ImageStrip:
    """A question and its attention, with the most probable answers and the target below."""
    answer = here.answers[row]
    assert answer.attention is not None
    best = sorted(answer["probabilities"].items(), key=lambda each: -each[1])[:ANSWERS]
    caption = ", ".join(f"{name} {probability:.2f}" for name, probability in best)
    caption += f"; target: {here.column('answer')[row]}"
    return strip(f"question-{number}", here.column("question")[row], answer.attention, caption)


def hardest_panel(here: Predictions) -> Panel:
    """The wrong answers of highest probability."""
    wrong = [row for row, answer in enumerate(here.answers) if answer["answer"] != here.column("answer")[row]]
    wrong.sort(key=lambda row: -here.answers[row]["probability"])
    worst = wrong[:HARDEST]
    questions, targets, answers = here.column("question"), here.column("answer"), here.answers
    rows = [
        [here.column("image")[row].thumbnail(PAGE), *(shortened(text) for text in (questions[row], answers[row].first)),
         answers[row]["probability"], shortened(targets[row])] for row in worst
    ]  # fmt: skip
    summary = f"{len(wrong):,} of {len(here):,} answers are wrong"
    summary += f"; these are the {len(worst)} of highest probability." if worst else "."
    found = [{"image": here.column("image")[row].name, "question": questions[row], "answer": targets[row],
              "predicted": answers[row]["answer"], "probability": answers[row]["probability"]}
             for row in worst]  # fmt: skip
    blocks = [Table(["", "question", "predicted", "probability", "target"], rows)] if rows else []
    return Panel("hardest", "Confident wrong answers", summary, {"questions": found}, blocks)
