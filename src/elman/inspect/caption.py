"""The report of a captioner: the scores of its captions, its attention while it generates them, and the worst
captions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from elman.data.image import LazyImage
from elman.inspect.attention_strip import PAGE, strip
from elman.inspect.blocks import Block, Chart, ImageStrip, Table
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.curves import training
from elman.inspect.display import shortened
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.metrics.captions import CaptionScores
from elman.metrics.pointing import Pointing, pointing_metrics
from elman.tasks.caption import pointings
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")
DRAWN, HARDEST = 3, 12  # strips of each kind; images in the table
BLIND = "The decoder has only the mean over all positions of the image, so there is no attention to show."


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    captioned = CaptionedImages(here)
    yield scores_panel(here, captioned)
    if found := captioned.pointings():
        yield attention_panel(found, options.no_text)
    if not options.no_text:
        ordered = hardest(captioned)
        yield strips_panel(captioned, ordered, options.seed)
        yield hardest_panel(captioned, ordered)
    yield from training(model.run, options.log)


class CaptionedImages(CaptionScores):
    """Each image once, with its caption and all references in the whole table. Rows are of the whole table.

    - answers: by row
    """

    def __init__(self, here: Predictions):
        first = {image.name: row for row, image in reversed(list(enumerate(here.whole.columns["image"])))}
        chosen = {image.name: row for row, image in reversed(list(enumerate(here.column("image"))))}
        ordered = sorted(chosen.items(), key=lambda each: each[1])
        self.answers = {first[name]: replace(here.answers[row], row=first[name]) for name, row in ordered}
        self.spec = here.spec
        super().__init__(here.whole, {row: answer["caption"] for row, answer in self.answers.items()})

    def pointings(self) -> list[Pointing]:
        """The attention on the object that each noun names, where images know their objects and tokens are words."""
        return [each for some in pointings(self.rows, self.answers.values(), self.spec).values() for each in some]

    def image(self, row: int) -> LazyImage:
        """The image of a row."""
        return self.rows.columns["image"][row]

    def reference(self, row: int) -> str:
        """A reference of the image of a row."""
        return self.references[self.names[row]][0]

    def strip(self, number: int, row: int) -> ImageStrip:
        """The attention of a caption, or the image alone."""
        answer, name, caption = self.answers[row], f"strip-{number}", f"reference: {self.reference(row)}"
        if answer.attention is None:
            return ImageStrip(name, answer["caption"], self.image(row), [], caption)
        return strip(name, answer["caption"], answer.attention, caption)


def hardest(captioned: CaptionedImages) -> list[int]:
    """The rows, those with a caption known to be false first, then by CIDEr-D."""
    return sorted(captioned.predictions, key=lambda row: (captioned.is_true(row) is not False, captioned.cider(row)))


def scores_panel(here: Predictions, captioned: CaptionedImages) -> Panel:
    """BLEU, CIDEr-D and the fraction of true captions; and the loss with teacher forcing."""
    scores = captioned.metrics()
    total, tokens = here.loss(list(range(len(here))))
    unit = here.spec.tokenizer.unit
    summary = (
        f"BLEU-4 is {scores['bleu4']:.1f} and CIDEr-D {scores['cider']:.2f} over {scores['images']:,} images, "
        "decoded greedily, against all captions of each image"
    )
    summary += f"; {scores['true']:.0%} of the captions are true. " if "true" in scores else ". "
    summary += f"The loss with teacher forcing, on reference captions, is {total / tokens:.3f} nats per {unit}."
    pairs = scores.get("by_pair", {})
    groups = {"all": scores} | {f"{pair} pairs": each for pair, each in pairs.items()}
    names = [name for name in ("bleu1", "bleu2", "bleu3", "bleu4", "cider", "true") if name in scores]
    rows = [[name, *(float(each[part]) for part in names)] for name, each in groups.items()]
    head = ["", *(part.replace("bleu", "BLEU-").replace("cider", "CIDEr\u2011D") for part in names)]
    return Panel(
        "scores", "Scores of the captions", summary, scores | {"teacher_forced_loss": total / tokens},
        [Chart("scores", scores_chart(captioned, groups)), Table(head, rows)],
    )  # fmt: skip


@styled
def scores_chart(captioned: CaptionedImages, groups: dict[str, dict]) -> Figure:
    """BLEU-1 to BLEU-4, and the distribution of CIDEr-D."""
    figure, grid = axes(10.0, 2.7, 1, 2)
    left, right = grid[0]
    width = 0.8 / len(groups)
    for number, (name, each) in enumerate(groups.items()):
        positions = np.arange(4) + width * (number - (len(groups) - 1) / 2)
        left.bar(positions, [each[f"bleu{n}"] for n in range(1, 5)], width * 0.92, label=name, color=COLOURS[number])
    left.set_xticks(range(4), [f"BLEU-{n}" for n in range(1, 5)])
    left.set(ylim=(0, 100))
    left.grid(False, axis="x")
    if len(groups) > 1:
        left.legend()
    found = [captioned.cider(row) for row in captioned.predictions]
    right.hist(found, bins=np.linspace(0, max(1.0, *found), 31), color=COLOURS[0])
    right.set(xlabel="CIDEr-D of a caption", ylabel="images")
    return figure


def attention_panel(found: Sequence[Pointing], no_text: bool) -> Panel:
    """How much of the attention is on the object that a noun names, when it is generated."""
    scores = pointing_metrics(list(found))
    on_object, uniform, hits = scores.values()
    by_word: dict[str, list[Pointing]] = {}
    for each in found:
        by_word.setdefault(each.word, []).append(each)
    rows = [[word, len(some), *pointing_metrics(some).values()] for word, some in sorted(by_word.items())]
    summary = (
        f"When a noun is generated that names an object of the image, {on_object:.0%} of the attention is on that "
        f"object, {on_object / uniform:.1f} times that of uniform attention ({uniform:.0%}). The position of the "
        f"largest weight is on it for {hits:.0%} of {len(found):,} nouns (pointing game)."
    )
    head = ["word", "count", "attention on the object", "uniform attention", "largest weight on the object"]
    words = {"words": [dict(zip(("word", "count", *scores), row, strict=True)) for row in rows]}
    blocks: list[Block] = [] if no_text else [Chart("attention", attention_chart(rows)), Table(head, rows)]
    metrics = scores | {"ratio": on_object / uniform, "nouns": len(found)} | ({} if no_text else words)
    return Panel("attention", "Attention on named objects", summary, metrics, blocks)


@styled
def attention_chart(rows: list[list]) -> Figure:
    """The attention of each word, and uniform attention."""
    figure, axis = axes(6.0, 0.8 + 0.36 * len(rows))
    positions = np.arange(len(rows))
    axis.barh(positions - 0.18, [row[2] for row in rows], 0.34, color=COLOURS[0], label="attention on the object")
    axis.barh(positions + 0.18, [row[3] for row in rows], 0.34, color=COLOURS[9], label="uniform attention")
    axis.set_yticks(positions, [row[0] for row in rows])
    axis.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axis.grid(False, axis="y")
    axis.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def strips_panel(captioned: CaptionedImages, ordered: Sequence[int], seed: int) -> Panel:
    """The attention of some captions: a few at random, then the worst."""
    drawn = np.random.default_rng(seed).permutation(sorted(captioned.predictions))[:DRAWN].tolist()
    worst = [row for row in ordered if row not in drawn][:DRAWN]
    strips = [captioned.strip(number, row) for number, row in enumerate((*drawn, *worst), 1)]
    about = f"{len(drawn)} random images" + (f", then the {len(worst)} with the worst captions" if worst else "")
    attends = any(captioned.answers[row].attention is not None for row in (*drawn, *worst))
    summary = (
        f"{about}. Each word is shown with the attention weights with which it was generated: the darker a position, "
        "the smaller its weight." if attends else f"{BLIND} {about}, with their captions."
    )  # fmt: skip
    if any(each.hard for each in strips):
        summary += " The frame is the position that was used."
    return Panel("strips", "Attention", summary, {"captions": [each.title for each in strips]}, strips)


def hardest_panel(captioned: CaptionedImages, ordered: Sequence[int]) -> Panel:
    """The images with captions that are false, or of the lowest CIDEr-D."""
    worst = ordered[:HARDEST]
    known = captioned.is_true(worst[0]) is not None
    marks = {True: "yes", False: "no", None: ""}
    rows = [
        [captioned.image(row).thumbnail(PAGE), captioned.cider(row),
         *([marks[captioned.is_true(row)]] if known else []),
         shortened(captioned.predictions[row]), shortened(captioned.reference(row))] for row in worst
    ]  # fmt: skip
    what = "captions that are false, then of the lowest CIDEr-D" if known else "captions of the lowest CIDEr-D"
    summary = f"The {len(rows)} of {len(ordered):,} images with {what}."
    found = [{"image": captioned.names[row], "cider": captioned.cider(row), "caption": captioned.predictions[row],
              "references": captioned.references[captioned.names[row]]} for row in worst]  # fmt: skip
    head = ["", "CIDEr\u2011D", *(["true"] if known else []), "caption", "reference"]
    return Panel("hardest", "Worst captions", summary, {"images": found}, [Table(head, rows)])
