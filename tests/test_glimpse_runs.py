"""Trainings of glimpse, from images to answers, drawings and a report; and the canvas on which images are put."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import specs
from elman.data.array_image import array_images
from elman.data.canvas import Canvas, RedrawnCanvases
from elman.data.pixels import Pixels
from elman.inspect.drawing import drawings
from elman.inspect.glimpse import coverage
from elman.inspect.report import report
from elman.tasks.answer import Answer, Glimpses
from elman.training import loop
from elman.training.api import load, train
from runs import assert_same, interrupt_after, source, summary
from trainings import OWN_CELLS
from user_errors import fails

TINY = {"hidden": 16, "batch_size": 16, "glimpses": 3, "glimpse_size": 4, "steps": 120, "lr": 0.01, "warmup": 5,
        "preview": False, "precision": "float32", "device": "cpu", "backend": "loop", "valid": "0.2",
        "test": "0.1"}  # fmt: skip
SHORT = TINY | {"steps": 6}
CLASSES = "abc"


def squares(count=120, size=12, channels=None, seed=0):
    """A bright square in one of three corners of each image, in noise; and the corners."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 60, (count, size, size, *([channels] if channels else [])), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = ((1, 1), (1, size - 5), (size - 5, 1))[label]
        image[top : top + 4, left : left + 4] = 230
    return images, np.array(list(CLASSES))[labels]


def write(path, **options):
    images, labels = squares(**options)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("squares") / "squares.npz")


@pytest.fixture(scope="module")
def run(trained, data):
    """No test changes its weights."""
    return trained("glimpse", data, **TINY)


# the canvas


