"""A classifier of images: a folder of them per class, each read line by line."""

import numpy as np
import pytest
import torch
from PIL import Image

from elman.data.image import to_pixels
from elman.data.scanlines import Scanlines
from elman.data.table_reader import TableOptions, read
from elman.errors import UserError
from elman.options import build
from elman.tasks.classify import Classify, ClassifyOptions
from elman.tasks.row_input import EncodedInput, ImageInput
from elman.tasks.vision import MLPEncoder, ResidualEncoder
from elman.training.api import load
from runs import source, summary
from user_errors import fails

TINY = {"hidden": 24, "batch_size": 16, "image_size": 16, "steps": 80, "lr": 0.01, "warmup": 5, "dropout": 0.0,
        "preview": False, "precision": "float32", "device": "cpu", "backend": "loop", "valid": "0.2",
        "test": "0"}  # fmt: skip


def stripe(horizontal, number, side=20):
    """Noise with a bright bar, horizontal or vertical, at a position that depends on the number."""
    image = np.random.default_rng(number).integers(0, 60, (side, side, 3), np.uint8)
    start = number % (side - 6) + 3
    image[(slice(start, start + 3), slice(None)) if horizontal else (slice(None), slice(start, start + 3))] += 180
    return Image.fromarray(image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bars")
    for horizontal, label in ((True, "horizontal"), (False, "vertical")):
        (path / label).mkdir()
        for number in range(40):
            stripe(horizontal, number).save(path / label / f"{number}.png")
    return path


@pytest.fixture(scope="module")
def run(trained, folder):
    """No test changes its weights."""
    return trained("classify", folder, **TINY)


def test_an_image_is_read_line_by_line(folder):
    images = read([str(folder)], TableOptions()).columns["image"]
    field = Scanlines(images, 16, print).select(np.arange(10, 50))
    batch = field.take("input", np.array([3, 0, 3]))
    assert batch["input_lengths"].tolist() == [16, 16, 16]
    for row, number in enumerate((13, 10, 13)):
        small = to_pixels(images[number].image(), 16).astype(float)
        for line in range(16):
            expected = np.concatenate([small[channel, line] for channel in range(3)]) / 127.5 - 1
            np.testing.assert_allclose(batch["input"][row, line], expected, atol=1e-6)
    assert len(field.values) == 40
    np.testing.assert_array_equal(field.values[3], batch["input"][0])
    assert sum(1 for _ in field.values) == 40


def test_a_folder_of_images_per_class_is_learned(run):
    assert summary(run)["val_metrics"]["accuracy"] > 0.9
    spec = load(run).spec
    assert spec.labels.labels == ("horizontal", "vertical")
    assert spec.input == ImageInput(16)
    assert Classify().takes_images(spec)


def test_images_are_predicted_by_their_names(run, tmp_path, elman):
    for horizontal in (True, False):
        stripe(horizontal, 77).save(tmp_path / f"{horizontal}.png")
    code, out, err = elman("predict", run, tmp_path / "True.png", tmp_path / "False.png")
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()] == ["horizontal", "vertical"]
    (tmp_path / "t.csv").write_text("image\nTrue.png\nFalse.png\n")
    code, out, err = elman("predict", run, "--file", tmp_path / "t.csv")
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()] == ["horizontal", "vertical"]
    (tmp_path / "bad.png").write_text("not an image")
    for name in ("nothing.png", "bad.png"):
        code, _, err = elman("predict", run, tmp_path / name)
        assert code == 2
        assert name in err
        assert len(err.splitlines()) == 1


def test_a_value_that_is_not_an_image_is_an_error(run, tmp_path):
    (tmp_path / "t.csv").write_text("image,label\na text,horizontal\n")
    model = load(run)
    with pytest.raises(UserError, match=r"t\.csv row 2 is a text: the model was trained on images"):
        source(model, None, tmp_path / "t.csv")


def test_a_report_is_made_of_it(run, elman):
    code, _, err = elman("inspect", run)
    assert code == 0, err
    assert (run / "report.html").exists()
    content = (run / "report.json").read_text()
    assert all(f'"{name}"' in content for name in ("confusion", "prefixes", "gates"))


