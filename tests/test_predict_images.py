"""`elman predict RUN photo.jpg`: what is said, the picture that is written beside it, and the one line of a mistake."""

import json
import re
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
         "batch_size": 32, "workers": 0}  # fmt: skip
SCENE = "scene: small red circle 12,40; large blue star 40,20"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """What is hardly trained comes to no end (with this seed; with another it says nothing)."""
    monkeypatch.setattr("elman.tasks.caption.LONGEST", 6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for decoder in ("soft", "plain"):
        library.train("caption", "builtin:scenes:count=40", out=folder / decoder, decoder=decoder, **SMALL)
    for join in ("stacked", "product"):
        library.train("vqa", "builtin:scene_questions:count=40", out=folder / join, join=join, **SMALL)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two photos, where commands are typed."""
    draw = np.random.default_rng(0)
    for name, shape in (("photo.jpg", (50, 90, 3)), ("other.png", (64, 64, 3))):
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(tmp_path / name)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "in.csv").write_text("image,question\nphoto.jpg,is there a star?\nother.png,how many circles?\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pictures():
    return sorted(path.name for path in Path.cwd().glob("*attention*.png"))


def test_a_caption_and_a_picture_that_overwrites_nothing(runs, place, elman):
    done = elman("predict", runs / "soft", "photo.jpg")
    [answer] = load(runs / "soft").predict(["photo.jpg"])
    assert done.out == answer["caption"] + "\n"
    assert "elman: written: photo-attention.png" in done.err.splitlines()
    first = (place / "photo-attention.png").read_bytes()
    with Image.open(place / "photo-attention.png") as drawn:
        assert drawn.width > 300
    for name in ("photo-attention-2.png", "photo-attention-3.png"):
        assert f"written: {name}" in elman("predict", runs / "soft", "photo.jpg").err
    assert (place / "photo-attention.png").read_bytes() == first
    assert pictures() == ["photo-attention-2.png", "photo-attention-3.png", "photo-attention.png"]


def test_the_picture_may_have_another_name_or_none(runs, place, elman):
    assert "written" not in elman("predict", runs / "soft", "photo.jpg", "--no-picture").err
    assert "written: out/mine.png" in elman("predict", runs / "soft", "photo.jpg", "--picture", "out/mine.png").err
    assert "written: out/mine-2.png" in elman("predict", runs / "soft", "photo.jpg", "--picture", "out/mine.png").err
    assert pictures() == []
    done = elman("predict", runs / "soft", "photo.jpg", "other.png")
    assert re.findall("written: (.*)", done.err) == ["photo-attention.png", "other-attention.png"]
    assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize("run", ["plain", "product"])
def test_a_model_that_looks_nowhere_draws_nothing_and_says_why_when_asked(runs, place, elman, run):
    words = ["photo.jpg", "is there a star?"][: 1 + (run == "product")]
    done = elman("predict", runs / run, *words)
    assert done.code == 0
    assert "whole" not in done.err
    done = elman("predict", runs / run, *words, "--picture", "x.png")
    assert (done.code, done.err.count("x.png is not written"), len(done.err.splitlines())) == (
        0, 1, len(elman("predict", runs / run, *words).err.splitlines()) + 1,
    )  # fmt: skip
    assert list(place.glob("*attention*")) == []
    assert not (place / "x.png").exists()


def test_one_question_has_the_three_likeliest_answers(runs, place, elman):
    done = elman("predict", runs / "stacked", "photo.jpg", "is there a star?")
    answer = json.loads(elman("predict", runs / "stacked", "photo.jpg", "is there a star?", "--json").out)
    likely = sorted(answer["probabilities"].items(), key=lambda each: -each[1])
    lines = [line.rsplit("  ", 1) for line in done.out.splitlines()]
    assert [name.strip() for name, _ in lines] == [name for name, _ in likely[:3]]
    assert [chance for _, chance in lines] == [f"{chance:.2f}" for _, chance in likely[:3]]
    assert len(answer["probabilities"]) > 3
    assert "photo-attention.png" in pictures()
    two = elman("predict", runs / "stacked", "photo.jpg", "is there a star?", "other.png", "how many circles?")
    assert len(two.out.splitlines()) == 2
    assert two.out.startswith(f"{answer['answer']}\t")


def test_a_scene_is_asked_about_in_its_own_words(runs, place, elman):
    done = elman("predict", runs / "stacked", SCENE, "what colour is the star?")
    assert (done.code, pictures()) == (0, ["scene-attention.png"])
    assert np.array_equal(np.asarray(open_image(SCENE).thumbnail(200)).shape, (200, 200, 3))


def test_what_is_asked_in_a_file_has_no_pictures(runs, place, elman):
    done = elman("predict", runs / "stacked", "--file", "in.csv", "--json")
    assert (done.code, len(done.out.splitlines()), pictures()) == (0, 2, [])
    one = json.loads(done.out.splitlines()[0])
    alone = json.loads(elman("predict", runs / "stacked", "photo.jpg", "is there a star?", "--json").out)
    assert one["probabilities"] == pytest.approx(alone["probabilities"], rel=1e-4)


def test_damaged_pictures_of_a_file_are_left_out_when_asked(runs, place, elman):
    with open("in.csv", "a", encoding="utf-8") as file:
        file.write("cut.jpg,is there a star?\nphoto.jpg,how many circles?\n")
    done = elman("predict", runs / "stacked", "--file", "in.csv")
    assert (done.code, done.out) == (2, "")
    assert "cut.jpg" in done.err
    done = elman("predict", runs / "stacked", "--file", "in.csv", "--skip-bad", "--out", "out.csv")
    assert done.code == 0
    assert "1 bad row left out, the first: in.csv row 4" in done.err
    assert [line.split(",")[1] for line in (place / "out.csv").read_text().splitlines()[1:]] == [
        "is there a star?", "how many circles?", "how many circles?",
    ]  # fmt: skip


def test_a_path_is_asked_like_its_name(runs, place):
    model = load(runs / "soft")
    assert model.predict(Path("photo.jpg")) == model.predict([Path("photo.jpg")]) == model.predict("photo.jpg")


def test_the_pictures_of_a_file_may_stand_elsewhere(runs, place, elman):
    (place / "far").mkdir()
    for name in ("photo.jpg", "other.png"):
        shutil.move(place / name, place / "far" / name)
    assert elman("predict", runs / "stacked", "--file", "in.csv").code == 2
    done = elman("predict", runs / "stacked", "--file", "in.csv", "--images", "far")
    assert (done.code, len(done.out.splitlines())) == (0, 2)


def test_the_images_of_training_are_not_those_of_a_file(place, elman, tmp_path_factory):
    """A run that was trained with --images is asked about a table whose pictures stand beside it."""
    home = tmp_path_factory.mktemp("home")
    (home / "pictures").mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 0, 0)).save(home / "pictures" / f"{number}.png")
    (home / "train.csv").write_text("image,caption\n" + "".join(f"{n}.png,a red {n}\n" for n in range(6)))
    options = SMALL | {"images": str(home / "pictures"), "valid": "0", "test": "0"}
    library.train("caption", home / "train.csv", out=home / "run", **options)
    done = elman("predict", home / "run", "--file", "in.csv")
    assert (done.code, len(done.out.splitlines())) == (0, 2)


def test_a_folder_that_cannot_be_written_costs_no_answer(runs, place, elman, monkeypatch):
    def full(path, content):
        raise library.UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("elman.cli.predict.write", full)
    done = elman("predict", runs / "soft", "photo.jpg")
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert "cannot write photo-attention.png" in done.err
    assert elman("predict", runs / "soft", "photo.jpg", "--picture", "a.png").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("soft nowhere.jpg", "nowhere.jpg does not exist"),
        ("soft cut.jpg", "cut.jpg"),
        ("soft text.jpg", "text.jpg is no picture; JPEG"),
        ("soft .", "is a folder"),
        ("soft ''", "no image"),
        ("soft 'scene: small rad circle 12,40'", "rad; did you mean; 'red'"),
        ("soft photo.jpg --picture a.jpg", "a.jpg; .png"),
        ("soft photo.jpg other.png --picture a.png", "a.png; one picture at a time"),
        ("soft photo.jpg --picture a.png --no-picture", "a.png; --no-picture; exclude"),
        ("soft --file in.csv --picture a.png", "a.png; --file in.csv; exclude"),
        ("soft photo.jpg --images .", "--images .; --file"),
        ("soft --file in.csv --images nowhere", "nowhere"),
        ("stacked photo.jpg", "image and question"),
        ("stacked photo.jpg ''", "no question"),
        ("stacked photo.jpg 'xyzzy plugh?'", "'xyzzy', 'plugh'; seen in training; ask as in"),
        ("stacked --file in.csv --column image", "--column image; image and question"),
    ],
)
def test_mistakes_are_one_line(runs, place, elman, words, said):
    import shlex

    run, *rest = shlex.split(words)
    done = elman("predict", runs / run, *rest)
    assert done.code == 2
    *_, line = done.err.splitlines()
    assert "Traceback" not in done.err
    for part in said.split("; "):
        assert part in line, (part, line)
    assert done.out == "" or "--picture" in words


def test_a_word_that_was_never_seen_is_named(runs, place, elman):
    done = elman("predict", runs / "stacked", "photo.jpg", "is there a cirle, or a xyzzy?", "--no-picture")
    [line] = done.err.splitlines()
    assert "'cirle' (did you mean 'circle'?)" in line
    assert "'xyzzy'" in line
    assert "'is'" not in line
    tokens = WordTokenizer([UNKNOWN, " red", " star", "?"])
    assert unknown_words(tokens, ["blue star?", "blau"]) == (["blue", "blau"], True)
    assert unknown_words(tokens, ["blue?"]) == (["blue"], False)  # a sign is no word
    assert with_suggestions([f"w{n}" for n in range(8)], tokens).endswith("and 3 more")
    told: list[str] = []
    encoded(["rad star"] * 30, tokens.to_config(), 9, told.append)
    assert "rad" not in told[0]


def test_a_picture_is_found_again_from_any_folder(place, monkeypatch):
    name = open_image("photo.jpg").path
    monkeypatch.chdir("/")
    assert open_image(name).image().size == (90, 50)
    assert open_image(SCENE).path == SCENE


def test_what_is_said_is_shown_while_training(place, capsys):
    shown = SMALL | {"preview": True, "steps": 2}
    library.train("caption", "builtin:scenes:count=40", out=place / "run", **shown)
    model = load(place / "run")
    captions = [caption for _, caption in model.config["data"]["shown"]]
    write = model.task.sampler(model.config["data"])
    assert [line.split(" → ")[0] for line in write(3).split("\n")] == captions
    assert len(captions) == 3
    library.train("vqa", "builtin:scene_questions:count=40", out=place / "vqa", **shown)
    model = load(place / "vqa")
    write = model.task.sampler(model.config["data"])
    assert all(re.fullmatch(r".*\? → \w+", line) for line in write(3).split("\n"))
    model.config["data"]["shown"] = [[SCENE, "xyzzy"]]  # no mistake of a user's
    assert write is not None
    assert model.task.sampler(model.config["data"])(3).startswith("xyzzy → ")