def grey(count=5, size=6, channels=1):
    values = np.random.default_rng(1).integers(1, 256, (count, size, size, *([3] if channels == 3 else [])), np.uint8)
    return values, Pixels(array_images("images", values), size, print, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_row_is_somewhere_on_its_canvas_and_nothing_else_is(channels):
    values, pixels = grey(channels=channels)
    field = Canvas(pixels, 11, 0)
    batch = field.take("image", np.array([4, 0, 4]))
    assert batch["image"].shape == (3, channels, 11, 11)
    assert batch["image_of"].tolist() == [0, 1, 2]
    for canvas, row in zip(batch["image"].numpy(), (4, 0, 4), strict=True):
        top, left = field.corner[row]
        expected = values[row].reshape(6, 6, channels).transpose(2, 0, 1)
        np.testing.assert_array_equal(canvas[:, top : top + 6, left : left + 6], expected)
        assert np.count_nonzero(canvas) == expected.size


def test_a_row_has_the_same_canvas_in_every_batch_and_selection():
    field = Canvas(grey(20)[1], 30, 2)
    whole = field.take("image", np.arange(20))["image"]
    some = field.select(np.array([7, 3, 11]))
    np.testing.assert_array_equal(some.take("image", np.array([2, 0]))["image"], whole[[11, 7]])
    assert len({(int(y), int(x)) for y, x in field.corner}) > 10
    np.testing.assert_array_equal(Canvas(grey(20)[1], 30, 2).take("image", np.arange(20))["image"], whole)


def test_clutter_is_pieces_of_other_images():
    values, pixels = grey(6, size=10)
    field = Canvas(pixels, 60, 3)
    for row, canvas in enumerate(field.take("image", np.arange(6))["image"][:, 0].numpy()):
        expected = np.zeros((60, 60), np.uint8)
        top, left = field.corner[row]
        expected[top : top + 10, left : left + 10] = values[row]
        for number in range(3):
            (y, x), (v, u) = field.cut[row, number], field.pasted[row, number]
            piece = values[field.of[row, number]][y : y + 8, x : x + 8]
            expected[v : v + 8, u : u + 8] = np.maximum(expected[v : v + 8, u : u + 8], piece)
        np.testing.assert_array_equal(canvas, expected)


def test_canvases_are_other_ones_in_every_epoch_of_training_and_fixed_otherwise(data, tmp_path):
    model = train("glimpse", data, out=tmp_path / "run", **SHORT, canvas_size=24)
    dataset = model.task.prepare([str(data)], model.spec.options, seed=3)
    assert isinstance(dataset.train, RedrawnCanvases)
    by_row = []
    for epoch in (0, 1, 0):
        batches = [dataset.train.batch(epoch, index) for index in range(len(dataset.train))]
        rows = torch.cat([batch["row"] for batch in batches])
        by_row.append(torch.cat([batch["image"] for batch in batches])[rows.argsort()])
    assert by_row[0].shape[1:] == (1, 24, 24)
    torch.testing.assert_close(by_row[0], by_row[2])
    assert (by_row[0] != by_row[1]).flatten(1).any(1).float().mean() > 0.9
    torch.testing.assert_close(source(model).take(np.arange(5)), dataset.valid.take(np.arange(5)))
    parts = [dataset.train.shard(rank, 2).batch(1, 0)["image"] for rank in range(2)]
    torch.testing.assert_close(torch.cat(parts), dataset.train.batch(1, 0)["image"])


# trainings


def test_corners_are_learned_and_measured_with_mean_and_sampled_locations(run):
    found = summary(run)
    assert found["val_metrics"]["accuracy"] > 0.9
    assert found["val_metrics"]["sampled_accuracy"] > 0.8
    assert {"val_loss", "val_correct", "val_baseline", "val_bits"} <= found.keys()
    assert found["unit"] == "image"
    spec = load(run).spec
    assert (spec.image_size, spec.channels, spec.labels.labels) == (12, 1, tuple(CLASSES))


@pytest.mark.parametrize("options", [{}, {"canvas_size": 20, "clutter": 1, "dropout": 0.2, "num_samples": 2}])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, data, options):
    options = SHORT | {"steps": 14, "eval_every": 4} | options
    train("glimpse", data, out=tmp_path / "unbroken", **options)
    with interrupt_after(7), pytest.raises(loop.Interrupted):
        train("glimpse", data, out=tmp_path / "run", **options)
    train("glimpse", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", str(options))


@pytest.mark.parametrize("attention", ["hard", "soft", "random"])
def test_cells_of_the_user_and_colour_images(tmp_path, attention):
    (tmp_path / "cells.py").write_text(OWN_CELLS)
    path = write(tmp_path / "colour.npz", channels=3, count=60)
    model = train("glimpse", path, out=tmp_path / "run", **SHORT, attention=attention, cell=f"{tmp_path}/cells.py:Own")
    assert model.spec.channels == 3
    answers = list(load(tmp_path / "run").predict(source(model).table))
    assert answers[0].glimpses.image.shape == (12, 12, 3)
    [drawn] = drawings(answers[:1])
    assert list(drawn.files) == [".png", ".gif"]


def test_the_command_line_trains_evaluates_predicts_and_inspects(tmp_path, elman, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "squares.npz")
    options = [word for name, value in SHORT.items() if name not in ("preview",)
               for word in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
    code, out, err = elman("train", "glimpse", path, *options, "--no-preview", "--out", "run")
    assert code == 0, err
    code, out, err = elman("eval", "run", "--split", "test", "--json")
    assert code == 0, err
    assert {"loss", "correct", "baseline", "accuracy", "sampled_accuracy"} <= json.loads(out).keys()
    Image.fromarray(squares(1, 30)[0][0]).save("one.png")
    for _ in range(2):
        code, out, err = elman("predict", "run", "one.png")
        assert code == 0, err
        label, probability = out.strip().split("\t")
        assert label in CLASSES
        assert 0 < float(probability) <= 1
        assert "resized to 12 x 12" in err
    names = ["one-glimpses-2.gif", "one-glimpses-2.png", "one-glimpses.gif", "one-glimpses.png"]
    assert sorted(each.name for each in tmp_path.glob("*glimpses*")) == names
    with Image.open("one-glimpses.gif") as animation:
        assert animation.n_frames == 4
    code, out, err = elman("predict", "run", "one.png", "--image", "named.png", "--json")
    assert code == 0, err
    assert np.shape(json.loads(out)["location"]) == (3, 2)
    assert (tmp_path / "named.gif").exists()
    code, out, err = elman("inspect", "run", "--length", 20)
    assert code == 0, err
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    assert {"glimpses", "confusion", "attended", "paths", "errors", "gradient"} <= found.keys()


def test_images_of_the_size_of_the_canvas_are_taken_as_they_are(tmp_path, data):
    model = train("glimpse", data, out=tmp_path / "run", **SHORT, canvas_size=24)
    ready, small = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8), squares(1)[0][0]
    Image.fromarray(ready).save(tmp_path / "ready.png")
    Image.fromarray(small).save(tmp_path / "small.png")
    [answer] = model.predict([tmp_path / "ready.png"])
    np.testing.assert_array_equal(answer.glimpses.image, ready)
    [answer] = model.predict([tmp_path / "small.png"])
    assert answer.glimpses.image.shape == (24, 24)
    assert np.count_nonzero(answer.glimpses.image) == np.count_nonzero(small)


# the report


@pytest.mark.parametrize("attention", ["hard", "soft", "random"])
def test_the_report_has_the_paths_and_what_they_cover(trained, data, attention):
    path = trained("glimpse", data, **(TINY if attention == "hard" else SHORT), attention=attention)
    found = report(path, length=24).metrics
    assert len(found["glimpses"]["accuracy"]) == 3
    assert found["glimpses"]["accuracy"][-1] == pytest.approx(found["confusion"]["accuracy"])
    assert len(found["paths"]["images"]) == 8
    assert all(image["label"] != image["predicted"] for image in found["errors"]["images"])


def test_coverage_counts_the_glimpses_over_each_part():
    location = np.array([[[-1.0, -1.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 0.5]]])
    paths = [Glimpses(np.zeros((28, 28), np.uint8), each, np.full((2, 1), 4), ("a", "b")) for each in location]
    found = coverage(paths)
    expected = np.zeros((28, 28))
    for each in location.reshape(-1, 2):
        x, y = (each + 1) / 2 * 28
        for row in range(28):
            for column in range(28):
                expected[row, column] += abs(row + 0.5 - y) < 2 and abs(column + 0.5 - x) < 2
    np.testing.assert_allclose(found, expected / 2)


def test_an_answer_without_glimpses_has_no_drawing():
    assert drawings([Answer(0, {"label": "a"})]) == []


# bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"glimpse_size": 13}, ["`glimpse_size` 13", "12 pixels"]),
        ({"scales": 4}, ["`scales` 4", "at most 3"]),
        ({"canvas_size": 12}, ["`canvas_size` 12", "larger"]),
        ({"clutter": 2}, ["`clutter` 2", "`canvas_size`"]),
        ({"attention": "soft", "scales": 2}, ["`scales` 2", "`attention` soft"]),
        ({"attention": "soft", "num_samples": 2}, ["`num_samples` 2", "`attention` soft"]),
        ({"attention": "random", "location_std": 0.2}, ["`location_std` 0.2", "`attention` random"]),
        ({"attention": "harder"}, ["harder", "hard"]),
        ({"glimpses": 0}, ["`glimpses` 0"]),
        ({"max_length": 10}, ["max_length"]),
    ],
)
def test_options_that_do_not_fit_are_one_line(tmp_path, data, options, words):
    fails(lambda: train("glimpse", data, out=tmp_path / "run", **(SHORT | options)), *words)
    assert not (tmp_path / "run").exists()


def test_classes_that_do_not_fit_are_one_line(tmp_path):
    images, labels = squares(40)
    np.savez(tmp_path / "one.npz", images=images, labels=np.full(40, "a"))
    fails(lambda: train("glimpse", tmp_path / "one.npz", out=tmp_path / "run", **SHORT), "one class", "'a'")
    np.savez(tmp_path / "new.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=["a", "z"])
    options = SHORT | {"test": "0"}
    fails(lambda: train("glimpse", tmp_path / "new.npz", out=tmp_path / "run", **options), "'z'", "no training row")


def test_a_stored_size_that_does_not_fit_is_one_line():
    """A patch that is much wider than the image would fill the memory."""
    fails(lambda: specs.build("glimpse", specs.glimpse(scales=12)), "`scales` 12", "at most 3")
