"""The reports of models of images: their attention, how much of it is on the objects that they name, and the pages
that show it."""

import copy
import html
import io
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image

import elman
from elman.data.image import LazyImage
from elman.data.table import Table
from elman.inspect import page
from elman.inspect.attention_strip import DARK, attended, attention_strips, figure, png, words
from elman.inspect.blocks import ImageStrip
from elman.inspect.caption import CaptionedImages, hardest
from elman.inspect.panel import Panel
from elman.inspect.predictions import Predictions
from elman.inspect.report_options import ReportOptions
from elman.metrics.captions import CaptionScores
from elman.tasks.answer import Answer, Attention
from elman.tasks.conditional_generation import shifted
from elman.tasks.loss import Context
from outline import Outline

SMALL = {"steps": 6, "hidden": 12, "embedding": 8, "precision": "float32", "device": "cpu", "preview": False,
         "batch_size": 32, "workers": 0}  # fmt: skip
NASTY = "a <script>alert(1)</script> $x$ \u202e dog 한"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Models that are hardly trained generate no end."""
    monkeypatch.setattr("elman.tasks.caption.LONGEST", 6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small model of each kind, by name, trained when it is first needed."""
    folder, found = tmp_path_factory.mktemp("vision"), {}
    cases = {
        "soft": ("caption", "builtin:scenes:count=60", {}),
        "hard": ("caption", "builtin:scenes:count=60", {"decoder": "hard"}),
        "plain": ("caption", "builtin:scenes:count=60", {"decoder": "plain"}),
        "letters": ("caption", "builtin:scenes:count=60", {"tokens": "char"}),
        "photos": ("caption", photos(folder), {"valid": "0.4"}),
        "stacked": ("vqa", "builtin:scene_questions:count=60", {}),
        "product": ("vqa", "builtin:scene_questions:count=60", {"fusion": "product"}),
    }

    def get(name):
        if name not in found:
            kind, data, options = cases[name]
            found[name] = elman.train(kind, data, out=folder / name, **(SMALL | options))
        return found[name]

    return get


@pytest.fixture(scope="module")
def reported(made):
    """The report of a model, by name, made when it is first needed."""
    found = {}

    def get(name):
        if name not in found:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("elman.tasks.caption.LONGEST", 6)
                found[name] = elman.report(made(name))
        return found[name]

    return get


def photos(folder):
    """Images and their captions as COCO has them."""
    draw, images, annotations = np.random.default_rng(0), [], []
    (folder / "train2017").mkdir()
    (folder / "annotations").mkdir()
    for number in range(20):
        shape = (40, 70, 3) if number % 2 else (60, 30, 3)
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(folder / "train2017" / f"{number:03}.jpg")
        images.append({"id": number, "file_name": f"{number:03}.jpg"})
        for caption in (f"{NASTY} {number % 3}", "two dogs on a table"):
            annotations.append({"id": len(annotations), "image_id": number, "caption": caption})
    path = folder / "annotations" / "captions_train2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "info": {}, "licenses": []}))
    return path


def split(model, name="valid"):
    """A split of the data of a model."""
    return model.task.source(model.spec, model.run.data_paths(), name)


# attention


@pytest.mark.parametrize("name", ["soft", pytest.param("hard", marks=pytest.mark.slow)])
def test_the_attention_of_a_caption_is_that_of_teacher_forcing_with_it(made, name):
    model = copy.deepcopy(made(name))
    network = model.model.eval()
    torch.manual_seed(0)
    for weight in network.decoder.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    source = split(model)
    answers = {answer.row: answer for answer in model.task.answers(network, source)}
    generated = [row for row, answer in sorted(answers.items()) if answer.attention.queries]
    assert generated
    for row in generated[:3]:
        attention = answers[row].attention
        assert attention.hard == (name == "hard")
        assert attention.keys is source.table.columns["image"][row]
        assert len(attention.queries) == len(attention.weights)
        assert_allclose(attention.weights.sum(-1), 1, atol=1e-5)
        ids = torch.tensor([[model.spec.tokenizer.vocabulary.index(text) for text in attention.queries]])
        with torch.no_grad():
            batch = source.take(np.array([row]))
            _, decoded = network.decode(shifted(ids, network.boundary), network.begin(batch), Context())
        assert_allclose(attention.weights, decoded["weights"][0].numpy(), atol=1e-5)
    assert all(answer.attention is None for answer in model_answers(made("plain")))


