"""The report of answers to questions about pictures: what the picture and the question give alone, what is confused,
where it looks, and what it is sure of and wrong."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from elman.data.rows import Rows
from elman.data.table import Table
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.confusion import Confusion, coloured, counted
from elman.inspect.curves import training
from elman.inspect.look import Look
from elman.inspect.panel import LazyImage, Panel, escape, table
from elman.inspect.predictions import Predictions, shortened
from elman.inspect.strip import PAGE, Strip, words
from elman.metrics.grouping import grouped
from elman.tasks.task import Answer, to
from elman.tasks.vqa import Vqa
from elman.tokenizers import registry
from elman.training.trained_model import Model

TAKES = ("text", "length")
SHOWN, HARDEST, CONFUSED = 6, 12, 4  # questions with their looks, wrong answers, confusions of a kind
ANSWERS = 3  # the likeliest, below a question
FEWEST, MOST = 2, 20  # answers of a kind that is drawn
NAMES = {"accuracy": "both", "image_only": "picture alone", "question_only": "question alone", "prior": "neither"}
BLIND = "LazyImage and question are joined as wholes, so there is nowhere that this model looks."


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another."""
    here = Predictions(model, look)
    assert isinstance(here.task, Vqa)
    yield answers_panel(here)
    if not look.quiet:
        yield confusion_panel(here)
        yield attention_panel(here)
        yield hardest_panel(here)
    yield from training(model.run, look.log)


def answers_panel(here: Predictions) -> Panel:
    """How much is right, beside what each of the two alone would say."""
    found = here.judged
    kinds, pairs = found.get("by_kind", {}), found.get("by_pair", {})
    says = (
        f"{found['accuracy']:.1%} of {len(here):,} questions are answered right. From the question alone it would be "
        f"{found['question_only']:.1%}, from the picture alone {found['image_only']:.1%}, and always saying what was "
        f"most frequent {found['prior']:.1%}."
    )
    if kinds:
        by = sorted(kinds, key=lambda kind: kinds[kind]["accuracy"])
        hard, easy = (f"“{shortened(kind, 40)}” ({kinds[kind]['accuracy']:.0%})" for kind in (by[0], by[-1]))
        says += f" The easiest kind of question is {easy}, the hardest {hard}."
    counts = {name: len(rows) for column in here.task.besides  # type: ignore[attr-defined]
              for name, rows in grouped(here.source.table, column, range(len(here))).items()}  # fmt: skip
    groups = {"all": found} | kinds | {f"{pair} pairs": each for pair, each in pairs.items()}
    sizes = {"all": len(here)} | counts | {f"{pair} pairs": counts[pair] for pair in pairs}
    rows = [[shortened(name, 40), sizes[name], *(each[way] for way in NAMES)] for name, each in groups.items()]
    return Panel("answers", "What is answered right", says, found, {"answers": answers_chart(groups)},
                 table(["", "questions", *NAMES.values()], rows))  # fmt: skip


@styled
def answers_chart(groups: dict[str, dict[str, float]]) -> Figure:
    """The share that is right of each kind, from both and from less."""
    groups = dict(list(groups.items())[:MOST])
    figure, axis = axes(7.0, 1.0 + 0.5 * len(groups))
    places = np.arange(len(groups))
    for number, (way, name) in enumerate(NAMES.items()):
        values = [each[way] for each in groups.values()]
        colour = COLOURS[9] if way == "prior" else COLOURS[number]
        axis.barh(places + 0.2 * (number - 1.5), values, 0.18, label=name, color=colour)
    axis.set_yticks(places, [literal(shortened(name, 24)) for name in groups])
    axis.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5), xlabel="share that is right, given")
    axis.grid(False, axis="y")
    axis.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def confusions(here: Predictions) -> dict[str, Confusion]:
    """Of each kind of question, or of all; what is none of the answers of its kind stands under its own name."""
    truths, saids = here.column("answer"), [answer["answer"] for answer in here.answers]
    kinds = grouped(here.source.table, "kind", range(len(here))) or {"": range(len(here))}
    found = {}
    for kind, rows in kinds.items():
        true, said = [truths[row] for row in rows], [saids[row] for row in rows]
        found[kind] = counted(true, said, sorted({*true, *said}), "question")
    return found


