"""The report of a writer of captions: how good they are, where it looks while it says them, and what is hardest."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from elman.data.rows import Ragged, Rows
from elman.data.table import Table
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.curves import training
from elman.inspect.look import Look
from elman.inspect.panel import Panel, table
from elman.inspect.predictions import Predictions, shortened
from elman.inspect.strip import PAGE, Strip, words
from elman.metrics.captions import CaptionScores
from elman.metrics.pointing import Pointing, pointing_metrics
from elman.tasks.caption import Caption
from elman.tasks.task import Answer, to
from elman.tokenizers import registry
from elman.tokenizers.tokenizer import Tokenizer
from elman.training.trained_model import Model

TAKES = ("text", "length")
DRAWN, HARDEST = 3, 12  # strips of each kind; pictures in the table
WHOLE = "A plain decoder sees the picture as a whole, so there is nowhere that it looks."
SILENT = "No word was said, so it looked nowhere."


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another."""
    here = Predictions(model, look)
    assert isinstance(here.task, Caption)
    said = captions(here, here.task)
    yield scores_panel(here, said)
    found = [each for some in here.task.pointed(here.whole, said.predictions, here.config).values() for each in some]
    if found:
        yield attention_panel(found, look.quiet)
    if not look.quiet:
        ordered = hardest(said)
        yield strips_panel(here, here.task, said, ordered)
        yield hardest_panel(said, ordered)
    yield from training(model.run, look.log)


def captions(here: Predictions, task: Caption) -> CaptionScores:
    """What is said of each picture, once, beside all captions that the whole table has of it."""
    first = {picture.name: row for row, picture in reversed(list(enumerate(here.column("image"))))}
    some = here.source.select(np.array(sorted(first.values())))
    rows = {picture.name: row for row, picture in reversed(list(enumerate(here.whole.columns["image"])))}
    names = [picture.name for picture in some.table.columns["image"]]
    found = dict(task.answered(some, here.config))
    return CaptionScores(here.whole, {rows[name]: found[row]["caption"] for row, name in enumerate(names)})


def hardest(said: CaptionScores) -> list[int]:
    """The rows, those whose caption is known not to be true first, then by CIDEr-D."""
    return sorted(said.predictions, key=lambda row: (said.is_true(row) is not False, said.cider(row)))


def scores_panel(here: Predictions, said: CaptionScores) -> Panel:
    """BLEU, CIDEr-D, what is true; and the loss, which is something else."""
    counted = said.metrics()
    nats, tokens = here.loss(list(range(len(here))))
    unit = registry.from_json(here.config["tokens"]["caption"]).unit
    says = (
        f"BLEU-4 {counted['bleu4']:.1f} and CIDEr-D {counted['cider']:.2f} over {counted['images']:,} pictures, "
        "written greedily, all captions of a picture counting"
    )
    says += f"; {counted['true']:.0%} are true of their picture. " if "true" in counted else ". "
    says += (
        f"The loss, {nats / tokens:.3f} nats a {unit}, is another thing: it is of each {unit} after the true ones "
        "(teacher forcing), not after its own."
    )
    pairs = counted.get("by_pair", {})
    groups = {"all": counted} | {f"{pair} pairs": each for pair, each in pairs.items()}
    names = [name for name in ("bleu1", "bleu2", "bleu3", "bleu4", "cider", "true") if name in counted]
    rows = [[name, *(float(each[part]) for part in names)] for name, each in groups.items()]
    head = ["", *(part.replace("bleu", "BLEU-").replace("cider", "CIDEr\u2011D") for part in names)]
    return Panel(
        "scores", "How good the captions are", says, counted | {"teacher_forced_loss": nats / tokens},
        {"scores": scores_chart(said, groups)}, table(head, rows),
    )  # fmt: skip


@styled
def scores_chart(said: CaptionScores, groups: dict[str, dict]) -> Figure:
    """BLEU of n-grams up to each n, and how the pictures spread over CIDEr-D."""
    figure, grid = axes(10.0, 2.7, 1, 2)
    left, right = grid[0]
    width = 0.8 / len(groups)
    for number, (name, each) in enumerate(groups.items()):
        places = np.arange(4) + width * (number - (len(groups) - 1) / 2)
        left.bar(places, [each[f"bleu{n}"] for n in range(1, 5)], width * 0.92, label=name, color=COLOURS[number])
    left.set_xticks(range(4), [f"BLEU-{n}" for n in range(1, 5)])
    left.set(ylim=(0, 100))
    left.grid(False, axis="x")
    if len(groups) > 1:
        left.legend()
    found = [said.cider(row) for row in said.predictions]
    right.hist(found, bins=np.linspace(0, max(1.0, *found), 31), color=COLOURS[0])
    right.set(xlabel="CIDEr-D of a caption", ylabel="images")
    return figure


def attention_panel(found: list[Pointing], quiet: bool) -> Panel:
    """How much of the attention lies on what a noun names, when it is said."""
    counted = pointing_metrics(found)
    share, chance, hits = (counted[name] for name in ("attention", "attention_chance", "attention_hits"))
    by_word: dict[str, list[Pointing]] = {}
    for each in found:
        by_word.setdefault(each.word, []).append(each)
    rows = [[word, len(some), *pointing_metrics(some).values()] for word, some in sorted(by_word.items())]
    says = (
        f"When it says a noun that names something in the picture, {share:.0%} of the attention lies on that thing; "
        f"spread evenly it would be {chance:.0%}, so it is {share / chance:.1f} times that. The place with the most "
        f"lies on it in {hits:.0%} of {len(found):,} nouns."
    )
    head = ["word", "times", "attention on it", "if spread evenly", "most looked at place on it"]
    return Panel(
        "attention", "Whether it looks at what it names", says,
        counted | {"ratio": share / chance, "nouns": len(found)}
        | ({} if quiet else {"words": [dict(zip(("word", "times", *counted), row, strict=True)) for row in rows]}),
        {} if quiet else {"attention": attention_chart(rows)}, "" if quiet else table(head, rows),
    )  # fmt: skip