def model_answers(model):
    """The answers to the validation split."""
    return list(model.task.answers(model.model, split(model)))


def test_the_attention_of_a_question_has_a_row_for_each_word_and_two_more(made):
    model = made("stacked")
    source = split(model)
    answers = {answer.row: answer for answer in model.task.answers(model.model, source)}
    for row in range(4):
        attention = answers[row].attention
        words_ = source.values("question")[row] if hasattr(source.fields["question"], "values") else []
        assert attention.weights.shape == (len(words_) + 2, 64)
        assert len(attention.queries) == len(words_) + 2
        assert_allclose(attention.weights.sum(1), 1, atol=1e-4)
        [alone] = model.predict(Table("t", source.table.take([row]).columns, [1]))
        assert_allclose(attention.weights, alone.attention.weights, atol=1e-5)
    assert all(answer.attention is None for answer in model_answers(made("product")))


# strips


def test_an_image_is_dark_where_the_weight_is_small():
    plain = Image.new("RGB", (160, 80), (200, 100, 50))
    weights = np.full(16, 0.01)
    weights[1 * 4 + 2] = 0.85
    lit = np.asarray(attended(plain, weights)).astype(int)
    assert lit.shape == (80, 160, 3)  # the grid covers all of it
    assert_allclose(lit[30, 100], [200, 100, 50], atol=12)  # the middle of the position with the largest weight
    assert_allclose(lit[75, 5], np.array([200, 100, 50]) * DARK, atol=5)
    assert np.array_equal(np.asarray(attended(plain, np.full(16, 1 / 16))), np.asarray(plain))  # uniform
    framed = np.asarray(attended(plain, weights, hard=True)).astype(int)
    inside, red = framed[22:38, 83:117], framed[20, 80:120]
    assert (red == red[0]).all()
    assert red[0][0] > 250
    assert_allclose(inside, lit[22:38, 83:117])


class HeldImage(LazyImage):
    """An image in memory that counts how often it is opened."""

    def __init__(self, image, name="held"):
        self.name, self._image, self.opened = name, image, 0

    def image(self):
        self.opened += 1
        return self._image.copy()


@pytest.mark.parametrize(("count", "lines"), [(0, 1), (2, 1), (7, 1), (8, 2), (20, 3)])
def test_a_strip_has_the_image_and_one_for_each_word_eight_in_a_line(count, lines):
    image = HeldImage(Image.new("RGB", (900, 600)))
    strip = ImageStrip("strip", NASTY, image, [(f"w{k}$", np.full(9, 1 / 9)) for k in range(count)], "b")
    axes = [axis for axis in figure(strip).axes if axis.get_images()]
    assert len(axes) == count + 1
    assert [axis.get_title() for axis in axes] == ["", *(rf"w{k}\$" for k in range(count))]
    assert len({round(axis.get_position().y0, 2) for axis in axes}) == lines
    assert axes[0].get_images()[0].get_size() == (267, 400)
    assert Image.open(io.BytesIO(png(strip))).format == "PNG"
    outline = Outline(page.page("t", [Panel("p", "t", "s", {}, [strip])]))
    assert outline.open == []
    assert [tag for tag, _ in outline.tags].count("script") == 1
    assert [tag for tag, _ in outline.tags].count("img") == count + 1
    assert image.opened == 1