def confusion_panel(here: Predictions) -> Panel:
    """What is said where something else is true, kind by kind."""
    found = confusions(here)
    if list(found) == [""]:
        one = found[""]
        return Panel("confusion", "What is confused", one.says(), one.figures(), {"confusion": one.chart()}, one.body())
    worst = {kind: each.worst()[:CONFUSED] for kind, each in found.items()}
    ordered = sorted(
        ((int(found[kind].counts[pair]), kind, *(found[kind].labels[k] for k in pair))
         for kind, pairs in worst.items() for pair in pairs), key=lambda each: -each[0],
    )  # fmt: skip
    says = f"Rows are the truth, columns what was said, of {len(here):,} questions by their kind."
    if ordered:
        count, kind, true, said = ordered[0]
        says += (f" Most often “\u2068{shortened(true, 40)}\u2069” is taken for “\u2068{shortened(said, 40)}\u2069”: "
                 f"{count:,} times, in questions of the kind “{shortened(kind, 40)}”.")  # fmt: skip
    body = ""
    for kind, pairs in worst.items():
        if pairs:
            each, of = found[kind], found[kind].counts.sum(1)
            rows = [[shortened(each.labels[true], 40), shortened(each.labels[said], 40), int(each.counts[true, said]),
                     f"{each.counts[true, said] / max(1, of[true]):.0%}"] for true, said in pairs]  # fmt: skip
            told = f"{escape(shortened(kind, 40))}: {each.accuracy:.0%} of {int(each.counts.sum()):,} right"
            body += f"<h3>{told}</h3>" + table(["truth", "said", "times", "share of the truth"], rows)
    drawn = [(kind, each) for kind, each in found.items() if FEWEST <= len(each.labels) <= MOST]
    charts: dict[str, LazyImage] = {f"confusion-{k + 1}": matrix(*each) for k, each in enumerate(drawn)}
    return Panel("confusion", "What is confused", says,
                 {"by_kind": {kind: each.figures() for kind, each in found.items()}}, charts, body)  # fmt: skip


@styled
def matrix(kind: str, found: Confusion) -> Figure:
    """The share of each truth that was said to be each answer."""
    size, names = len(found.labels), [literal(shortened(label, 12)) for label in found.labels]
    figure, axis = axes(2.0 + 0.3 * size, 1.5 + 0.3 * size)
    shares = found.counts / np.maximum(found.counts.sum(1, keepdims=True), 1)
    axis.imshow(coloured(shares), aspect="equal", interpolation="none")
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if size > 2 else {}
    axis.set_xticks(range(size), names, **turned)
    axis.set_yticks(range(size), names)
    axis.set_title(literal(shortened(kind, 30)))
    axis.grid(False)
    for (true, said), count in np.ndenumerate(found.counts):
        if count:
            axis.text(said, true, f"{count:,}", ha="center", va="center", fontsize=7)
    return figure


def attention_panel(here: Predictions) -> Panel:
    """A few questions, and where was looked for each."""
    rows = list(range(min(SHOWN, len(here))))  # in an order of their own, which is random
    found = strips(here.model, here.source.table.take(rows), [here.answers[row] for row in rows])
    if isinstance(found, str):
        return Panel("attention", "Where it looks", found)
    says = (f"{len(found)} questions drawn at random, each with its picture and where was looked at each word, and in "
            "the end twice: what was not looked at lies in the dark.")  # fmt: skip
    questions = [{"question": here.column("question")[row], "answer": here.column("answer")[row],
                  "said": here.answers[row]["answer"]} for row in rows]  # fmt: skip
    return Panel("attention", "Where it looks", says, {"questions": questions},
                 {f"question-{number + 1}": strip.png() for number, strip in enumerate(found)},
                 "".join(strip.html() for strip in found))  # fmt: skip


def hardest_panel(here: Predictions) -> Panel:
    """The wrong answers of which the model was most sure."""
    wrong = [row for row, answer in enumerate(here.answers) if answer["answer"] != here.column("answer")[row]]
    wrong.sort(key=lambda row: -here.answers[row]["probability"])
    each = wrong[:HARDEST]
    questions, truths, answers = here.column("question"), here.column("answer"), here.answers
    rows = [[here.column("image")[row].thumbnail(PAGE), shortened(questions[row]), shortened(answers[row]["answer"], 40),
             answers[row]["probability"], shortened(truths[row], 40)] for row in each]  # fmt: skip
    says = f"{len(wrong):,} of {len(here):,} answers are wrong"
    says += f"; the {len(each)} here are those of which the model was most sure." if each else "."
    found = [{"picture": here.column("image")[row].name, "question": questions[row], "answer": truths[row],
              "said": answers[row]["answer"], "probability": answers[row]["probability"]} for row in each]  # fmt: skip
    return Panel("hardest", "Sure and wrong", says, {"questions": found},
                 body=table(["", "question", "said", "probability", "truth"], rows) if rows else "")  # fmt: skip


def strips(model: Model, rows: Table, answers: list[Answer]) -> list[Strip] | str:
    """One for each answer, or why there are none."""
    task = model.task
    assert isinstance(task, Vqa)
    rows = task.opened(rows)
    fields = task.inputs(rows, model.config["data"], lambda line: None)
    batch = Rows(rows, fields, len(rows), None).take(np.arange(len(rows)))
    weights, tokens = task.looked(to(batch, model.device)), registry.from_json(model.config["data"]["tokens"])
    if weights is None:
        return BLIND
    found = list[Strip]()
    for row, looks in enumerate(weights.float().cpu().numpy()):
        likely = sorted(answers[row]["probabilities"].items(), key=lambda each: -each[1])[:ANSWERS]
        below = ", ".join(f"{answer} {chance:.2f}" for answer, chance in likely)
        if "answer" in rows.columns:
            below += f"; true is: {rows.columns['answer'][row]}"
        ids = batch["question"][row, : batch["question_lengths"][row]].tolist()
        steps = [*words(tokens, ids, looks), ("the whole", looks[-2]), ("and again", looks[-1])]
        found.append(Strip(rows.columns["image"][row], rows.columns["question"][row], steps, below))
    return found
