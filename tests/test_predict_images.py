"""`elman predict RUN photo.jpg`: what is printed, the image of the attention that is written, and the one line of a
mistake."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import elman as library
from elman.data.image_input import open_image
from elman.metrics.unknown_words import unknown_words, with_suggestions
from elman.tasks.tables import encoded
from elman.tokenizers.word import UNKNOWN, WordTokenizer
from elman.training.trained_model import load

SMALL = {"steps": 4, "seed": 1, "hidden": 12, "embedding": 8, "precision": "float32", "device": "cpu", "preview": False,
         "batch_size": 32, "workers": 0, "backend": "native"}  # fmt: skip
SCENE = "scene: small red circle 12,40; large blue star 40,20"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A model that is hardly trained generates no end (with this seed; with another no token at all)."""
    monkeypatch.setattr("elman.tasks.caption.LONGEST", 6)


@pytest.fixture(scope="module")
def runs(trained):
    """Captioners and models of questions, with attention and without, by name. No test changes them."""
    captions, questions = "builtin:scenes:count=40", "builtin:scene_questions:count=40"
    return {
        "soft": trained("caption", captions, decoder="soft", **SMALL),
        "plain": trained("caption", captions, decoder="plain", **SMALL),
        "stacked": trained("vqa", questions, fusion="stacked", **SMALL),
        "product": trained("vqa", questions, fusion="product", **SMALL),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two photos."""
    rng = np.random.default_rng(0)
    for name, shape in (("photo.jpg", (50, 90, 3)), ("other.png", (64, 64, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / name)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "in.csv").write_text("image,question\nphoto.jpg,is there a star?\nother.png,how many circles?\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written():
    """The images of attention in the working directory."""
    return sorted(path.name for path in Path.cwd().glob("*attention*.png"))


def test_a_caption_and_an_image_of_its_attention_that_overwrites_nothing(runs, folder, elman):
    done = elman("predict", runs["soft"], "photo.jpg")
    [answer] = load(runs["soft"]).predict(["photo.jpg"])
    assert done.out == answer["caption"] + "\n"
    assert "elman: attention: photo-attention.png" in done.err.splitlines()
    first = (folder / "photo-attention.png").read_bytes()
    with Image.open(folder / "photo-attention.png") as drawn:
        assert drawn.width > 300
    for name in ("photo-attention-2.png", "photo-attention-3.png"):
        assert f"attention: {name}" in elman("predict", runs["soft"], "photo.jpg").err
    assert (folder / "photo-attention.png").read_bytes() == first
    assert written() == ["photo-attention-2.png", "photo-attention-3.png", "photo-attention.png"]


def test_the_image_of_the_attention_may_have_another_name_or_be_left_out(runs, folder, elman):
    assert "attention:" not in elman("predict", runs["soft"], "photo.jpg", "--no-image").err
    assert "attention: out/mine.png" in elman("predict", runs["soft"], "photo.jpg", "--image", "out/mine.png").err
    assert "attention: out/mine-2.png" in elman("predict", runs["soft"], "photo.jpg", "--image", "out/mine.png").err
    assert written() == []
    done = elman("predict", runs["soft"], "photo.jpg", "other.png")
    assert re.findall("attention: (.*)", done.err) == ["photo-attention.png", "other-attention.png"]
    assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize("decoding", [["--beam=3"], ["--sample", "--temperature=2"]])
def test_answers_of_any_decoding_have_an_image_of_their_attention(runs, folder, elman, decoding):
    done = elman("predict", runs["soft"], "photo.jpg", "--min-length=2", *decoding)
    assert (done.code, written()) == (0, ["photo-attention.png"])


@pytest.mark.parametrize("run", ["plain", "product"])
def test_a_model_without_attention_draws_nothing_and_explains_why_if_an_image_is_requested(runs, folder, elman, run):
    words = ["photo.jpg", "is there a star?"][: 1 + (run == "product")]
    done = elman("predict", runs[run], *words)
    assert done.code == 0
    lines = len(done.err.splitlines())
    done = elman("predict", runs[run], *words, "--image", "x.png")
    assert (done.code, done.err.count("x.png is not written"), len(done.err.splitlines())) == (0, 1, lines + 1)
    assert list(folder.glob("*attention*")) == []
    assert not (folder / "x.png").exists()


def test_a_single_question_has_the_three_most_probable_answers(runs, folder, elman):
    done = elman("predict", runs["stacked"], "photo.jpg", "is there a star?")
    answer = json.loads(elman("predict", runs["stacked"], "photo.jpg", "is there a star?", "--json").out)
    likely = sorted(answer["probabilities"].items(), key=lambda each: -each[1])
    lines = [line.rsplit("  ", 1) for line in done.out.splitlines()]
    assert [name.strip() for name, _ in lines] == [name for name, _ in likely[:3]]
    assert [probability for _, probability in lines] == [f"{probability:.2f}" for _, probability in likely[:3]]
    assert len(answer["probabilities"]) > 3
    assert "photo-attention.png" in written()
    two = elman("predict", runs["stacked"], "photo.jpg", "is there a star?", "other.png", "how many circles?")
    assert len(two.out.splitlines()) == 2
    assert two.out.startswith(f"{answer['answer']}\t")


def test_a_scene_is_an_image_by_its_description(runs, folder, elman):
    done = elman("predict", runs["stacked"], SCENE, "what colour is the star?")
    assert (done.code, written()) == (0, ["scene-attention.png"])
    assert np.asarray(open_image(SCENE).thumbnail(200)).shape == (200, 200, 3)


def test_rows_of_a_file_have_no_image_of_their_attention(runs, folder, elman):
    done = elman("predict", runs["stacked"], "--file", "in.csv", "--json")
    assert (done.code, len(done.out.splitlines()), written()) == (0, 2, [])
    one = json.loads(done.out.splitlines()[0])
    alone = json.loads(elman("predict", runs["stacked"], "photo.jpg", "is there a star?", "--json").out)
    assert one["probabilities"] == pytest.approx(alone["probabilities"], rel=1e-4)


def test_damaged_images_of_a_file_are_skipped_with_skip_bad(runs, folder, elman):
    with open("in.csv", "a", encoding="utf-8") as file:
        file.write("cut.jpg,is there a star?\nphoto.jpg,how many circles?\n")
    done = elman("predict", runs["stacked"], "--file", "in.csv")
    assert (done.code, done.out) == (2, "")
    assert "cut.jpg" in done.err
    done = elman("predict", runs["stacked"], "--file", "in.csv", "--skip-bad", "--out", "out.csv")
    assert done.code == 0
    assert re.search("1 bad row .*the first: in.csv row 4", done.err)
    assert [line.split(",")[1] for line in (folder / "out.csv").read_text().splitlines()[1:]] == [
        "is there a star?", "how many circles?", "how many circles?",
    ]  # fmt: skip


def test_a_path_is_predicted_like_its_name(runs, folder):
    model = load(runs["soft"])
    [[one], [listed], [named]] = (
        list(model.predict(rows)) for rows in (Path("photo.jpg"), [Path("photo.jpg")], "photo.jpg")
    )
    assert one.values == listed.values == named.values


def test_the_images_of_a_file_may_be_in_another_folder(runs, folder, elman):
    (folder / "far").mkdir()
    for name in ("photo.jpg", "other.png"):
        shutil.move(folder / name, folder / "far" / name)
    assert elman("predict", runs["stacked"], "--file", "in.csv").code == 2
    done = elman("predict", runs["stacked"], "--file", "in.csv", "--images", "far")
    assert (done.code, len(done.out.splitlines())) == (0, 2)


def test_the_image_folder_of_training_is_not_that_of_a_file(folder, elman, tmp_path_factory):
    """A run that was trained with `--images` predicts a table whose images are beside it."""
    home = tmp_path_factory.mktemp("home")
    (home / "images").mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 0, 0)).save(home / "images" / f"{number}.png")
    (home / "train.csv").write_text("image,caption\n" + "".join(f"{n}.png,a red {n}\n" for n in range(6)))
    options = SMALL | {"images": str(home / "images"), "valid": "0", "test": "0"}
    library.train("caption", home / "train.csv", out=home / "run", **options)
    done = elman("predict", home / "run", "--file", "in.csv")
    assert (done.code, len(done.out.splitlines())) == (0, 2)


def test_a_folder_that_cannot_be_written_does_not_suppress_the_answer(runs, folder, elman, monkeypatch):
    def full(path, content):
        raise library.UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("elman.cli.predict.write", full)
    done = elman("predict", runs["soft"], "photo.jpg")
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert "cannot write photo-attention.png" in done.err
    assert elman("predict", runs["soft"], "photo.jpg", "--image", "a.png").code == 2


MISTAKES = [
    ("soft nowhere.jpg", "nowhere.jpg does not exist"),
    ("soft cut.jpg", "cut.jpg"),
    ("soft text.jpg", "text.jpg; image; JPEG"),
    ("soft .", "is a folder"),
    ("soft ''", "no image"),
    ("soft 'scene: small rad circle 12,40'", "rad; did you mean; 'red'"),
    ("soft photo.jpg --image a.jpg", "a.jpg; .png"),
    ("soft photo.jpg other.png --image a.png", "a.png; one image at a time"),
    ("soft photo.jpg --image a.png --no-image", "a.png; --no-image; exclude"),
    ("soft --file in.csv --image a.png", "a.png; --file in.csv; exclude"),
    ("soft photo.jpg --images .", "--images .; --file"),
    ("soft --file in.csv --images nowhere", "nowhere"),
    ("stacked photo.jpg", "image and question"),
    ("stacked photo.jpg ''", "no question"),
    ("stacked photo.jpg 'xyzzy plugh?'", "'xyzzy', 'plugh'; in training; ask as in"),
    ("stacked --file in.csv --column image", "--column image; image and question"),
    ("stacked photo.jpg 'is it?' --beam 2", "--beam; no effect; does not decode"),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_line(runs, folder, elman, words, expected):
    run, *rest = shlex.split(words)
    done = elman("predict", runs[run], *rest)
    assert done.code == 2
    *_, line = done.err.splitlines()
    assert "Traceback" not in done.err
    for part in expected.split("; "):
        assert part in line, (part, line)
    assert done.out == "" or "--image" in words


def test_an_unknown_word_is_named(runs, folder, elman):
    done = elman("predict", runs["stacked"], "photo.jpg", "is there a cirle, or a xyzzy?", "--no-image")
    [line] = done.err.splitlines()
    assert "'cirle' (did you mean 'circle'?)" in line
    assert "'xyzzy'" in line
    assert "'is'" not in line
    tokenizer = WordTokenizer([UNKNOWN, " red", " star", "?"])
    assert unknown_words(tokenizer, ["blue star?", "blau"]) == (["blue", "blau"], True)
    assert unknown_words(tokenizer, ["blue?"]) == (["blue"], False)  # punctuation is not a word
    assert with_suggestions([f"w{n}" for n in range(8)], tokenizer).endswith("and 3 more")
    lines: list[str] = []
    encoded(["rad star"] * 30, tokenizer, 9, lines.append)
    assert "rad" not in lines[0]


def test_an_image_is_opened_again_by_its_path_from_any_folder(folder, monkeypatch):
    name = open_image("photo.jpg").path
    monkeypatch.chdir("/")
    assert open_image(name).image().size == (90, 50)
    assert open_image(SCENE).path == SCENE
