"""A classifier of pictures: a folder of them per class, each read line by line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from elman.data.pixels import to_pixels
from elman.data.scanlines import Scanlines
from elman.data.table_reader import TableOptions, read
from elman.errors import UserError
from elman.tasks.classify import Classify, ClassifyOptions
from elman.training.api import load, train

TINY = {"hidden": 24, "batch_size": 16, "image_size": 16, "steps": 80, "lr": 0.01, "warmup": 5, "dropout": 0.0, "preview": False,
        "precision": "float32", "device": "cpu", "backend": "loop", "valid": "0.2", "test": "0"}  # fmt: skip


def stripe(across, number, side=20):
    """Noise with a bright bar that lies or stands somewhere."""
    image = np.random.default_rng(number).integers(0, 60, (side, side, 3), np.uint8)
    place = number % (side - 6) + 3
    image[(slice(place, place + 3), slice(None)) if across else (slice(None), slice(place, place + 3))] += 180
    return Image.fromarray(image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("bars")
    for across, label in ((True, "lies"), (False, "stands")):
        (where / label).mkdir()
        for number in range(40):
            stripe(across, number).save(where / label / f"{number}.png")
    return where


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """Nobody changes it."""
    path = tmp_path_factory.mktemp("run") / "run"
    train("classify", folder, out=path, **TINY)
    return path


def test_a_picture_is_read_line_by_line(folder):
    pictures = read([str(folder)], TableOptions()).columns["image"]
    field = Scanlines(pictures, 16, print).select(np.arange(10, 50))
    batch = field.take("input", np.array([3, 0, 3]))
    assert batch["input_lengths"].tolist() == [16, 16, 16]
    for row, number in enumerate((13, 10, 13)):
        small = to_pixels(pictures[number].image(), 16).astype(float)
        for line in range(16):
            expected = np.concatenate([small[colour, line] for colour in range(3)]) / 127.5 - 1
            np.testing.assert_allclose(batch["input"][row, line], expected, atol=1e-6)
    assert len(field.values) == 40
    np.testing.assert_array_equal(field.values[3], batch["input"][0])
    assert sum(1 for _ in field.values) == 40


def test_a_folder_of_pictures_a_class_is_learnt(run):
    assert json.loads((run / "summary.json").read_text())["val_accuracy"] > 0.9
    assert load(run).config["data"]["labels"] == ["lies", "stands"]


def test_it_is_asked_about_pictures_by_their_names(run, folder, tmp_path, elman):
    for across in (True, False):
        stripe(across, 77).save(tmp_path / f"{across}.png")
    code, out, err = elman("predict", run, tmp_path / "True.png", tmp_path / "False.png")
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()] == ["lies", "stands"]
    (tmp_path / "t.csv").write_text("image\nTrue.png\nFalse.png\n")
    code, out, err = elman("predict", run, "--file", tmp_path / "t.csv")
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()] == ["lies", "stands"]
    (tmp_path / "bad.png").write_text("no picture")
    for name in ("nothing.png", "bad.png"):
        code, _, err = elman("predict", run, tmp_path / name)
        assert code == 2
        assert name in err
        assert len(err.splitlines()) == 1


def test_what_is_no_picture_is_refused(run, tmp_path):
    (tmp_path / "t.csv").write_text("image,label\na text,lies\n")
    model = load(run)
    with pytest.raises(UserError, match=r"t\.csv row 2 is a text: the model was trained on pictures"):
        model.task.source(model.config, "valid", str(tmp_path / "t.csv"), None)


def test_a_report_is_made_of_it(run, elman):
    code, _, err = elman("inspect", run)
    assert code == 0, err
    assert (run / "report.html").exists()
    told = (run / "report.json").read_text()
    assert all(f'"{name}"' in told for name in ("confusion", "running", "gates"))


def test_pictures_are_read_only_where_there_is_no_text(folder):
    options, rows = ClassifyOptions(), read([str(folder)], TableOptions())
    assert Classify.wanted(rows, options) == {"text": "image", "label": None}
    beside = rows.__class__("t", rows.columns | {"said": ["some words"] * 80}, rows.numbers)
    assert Classify.wanted(beside, options) == {"text": None, "label": None}
    assert Classify.wanted(beside, ClassifyOptions(text_column="image"))["text"] == "image"


def test_an_answer_does_not_depend_on_what_stands_beside_it(run, folder):
    model = load(run)
    source = model.task.source(model.config, "valid", None, None)
    together = dict(model.task.answered(source, model.config["data"]))
    alone = source.take(np.array([2]))
    with torch.no_grad():
        [answer] = model.task.answers(alone, model.config["data"])
    assert answer["label"] == together[2]["label"]
    assert answer["probability"] == pytest.approx(together[2]["probability"], abs=1e-5)