def test_images_are_the_input_only_where_there_is_no_text(folder):
    options, rows = ClassifyOptions(), read([str(folder)], TableOptions())
    assert Classify().wanted(rows, options) == {"text": "image", "label": None}
    with_text = rows.__class__("t", rows.columns | {"description": ["some words"] * 80}, rows.numbers)
    assert Classify().wanted(with_text, options) == {"text": None, "label": None}
    assert Classify().wanted(with_text, ClassifyOptions(text_column="image"))["text"] == "image"


def test_the_answer_to_an_image_does_not_depend_on_the_rest_of_its_batch(run):
    model = load(run)
    rows = source(model)
    together = {answer.row: answer for answer in model.task.answers(model.model, rows)}
    with torch.no_grad():
        [alone] = model.task.answer(model.model, rows.take(np.array([2])))
    assert alone.row == 2
    assert alone["label"] == together[2]["label"]
    assert alone["probability"] == pytest.approx(together[2]["probability"], abs=1e-5)


@pytest.mark.parametrize("encoder", [pytest.param("residual", marks=pytest.mark.slow), "mlp"])
def test_an_encoder_without_recurrence_is_the_baseline(folder, trained, elman, tmp_path, encoder):
    run = trained(
        "classify", folder, **TINY | {"encoder": encoder, "cell": "none", "bidirectional": False, "lr": 0.003}
    )
    assert summary(run)["val_metrics"]["accuracy"] > 0.9
    network = load(run).model
    assert not network.recurrent.cells[0].matrices()
    stripe(False, 78).save(tmp_path / "x.png")
    code, out, err = elman("predict", run, tmp_path / "x.png")
    assert (code, out.split("\t")[0]) == (0, "vertical"), err
    code, _, err = elman("inspect", run)
    assert code == 0, err


def test_the_perceptron_is_two_layers_over_all_pixels(folder):
    """Written again with matrices."""
    torch.manual_seed(3)
    options = build(ClassifyOptions, {"encoder": "mlp", "cell": "none", "bidirectional": False, "hidden": 5,
                                      "pooling": "last", "image_size": 6})  # fmt: skip
    task = Classify()
    data = task.prepare([str(folder)], options)
    assert data.spec.input == EncodedInput(MLPEncoder(6, 3, 5))
    model = task.build(data.spec).eval()
    batch = data.train.batch(0, 0)
    pixels = batch["input"].numpy().reshape(len(batch["row"]), -1) / 127.5 - 1
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    first = np.maximum(pixels @ weights["embedding.layer.weight"].T + weights["embedding.layer.bias"], 0)
    cell = model.recurrent.cells[0]
    second = np.maximum(first @ cell.W.detach().numpy().T + cell.b.detach().numpy(), 0)
    logits = second @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(model.logits(batch["input"], batch["input_lengths"]).detach().numpy(), logits, atol=1e-5)


def test_an_encoder_gives_a_step_for_every_position(folder):
    options = build(ClassifyOptions, {"encoder": "residual", "image_size": 24})
    data = Classify().prepare([str(folder)], options)
    assert data.spec.input == EncodedInput(ResidualEncoder(24))
    batch = data.train.batch(0, 0)
    assert batch["input_lengths"].tolist() == [9] * len(batch["row"])
    assert batch["input"].shape[1:] == (3, 24, 24)
    x = Classify().build(data.spec).embedding(batch["input"])
    assert x.shape[1] == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder": "residul"}, "unknown encoder 'residul': it is residual, shallow, mlp, or timm:NAME"),
        ({"fine_tune": True}, "`fine_tune` is for `encoder` timm:NAME, not lines"),
        ({"encoder": "mlp", "fine_tune": True}, "`fine_tune` is for `encoder` timm:NAME: mlp is always trained"),
        ({"encoder": "mlp:3"}, "unknown encoder 'mlp:3'"),
        ({"tokens": "char"}, "`tokens` has no effect"),
    ],
)
def test_an_encoder_that_is_none_is_named(folder, options, words):
    fails(lambda: Classify().prepare([str(folder)], build(ClassifyOptions, options)), words)


def test_options_of_images_are_refused_for_texts(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"a{n} b,{'xy'[n % 2]}\n" for n in range(40)))
    options = build(ClassifyOptions, {"encoder": "residual"})
    fails(lambda: Classify().prepare([str(tmp_path / "t.csv")], options), "`encoder` has no effect", "texts")