@styled
def attention_chart(rows: list[list]) -> Figure:
    """The share of each word beside that of chance."""
    figure, axis = axes(6.0, 0.8 + 0.36 * len(rows))
    places = np.arange(len(rows))
    axis.barh(places - 0.18, [row[2] for row in rows], 0.34, color=COLOURS[0], label="attention on what is named")
    axis.barh(places + 0.18, [row[3] for row in rows], 0.34, color=COLOURS[9], label="if spread evenly")
    axis.set_yticks(places, [row[0] for row in rows])
    axis.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axis.grid(False, axis="y")
    axis.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def strips_panel(here: Predictions, task: Caption, said: CaptionScores, ordered: list[int]) -> Panel:
    """Some pictures as they were looked at for each word: a few at random, then the hardest."""
    chance = np.random.default_rng(here.look.seed).permutation(sorted(said.predictions))[:DRAWN].tolist()
    hard = [row for row in ordered if row not in chance][:DRAWN]
    rows = [*chance, *hard]
    found = looked(task, here.config, said.rows.take(rows), [said.predictions[row] for row in rows],
                   [f"reference: {said.references[said.names[row]][0]}" for row in rows])  # fmt: skip
    about = f"{len(chance)} pictures drawn at random" + (f", then the {len(hard)} hardest" if hard else "")
    says = (
        f"{about}. Each word stands above where was looked before it was said: what was not looked at lies in the dark."
        if any(strip.steps for strip in found) else f"{blind(task)} {about}, and what is said of them."
    )  # fmt: skip
    if any(strip.framed for strip in found):
        says += " The frame is the place that was taken."
    return Panel("strips", "Where it looks", says, {"captions": [strip.heading for strip in found]},
                 {f"strip-{number + 1}": strip.png() for number, strip in enumerate(found)},
                 "".join(strip.html() for strip in found))  # fmt: skip


def hardest_panel(said: CaptionScores, ordered: list[int]) -> Panel:
    """The pictures whose caption is not true, or least like those of people."""
    each = ordered[:HARDEST]
    judged = said.is_true(each[0]) is not None
    marks = {True: "yes", False: "no", None: ""}
    rows = [
        [said.rows.columns["image"][row].thumbnail(PAGE), said.cider(row), *([marks[said.is_true(row)]] if judged else []),
         shortened(said.predictions[row]), shortened(said.references[said.names[row]][0])] for row in each
    ]  # fmt: skip
    what = "that is not true, and then by the lowest CIDEr-D" if judged else "that has the lowest CIDEr-D"
    says = f"The {len(rows)} of {len(ordered):,} pictures with the caption {what}."
    found = [{"picture": said.names[row], "cider": said.cider(row), "said": said.predictions[row],
              "references": said.references[said.names[row]]} for row in each]  # fmt: skip
    head = ["", "CIDEr\u2011D", *(["true"] if judged else []), "said", "reference"]
    return Panel("hardest", "The hardest pictures", says, {"images": found}, body=table(head, rows))


def looked(task: Caption, config: dict, rows: Table, said: list[str], below: list[str]) -> list[Strip]:
    """A strip of each row's picture, for what was said of it; without steps for a decoder that looks nowhere."""
    tokens = registry.from_json(config["tokens"]["caption"])
    ids = [written(tokens, caption) for caption in said]
    fields = task.inputs(rows, config, lambda line: None) | {"said": Ragged([np.array(each, np.int64) for each in ids])}
    batch = to(Rows(rows, fields, len(rows), None).take(np.arange(len(rows))), task.head.weight.device)
    weights = task.looked(batch, batch["said"])
    steps: list = [[]] * len(rows) if weights is None else [
        words(tokens, each, seen) for each, seen in zip(ids, weights.float().cpu().numpy(), strict=True)
    ]  # fmt: skip
    framed = task.config()["decoder"] == "hard"
    return [Strip(picture, caption, some, under, framed) for picture, caption, some, under
            in zip(rows.columns["image"], said, steps, below, strict=True)]  # fmt: skip


def strips(model: Model, rows: Table, answers: list[Answer]) -> list[Strip] | str:
    """One for each answer, or why there are none."""
    assert isinstance(model.task, Caption)
    rows = model.task.opened(rows)
    found = looked(model.task, model.config["data"], rows, [answer["caption"] for answer in answers],
                   [str(picture) for picture in rows.columns["image"]])  # fmt: skip
    return found if any(strip.steps for strip in found) else blind(model.task)


def blind(task: Caption) -> str:
    """Why no strip of its captions shows a look."""
    return WHOLE if task.config()["decoder"] == "plain" else SILENT


def written(tokens: Tokenizer, text: str) -> list[int]:
    """The tokens of a text that was written by them, the unknown one where its sign stands."""
    text = tokens.with_lead(text)
    if tokens.unknown is None:
        return tokens.encode(text, "replace")
    found = list[int]()
    for number, part in enumerate(text.split(tokens.decode([tokens.unknown]))):
        found += [tokens.unknown] * bool(number) + (tokens.encode(part, "replace") if part.strip() else [])
    return found