def test_the_strip_of_an_answer_is_named_after_its_image():
    attention = Attention(
        np.full((2, 4), 0.25), (" a", " dog"), HeldImage(Image.new("RGB", (8, 8)), "x/photo.jpg"), True
    )
    answers = [Answer(0, {"caption": "a dog"}, attention), Answer(1, {"caption": "a cat"})]
    [strip] = attention_strips(answers)
    assert (strip.name, strip.title, strip.caption, strip.hard) == ("photo-attention", "a dog", "x/photo.jpg", True)
    assert [word for word, _ in strip.steps] == ["a", "dog"]
    texts = Attention(np.ones((1, 1)), (" a",), (" b",))
    assert attention_strips([Answer(0, {"translation": "a"}, texts)]) == []


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ((" a", " red", " star", "."), [("a", 0), ("red", 1), ("star.", 2)]),  # words
        (tuple("a red"), [("a", 0), ("red", 2)]),  # characters
        ((" ci", "rcle", " l", "eft", ","), [("circle", 0), ("left,", 2)]),  # subwords
        ((" a", "<unk>", " dog", "<unk>"), [("a", 0), ("<unk>", 1), ("dog", 2), ("<unk>", 3)]),
        ((" is", "?", "(question, first)", "(question, then)"),
         [("is?", 0), ("(question, first)", 2), ("(question, then)", 3)]),
        ((), []),
    ],
)  # fmt: skip
def test_a_word_has_the_weights_of_its_first_token(queries, expected):
    weights = np.arange(4 * len(queries)).reshape(len(queries), 4)
    found = words(Attention(weights, queries, None))
    assert [(word, int(each[0]) // 4) for word, each in found] == expected


def test_captions_that_are_false_come_first_then_those_of_low_cider():
    class Judged(HeldImage):
        def __init__(self, name, truth):
            super().__init__(None, name)
            self.truth = truth

        def is_true(self, caption):
            return self.truth

    images = [Judged("a", True), Judged("b", False), Judged("c", False), Judged("d", None)]
    captions = ["one dog runs", "a cat", "the red bird", "some fish swim"]
    rows = Table("t", {"image": images, "caption": captions}, [1] * 4)
    scores = CaptionScores(rows, {0: "none", 1: "a cat", 2: "a dog", 3: "nothing"})
    assert hardest(scores) == [2, 1, 0, 3]


# reports

PANELS = {
    "soft": ["scores", "strips", "hardest", "curves"],
    "hard": ["scores", "strips", "hardest", "curves"],
    "plain": ["scores", "strips", "hardest", "curves"],
    "letters": ["scores", "strips", "hardest", "curves"],
    "photos": ["scores", "strips", "hardest", "curves"],
    "stacked": ["answers", "confusion", "attention", "hardest", "curves"],
    "product": ["answers", "confusion", "attention", "hardest", "curves"],
}
VARIANTS = ("hard", "plain", "letters", "photos", "product", "stacked")  # of kinds that are tested every time
KINDS = [pytest.param(name, marks=[pytest.mark.slow] * (name in VARIANTS)) for name in PANELS]


@pytest.mark.parametrize("name", KINDS)
def test_a_report_is_a_sound_page_of_its_panels(made, reported, name, tmp_path):
    report = reported(name)
    assert [panel.name for panel in report.panels if (panel.name, name) != ("attention", "soft")] == PANELS[name]
    table = report["hardest"].panels[0].blocks[0]
    assert len(table.rows) > 2
    assert all(isinstance(row[0], Image.Image) for row in table.rows)
    outline = Outline(text := report.save(tmp_path).read_text("utf-8"))
    assert outline.open == []
    assert [tag for tag, _ in outline.tags].count("script") == 1  # that of the page
    assert "alert(1)</script>" not in text
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert len(text) < 3e6
    quiet = page.page("t", elman.report(made(name), no_text=True).panels)
    assert "img" not in {tag for tag, _ in Outline(quiet).tags}
    assert "data:image" not in quiet


def test_the_attention_on_named_objects_is_reported(made, monkeypatch):
    """With reference captions, since a small model names no objects."""
    model = made("soft")
    rows = split(model).table
    references = dict(zip((image.name for image in rows.columns["image"]), rows.columns["caption"], strict=True))
    tokenizer = model.spec.tokenizer

    def answers(network, source, **decoding):
        for row, image in enumerate(source.table.columns["image"]):
            pieces = tuple(tokenizer.split(tokenizer.with_lead(references[image.name])))
            weights = np.random.default_rng(row).dirichlet(np.ones(64), len(pieces))
            yield Answer(row, {"caption": references[image.name]}, Attention(weights, pieces, image))

    monkeypatch.setattr(model.task, "answers", answers)
    report = elman.report(model)
    metrics = report["attention"].panels[0].metrics
    assert metrics["ratio"] == pytest.approx(metrics["attention"] / metrics["attention_uniform"])
    assert sum(word["count"] for word in metrics["words"]) == metrics["nouns"] > 3
    assert report["scores"].panels[0].metrics["true"] == 1
    assert report["scores"].panels[0].metrics["images"] == len(references)
    assert all(caption in references.values() for caption in report["strips"].panels[0].metrics["captions"])


def test_all_captions_of_an_image_are_references_also_those_that_are_not_read(made):
    here = Predictions(made("photos"), ReportOptions(length=3))
    captioned = CaptionedImages(here)
    assert set(map(len, captioned.references.values())) == {2}
    assert set(captioned.predictions) == {captioned.names.index(image.name) for image in here.column("image")}


def test_the_loss_with_teacher_forcing_is_that_of_the_split(made, reported):
    model = made("soft")
    source, total, count = split(model), 0.0, 0
    with torch.no_grad():
        for index in range(len(source)):
            loss = model.model.eval().loss(source.batch(0, index))
            total, count = total + float(loss.sums["loss"]), count + int(loss.count)
    panel = reported("soft").panels[0]
    assert panel.metrics["teacher_forced_loss"] == pytest.approx(total / count, rel=1e-4)
    assert "teacher forcing" in panel.summary


def test_questions_are_reported_with_target_and_prediction(made, reported):
    report, here = reported("stacked"), Predictions(made("stacked"), ReportOptions())
    panels = {panel.name: panel for panel in report.panels}
    wrong = {(here.column("question")[row], answer["answer"]): answer["probability"]
             for row, answer in enumerate(here.answers) if answer["answer"] != here.column("answer")[row]}  # fmt: skip
    worst = panels["hardest"].metrics["questions"]
    assert worst[0]["probability"] == pytest.approx(max(wrong.values()), rel=1e-5)
    assert all((each["question"], each["predicted"]) in wrong for each in worst)
    kinds = panels["confusion"].metrics["by_kind"]
    assert sum(np.sum(each["counts"]) for each in kinds.values()) == len(here)
    correct = sum(np.trace(each["counts"]) for each in kinds.values())
    assert correct / len(here) == pytest.approx(panels["answers"].metrics["accuracy"])
    strip, asked = panels["attention"].blocks[0], panels["attention"].metrics["questions"][0]
    assert strip.title == asked["question"]
    assert f"target: {asked['answer']}" in strip.caption
    assert html.escape(strip.title, False) in page.fragment("t", [panels["attention"]])


@pytest.mark.parametrize(("name", "panel"), [("plain", "strips"), ("product", "attention")])
def test_a_model_without_attention_to_positions_gives_the_reason(made, reported, name, panel):
    assert "no attention to show" in reported(name)[panel].panels[0].summary
    model = made(name)
    rows = split(model).table.take([0])
    assert attention_strips(list(model.predict(Table("t", rows.columns, [1])))) == []


def test_metrics_of_pairs_average_to_those_of_all(made):
    for name, metric in (("soft", "cider"), ("stacked", "accuracy")):
        model = made(name)
        source = split(model, "test")
        found = model.task.measure(model.model, source)
        assert set(found["by_pair"]) == {"seen", "unseen"}
        assert "by_pair" not in model.task.measure(model.model, split(model))
        pairs, images, weights = source.table.columns["pair"], source.table.columns["image"], {}
        for pair in ("seen", "unseen"):
            distinct = {images[row].name for row in range(len(pairs)) if pairs[row] == pair}
            weights[pair] = len(distinct) if name == "soft" else pairs.count(pair)
        mean = sum(found["by_pair"][pair][metric] * count for pair, count in weights.items()) / sum(weights.values())
        assert found[metric] == pytest.approx(mean)


def test_a_table_without_the_grouping_column_is_read(made, tmp_path):
    rows = split(made("photos")).table
    lines = (f"{image.path},two dogs\n" for image in rows.columns["image"])
    (tmp_path / "in.csv").write_text("image,caption\n" + "".join(lines))
    model = made("soft")
    assert len(model.task.source(model.spec, [str(tmp_path / "in.csv")], None).table) == len(rows)
