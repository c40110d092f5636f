"""What is seen inside models that see pictures: where they look, how much of that is on what they name, and the reports
that show it."""

import copy
import html
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from PIL import Image
from test_inspect import Outline

import elman
from elman.cells.tap import record
from elman.data.image import LazyImage
from elman.data.rows import Rows
from elman.data.scenes.image import SceneImage
from elman.data.table import Table
from elman.inspect.caption import captions, hardest, written
from elman.inspect.look import Look, look, strips
from elman.inspect.predictions import Predictions
from elman.inspect.strip import DARK, Strip, lit
from elman.inspect.strip import words as grouped
from elman.metrics import pointing
from elman.metrics.captions import Described
from elman.metrics.grouping import grouping_columns, parted
from elman.tasks.tables import shifted
from elman.tokenizers.registry import BPETokenizer, CharTokenizer, WordTokenizer

SMALL = {"steps": 6, "hidden": 12, "embedding": 8, "precision": "float32", "device": "cpu", "preview": False,
         "batch_size": 32, "workers": 0}  # fmt: skip
NASTY = "a <script>alert(1)</script> $x$ \u202e dog 한"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """What is hardly trained comes to no end."""
    monkeypatch.setattr("elman.tasks.caption.LONGEST", 6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small model of each kind, by name, made when it is first asked for."""
    folder, found = tmp_path_factory.mktemp("vision"), {}
    cases = {
        "soft": ("caption", "builtin:scenes:count=60", {}),
        "hard": ("caption", "builtin:scenes:count=60", {"decoder": "hard"}),
        "plain": ("caption", "builtin:scenes:count=60", {"decoder": "plain"}),
        "letters": ("caption", "builtin:scenes:count=60", {"tokens": "char"}),
        "photos": ("caption", photos(folder), {"valid": "0.4"}),
        "stacked": ("vqa", "builtin:scene_questions:count=60", {}),
        "product": ("vqa", "builtin:scene_questions:count=60", {"join": "product"}),
    }

    def get(name):
        if name not in found:
            kind, data, options = cases[name]
            found[name] = elman.train(kind, data, out=folder / name, **(SMALL | options))
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


# how much of the attention lies on what is named


def test_a_place_counts_as_far_as_a_box_covers_it():
    # a grid of 4 by 4; the box is one place and a half wide, and a half of one high
    cover = pointing.covered([(0.25, 0.5, 0.625, 0.625)], 4).reshape(4, 4)
    expected = np.zeros((4, 4))
    expected[2, 1], expected[2, 2] = 0.5, 0.25
    assert_allclose(cover, expected, atol=1e-12)
    assert_allclose(pointing.covered([(0, 0, 1, 1), (0, 0, 0.5, 0.5)], 4), 1)  # twice is not more than all


share = st.floats(0, 1)


@given(st.tuples(share, share, share, share), st.integers(1, 9))
def test_what_even_attention_gives_is_the_area_of_a_box(corners, side):
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    cover = pointing.covered([(left, top, right, bottom)], side)
    assert cover.mean() == pytest.approx((right - left) * (bottom - top), abs=1e-9)
    assert cover.min() >= 0
    assert cover.max() <= 1


def test_attention_is_scored_when_the_last_word_of_a_noun_is_said():
    pieces = [" two", " red", " stars", " above", " a", " dog", ".", " ", " now"]
    weights = np.full((9, 4), 0.25)
    weights[2], weights[5] = [0.7, 0.1, 0.1, 0.1], [0, 0, 0.25, 0.75]  # at "stars" and at "dog"
    weights[8] = [0.1, 0.9, 0, 0]
    boxes = [(2, (0, 0, 0.5, 0.5)), (2, (0.5, 0, 1, 0.25)), (5, (0.5, 0.5, 0.75, 1.0)), (6, (0.5, 0, 1, 0.5))]
    stars, dog, now = pointing.pointed(weights, pieces, boxes)
    assert stars == pointing.Pointed("stars", pytest.approx(0.7 + 0.1 / 2), pytest.approx(1.5 / 4), True)
    assert dog == pointing.Pointed("dog", pytest.approx(0.75 / 2), pytest.approx(0.5 / 4), False)  # 0.75 is its edge
    assert now == pointing.Pointed("now", pytest.approx(0.9), pytest.approx(0.25), True)
    found = pointing.figures([stars, dog, now])
    assert_allclose(
        [found["attention"], found["attention_chance"]], [(0.75 + 0.375 + 0.9) / 3, (0.375 + 0.125 + 0.25) / 3]
    )
    assert found["attention_hits"] == pytest.approx(2 / 3)
    assert pointing.figures([]) == {}
    assert pointing.pointed(np.full((9, 6), 1 / 6), pieces, boxes) == []  # no square


def test_a_scene_knows_where_the_things_lie_that_a_caption_names():
    picture = SceneImage("scene: large red star 16,32; small blue circle 48,32; small blue square 48,50")
    assert picture.boxes("a large red star left of a blue circle") == [
        (3, (7 / 64, 23 / 64, 25 / 64, 41 / 64)), (8, (43 / 64, 27 / 64, 53 / 64, 37 / 64))
    ]  # fmt: skip
    assert [word for word, _ in picture.boxes("there are two blue objects")] == [4, 4]
    assert picture.boxes("a green star among three objects")[0][0] == 5  # only what is there
    assert picture.boxes("no caption") == []


@pytest.mark.parametrize("name", ["soft", "hard"])
def test_the_figures_of_a_run_have_the_attention_of_what_was_written(made, name):
    model = made(name)
    task, config = model.task, model.config["data"]
    source = task.source(model.config, "test", None, None)
    assert isinstance(source, Rows)
    said = {row: {"caption": source.table.columns["caption"][row]} for row in range(0, len(source.table), 2)}
    found, shares = task.figures(source.table, said, config), []
    tokens = WordTokenizer(config["tokens"]["caption"]["vocabulary"])
    for row, answer in said.items():  # one at a time, each place by itself
        picture = source.table.columns["image"][row]
        ids = torch.tensor([tokens.encode(" " + answer["caption"], "replace")])
        with torch.no_grad(), record() as seen:
            batch = {name: value[:1] for name, value in source.take(np.array([row])).items()}
            task.eval().decode(shifted(ids, task.boundary), task.begin(batch), batch)
        nouns = {}
        for word, box in picture.boxes(answer["caption"]):
            nouns.setdefault(word, []).append(box)
        for word, boxes in nouns.items():
            fine = np.zeros((64, 64))  # a pixel at a time
            for left, top, right, bottom in np.array(boxes) * 64:
                fine[int(top) : int(bottom), int(left) : int(right)] = 1
            cover = fine.reshape(8, 8, 8, 8).mean((1, 3)).ravel()
            shares.append(float(seen["attention"][0, word].numpy() @ cover))
    assert len(shares) > 5
    assert found["attention"] == pytest.approx(np.mean(shares), rel=1e-4)


@pytest.mark.parametrize("name", ["plain", "letters", "photos"])
def test_there_is_no_such_figure_without_attention_words_or_boxes(made, name):
    model = made(name)
    rows = model.task.source(model.config, "valid", None, None).table
    said = {row: {"caption": rows.columns["caption"][row]} for row in range(len(rows))}
    assert "attention" not in model.task.figures(rows, said, model.config["data"])


# where a model looks


@pytest.mark.parametrize("name", ["soft", "hard"])
def test_where_a_decoder_looked_is_what_was_recorded_while_it_wrote(made, name):
    model = made(name)
    task = copy.deepcopy(model.task)
    for weight in task.decoder.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    batch = model.task.source(model.config, "valid", None, None).take(np.arange(3))
    tokens = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1], [5, 5, 5, 5]])
    step, state, token = task.eval().stepper(), None, torch.full((3,), task.boundary)
    with torch.no_grad(), record() as seen:
        state = step.begin(batch)
        for at in range(4):
            _, state = step.step(token, state)
            token = tokens[:, at]
    found = task.train().looked(batch, tokens)
    assert_allclose(found.numpy(), seen["attention"].numpy(), atol=1e-5)
    assert_allclose(found.sum(-1).numpy(), 1, atol=1e-5)
    assert found.shape == (3, 4, 64)
    assert made("plain").task.looked(batch, tokens) is None


def test_where_a_join_looked_is_a_row_a_word_and_two_more(made):
    task = made("stacked").task
    source = task.source(made("stacked").config, "valid", None, None)
    batch = source.take(np.arange(4))
    found = task.looked(batch)
    lengths = batch["question_lengths"]
    assert found.shape == (4, max(lengths) + 2, 64)
    assert_allclose(found.sum((1, 2)).numpy(), lengths + 2, atol=1e-4)
    [alone] = task.looked(source.take(np.array([2])))
    assert_allclose(found[2, [*range(lengths[2]), -2, -1]].numpy(), alone.numpy(), atol=1e-5)
    assert made("product").task.looked(batch) is None


# strips


def test_what_was_not_looked_at_lies_in_the_dark():
    plain = Image.new("RGB", (160, 80), (200, 100, 50))
    weights = np.full(16, 0.01)
    weights[1 * 4 + 2] = 0.85
    made_ = np.asarray(lit(plain, weights)).astype(int)
    assert made_.shape == (80, 160, 3)  # the grid is stretched over it
    assert_allclose(made_[30, 100], [200, 100, 50], atol=12)  # the middle of the place with most
    assert_allclose(made_[75, 5], np.array([200, 100, 50]) * DARK, atol=5)
    assert np.array_equal(np.asarray(lit(plain, np.full(16, 1 / 16))), np.asarray(plain))  # looked at evenly
    framed = np.asarray(lit(plain, weights, framed=True)).astype(int)
    inside, red = framed[22:38, 83:117], framed[20, 80:120]
    assert (red == red[0]).all()
    assert red[0][0] > 250
    assert_allclose(inside, made_[22:38, 83:117])


class Held(LazyImage):
    def __init__(self, image):
        self.name, self._image = "held", image

    def image(self):
        return self._image


@pytest.mark.parametrize(("count", "lines"), [(0, 1), (2, 1), (7, 1), (8, 2), (20, 3)])
def test_a_strip_has_the_picture_and_one_for_each_word_eight_in_a_line(count, lines):
    strip = Strip(Held(Image.new("RGB", (900, 600))), NASTY, [(f"w{k}$", np.full(9, 1 / 9)) for k in range(count)], "b")
    axes = [axis for axis in strip.chart().axes if axis.get_images()]
    assert len(axes) == count + 1
    assert [axis.get_title() for axis in axes] == ["", *(rf"w{k}\$" for k in range(count))]
    assert len({round(axis.get_position().y0, 2) for axis in axes}) == lines
    assert axes[0].get_images()[0].get_size() == (267, 400)
    assert Image.open(io.BytesIO(strip.png())).format == "PNG"
    outline = Outline(strip.html())
    assert outline.open == []
    assert not any(tag == "script" for tag, _ in outline.tags)
    assert [tag for tag, _ in outline.tags].count("img") == count + 1


@pytest.mark.parametrize("kind", [WordTokenizer, CharTokenizer, BPETokenizer])
def test_words_have_where_was_looked_when_they_were_begun(kind):
    text = "a red circle, left of a red star."
    tokens = kind.of_texts([text, text], *([300] if kind is BPETokenizer else []))
    ids = written(tokens, text)
    assert tokens.decode(ids).strip() == text
    weights = np.arange(len(ids) * 4).reshape(-1, 4)
    found = grouped(tokens, ids, weights)
    assert [word for word, _ in found] == text.split()
    begins = [seen[0] // 4 for _, seen in found]
    assert begins == sorted(set(begins))
    for (word, _), at in zip(found, begins, strict=True):
        assert word.startswith(tokens.decode([ids[at]]).strip()[:1])


def test_a_word_that_is_not_known_stays_one():
    tokens = WordTokenizer(["<unk>", " a", " dog"])
    assert written(tokens, "a<unk> dog") == [1, 0, 2]
    assert written(tokens, "<unk> dog<unk>") == [0, 2, 0]
    assert [word for word, _ in grouped(tokens, [1, 0, 2], np.eye(3))] == ["a", "<unk>", "dog"]


# figures apart


def test_columns_that_divide_rows_into_few_are_found():
    def read(**columns):
        return Table("t", columns, list(range(200)))

    few, many, holes = ["a", "b"] * 100, [str(k) for k in range(200)], ["a", None] * 100
    assert groups(read(kind=few, pair=many), [], "kind", "pair") == {"kind": "kind"}
    assert groups(read(kind=few), ["kind"], "kind", "pair") == {}
    assert groups(read(kind=holes), [], "kind") == {}
    assert grouped(read(kind=few), "kind", [0, 1, 2]) == {"a": [0, 2], "b": [1]}
    assert grouped(read(kind=few), "kind", [0, 2]) == {}
    assert grouped(read(kind=few), "pair", [0, 1]) == {}


def test_seen_and_unseen_pairs_are_judged_apart(made):
    for name, figure in (("soft", "cider"), ("stacked", "accuracy")):
        model = made(name)
        source = model.task.source(model.config, "test", None, None)
        whole = model.task.judge(source, model.config["data"])
        assert set(whole["by_pair"]) == {"seen", "unseen"}
        assert "by_pair" not in model.task.judge(
            model.task.source(model.config, "valid", None, None), model.config["data"]
        )
        pairs, weights = source.table.columns["pair"], {}
        images = source.table.columns["image"]
        for pair in ("seen", "unseen"):
            counted = {images[row].name for row in range(len(pairs)) if pairs[row] == pair}
            weights[pair] = len(counted) if name == "soft" else pairs.count(pair)
        mean = sum(whole["by_pair"][pair][figure] * count for pair, count in weights.items()) / sum(weights.values())
        assert whole[figure] == pytest.approx(mean)


def test_a_table_without_the_column_is_read_all_the_same(made, tmp_path):
    rows = made("photos").task.source(made("photos").config, "valid", None, None)
    (tmp_path / "in.csv").write_text(
        "image,caption\n" + "".join(f"{picture.where},two dogs\n" for picture in rows.table.columns["image"])
    )
    assert len(made("soft").task.source(made("soft").config, "", str(tmp_path / "in.csv"), None).table) == len(
        rows.table
    )


def test_the_hardest_are_not_true_first_then_by_cider():
    class Judge(Held):
        def __init__(self, name, true):
            super().__init__(None)
            self.name, self.true = name, true

        def holds(self, caption):
            return self.true

    pictures = [Judge("a", True), Judge("b", False), Judge("c", False), Judge("d", None)]
    rows = Table(
        "t", {"image": pictures, "caption": ["one dog runs", "a cat", "the red bird", "some fish swim"]}, [1] * 4
    )
    said = Described(rows, {0: "none", 1: "a cat", 2: "a dog", 3: "nothing"})
    assert hardest(said) == [2, 1, 0, 3]
    assert "true" not in said.figures()
    assert Described(rows, {0: "none", 1: "a cat"}).figures()["true"] == 0.5


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


@pytest.mark.parametrize("name", PANELS)
def test_a_report_is_a_sound_page_of_its_panels(made, name, tmp_path):
    report = look(made(name))
    assert [panel.name for panel in report.panels if (panel.name, name) != ("attention", "soft")] == PANELS[name]
    [hard] = [panel.body for panel in report.panels if panel.name == "hardest"]
    assert hard.count("<img") == hard.count("<tr>") - 1 > 2  # a picture a row
    outline = Outline(page := report.save(tmp_path).read_text("utf-8"))
    assert outline.open == []
    assert [tag for tag, _ in outline.tags].count("script") == 1  # the page's own
    assert "alert(1)</script>" not in page
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert len(page) < 3e6
    assert len(list((tmp_path / "report").glob("*.png"))) == sum(len(panel.pictures) for panel in report.panels)
    quiet = look(made(name), quiet=True).save(tmp_path).read_text("utf-8")
    assert not {"img", "script"} & {tag for tag, _ in Outline(quiet).tags[:-1]} - {"script"}
    assert "data:image" not in quiet


def test_a_decoder_that_points_is_told_how_well(made, monkeypatch):
    """Captions that name things, as a small model does not write them."""
    model = made("soft")
    rows = model.task.source(model.config, "valid", None, None).table
    true = dict(zip((picture.name for picture in rows.columns["image"]), rows.columns["caption"], strict=True))

    def answered(source, config, **how):
        return [(row, {"caption": true[picture.name]}) for row, picture in enumerate(source.table.columns["image"])]

    monkeypatch.setattr(model.task, "answered", answered)
    report = look(model)
    [panel] = [panel for panel in report.panels if panel.name == "attention"]
    assert panel.figures["ratio"] == pytest.approx(panel.figures["attention"] / panel.figures["attention_chance"])
    assert sum(word["times"] for word in panel.figures["words"]) == panel.figures["nouns"] > 3
    [scores] = [panel for panel in report.panels if panel.name == "scores"]
    assert scores.figures["true"] == 1
    assert scores.figures["pictures"] == len(true)
    strip = next(panel for panel in report.panels if panel.name == "strips")
    assert all(caption in true.values() for caption in strip.figures["captions"])


def test_all_captions_of_a_picture_count_also_those_that_are_not_read(made):
    model = made("photos")
    here = Predictions(model, Look(length=3))
    said = captions(here, model.task)
    assert set(map(len, said.references.values())) == {2}
    assert set(said.said) == {
        said.names.index(name) for name in {picture.name for picture in here.column("image")}
    }  # fmt: skip


def test_the_loss_of_a_report_is_named_for_what_it_is(made):
    model = made("soft")
    source = model.task.source(model.config, "valid", None, None)
    nats = tokens = 0.0
    for index in range(len(source)):
        _, _, sums = model.task.eval().loss(source.batch(0, index))
        nats, tokens = nats + float(sums["nats"]), tokens + float(sums["tokens"])
    panel = look(model).panels[0]
    assert panel.figures["teacher_forced_loss"] == pytest.approx(nats / tokens, rel=1e-4)
    assert "teacher forcing" in panel.says


def test_the_questions_of_a_report_stand_beside_what_was_said(made):
    model = made("stacked")
    panels = {panel.name: panel for panel in look(model).panels}
    here = Predictions(model, Look())
    wrong = {(here.column("question")[row], answer["answer"]): answer["probability"]
             for row, answer in enumerate(here.answers) if answer["answer"] != here.column("answer")[row]}  # fmt: skip
    hardest_ = panels["hardest"].figures["questions"]
    assert hardest_[0]["probability"] == pytest.approx(max(wrong.values()), rel=1e-5)
    assert all((each["question"], each["said"]) in wrong for each in hardest_)
    kinds = panels["confusion"].figures["by_kind"]
    total = sum(np.sum(each["counts"]) for each in kinds.values())
    assert total == len(here)
    right = sum(np.trace(each["counts"]) for each in kinds.values())
    assert right / total == pytest.approx(panels["answers"].figures["accuracy"])
    assert html.escape(panels["attention"].figures["questions"][0]["question"], False) in html.unescape(
        panels["attention"].body
    )


@pytest.mark.parametrize(("name", "why"), [("plain", "as a whole"), ("product", "as wholes")])
def test_a_model_that_looks_nowhere_says_so(made, name, why):
    model = made(name)
    assert why in next(panel for panel in look(model).panels if panel.name in ("strips", "attention")).says
    source = model.task.source(model.config, "valid", None, None)
    rows = source.table.take([0])
    assert why in strips(model, rows, model.predict(Table("t", rows.columns, [1])))
