"""Painting in steps: the model against the equations of the paper in NumPy, one image at a time; its data and runs."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

import oracles
import user_errors
from elman.data.pixels import Pixels
from elman.inspect.canvas import frames, marked
from elman.nets.filterbank import GaussianFilterbank
from elman.tasks.capabilities import Painting
from elman.tasks.draw import Draw, DrawModel, DrawOptions, DrawSpec
from elman.tasks.loss import Context
from elman.training.api import load, train
from elman.training.interruption import Interrupted
from runs import RecordingReporter, assert_same, interrupt_after, read_log, source, summary
from test_filterbank import paper

SIZE, HIDDEN, LATENT, STEPS, READ, WRITE = 5, 6, 3, 3, 2, 4
TINY = {"hidden": 8, "latent_size": 3, "time_steps": 3, "batch_size": 8, "steps": 8, "eval_every": 4,
        "precision": "float32", "device": "cpu"}  # fmt: skip
both = pytest.mark.parametrize("attention", [False, True])


def spec(attention=False, channels=1, **options):
    windows = {"attention": True, "read_size": READ, "write_size": WRITE} if attention else {}
    chosen = DrawOptions(time_steps=STEPS, latent_size=LATENT, **{"backend": "loop", **windows, **options}).resolved()
    return DrawSpec(options=chosen, columns={"image": "image"}, hidden=HIDDEN, image_size=SIZE, channels=channels,
                    binarized=True)  # fmt: skip


def model(attention=False, channels=1, **options):
    torch.manual_seed(1)
    network = DrawModel(spec(attention, channels, **options)).double().eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return network


def batch(count=4, channels=1):
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (count, channels, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return {"image": images, "image_of": torch.arange(count), "row": torch.arange(count)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# the paper


def values(module, name):
    return {key.removeprefix(f"{name}."): value.detach().numpy() for key, value in module.named_parameters()
            if key.startswith(f"{name}.")}  # fmt: skip


def linear(p, name, x):
    return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)


def window(p, output, size):
    return paper(linear(p, "bank.of_output", output), size, SIZE, SIZE)


def read_by_hand(p, x, error, output, attention):
    if not attention:  # W x + V (x - (x - sigma(c))), the image and the error by a linear layer
        return linear(p, "of_image", x.ravel()) - linear(p, "of_painted", (x - error).ravel())
    f_x, f_y, gamma = window(p, output, READ)
    return np.concatenate([gamma * (f_y @ plane @ f_x.T).ravel() for plane in (*x, *error)])


def write_by_hand(p, output, attention):
    patch = linear(p, "of_output", output)
    if not attention:
        return patch.reshape(-1, SIZE, SIZE)
    f_x, f_y, gamma = window(p, output, WRITE)
    return np.stack([f_y.T @ plane @ f_x / gamma for plane in patch.reshape(-1, WRITE, WRITE)])


def by_hand(network, x, noise, attention):
    """Canvases and KL divergences of one image (C, S, S), equations 3 to 11."""
    reading, writing, posterior = (values(network, name) for name in ("read", "write", "posterior"))
    posterior = {f"posterior.{key}": value for key, value in posterior.items()}
    encoder, decoder = (next(map(oracles.weights, layer.cells)) for layer in (network.encoder, network.decoder))
    (h_enc, c_enc), (h_dec, c_dec) = (
        layer.learned[0].detach().numpy().reshape(2, -1) for layer in (network.encoder, network.decoder)
    )
    canvas, canvases, kl = STEPS * network.start.detach().numpy(), [], []
    for epsilon in noise:
        error = x - oracles.sigmoid(canvas)
        r = read_by_hand(reading, x, error, h_dec, attention)
        new = oracles.lstm(encoder, np.concatenate((r, h_dec)), h_enc, c_enc)
        h_enc, c_enc = new["h"], new["c"]
        parameters = linear(posterior, "posterior", h_enc)
        mean, deviation = parameters[:LATENT], np.exp(parameters[LATENT:])
        kl.append(sum((m**2 + s**2 - np.log(s**2) - 1) / 2 for m, s in zip(mean, deviation, strict=True)))
        new = oracles.lstm(decoder, mean + deviation * epsilon, h_dec, c_dec)
        h_dec, c_dec = new["h"], new["c"]
        canvas = canvas + write_by_hand(writing, h_dec, attention)
        canvases.append(canvas)
    return np.stack(canvases), np.array(kl)


@both
@pytest.mark.parametrize("channels", [1, 3])
def test_canvases_and_kl_divergences_are_those_of_the_paper(attention, channels):
    network, noise = model(attention, channels), torch.randn(STEPS, 4, LATENT, generator=generator()).double()
    x = torch.rand(4, channels, SIZE, SIZE, generator=generator(1)).double()
    with torch.no_grad():
        steps = network.reconstruct(x, noise)
    for row in range(4):
        canvases, kl = by_hand(network, x[row].numpy(), noise[:, row].numpy(), attention)
        np.testing.assert_allclose(torch.stack(steps.canvases)[:, row], canvases, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(steps.kl[:, row], kl, rtol=1e-4, atol=1e-5)


@both
def test_the_loss_is_the_reconstruction_and_the_kl_divergence(attention):
    network, given = model(attention).float(), batch()
    draw = generator(5)
    x = network.images(given, Context(generator=draw))
    with torch.no_grad():
        loss = network.loss(given, context=Context(generator=generator(5)))
        steps = network.reconstruct(x, torch.randn(STEPS, 4, LATENT, generator=draw))
    p = steps.canvases[-1].sigmoid().numpy()
    nats = -np.log(np.where(x.numpy() == 1, p, 1 - p)).sum((1, 2, 3))
    assert float(loss.sums["reconstruction"]) == pytest.approx(nats.sum(), rel=1e-4)
    assert float(loss.sums["kl"]) == pytest.approx(float(steps.kl.sum()), rel=1e-5)
    assert float(loss.sums["loss"]) == pytest.approx(float(loss.sums["reconstruction"] + loss.sums["kl"]), rel=1e-6)
    assert float(loss.mean) == pytest.approx(float(loss.sums["loss"]) / 4, rel=1e-6)
    assert int(loss.count) == 4


@both
def test_gradients_reach_every_weight(attention):
    network = model(attention).float().train()
    network.loss(batch()).mean.backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@both
@pytest.mark.parametrize("backend", ["fused", "native"])
def test_backends_agree(attention, backend):
    found = []
    for name in ("loop", backend):
        network = model(attention, backend=name).float()
        loss = network.loss(batch(), context=Context(generator=generator()))
        loss.mean.backward()
        found.append([loss.mean.detach(), *(weight.grad for weight in network.parameters())])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_a_deviation_without_bound_stays_finite():
    network = model()
    with torch.no_grad():
        network.posterior.bias.fill_(1e4)
    assert torch.isfinite(network.float().loss(batch()).sums["kl"])


# images


def test_pixels_are_binarized_with_their_value_as_probability_again_at_each_update():
    network, given = model(), batch()
    given["image"] = torch.full((4, 1, SIZE, SIZE), 51, dtype=torch.uint8)
    torch.manual_seed(0)
    found = torch.stack([network.images(given, Context()) for _ in range(100)])
    assert sorted(found.unique().tolist()) == [0.0, 1.0]
    assert float(found.mean()) == pytest.approx(0.2, abs=0.02)
    assert not torch.equal(found[0], found[1])


def test_an_image_is_binarized_in_the_same_way_in_every_validation_whatever_its_batch():
    network, given = model(), batch()
    whole = network.images(given, Context(generator=generator(1)))
    part = {name: value[2:] for name, value in given.items()} | {
        "image": given["image"],
        "image_of": torch.arange(2, 4),
    }
    assert torch.equal(whole[2:], network.images(part, Context(generator=generator(7))))
    assert not torch.equal(whole[0], whole[1])


def test_values_are_probabilities_where_they_are_not_binarized():
    network = DrawModel(dataclasses.replace(spec(), binarized=False))
    torch.testing.assert_close(network.images(batch(), Context()), batch()["image"] / 255)


def test_black_and_white_stay_as_they_are():
    network, given = model(), batch()
    given["image"] = given["image"] // 128 * 255
    for context in (Context(), Context(generator=generator())):
        torch.testing.assert_close(network.images(given, context), given["image"].float() / 255)


def test_the_first_canvas_is_the_mean_of_the_images(strokes):
    network = DrawModel(spec())
    task, found = Draw(), np.load(strokes)["images"]
    with torch.no_grad():
        network.initialize(task.source(network.spec, [str(strokes)], None))
    mean = np.clip(found.mean(0) / 255, 0.002, 0.998)
    np.testing.assert_allclose(network.canvas(1)[0, 0].sigmoid().detach(), mean, rtol=1e-4)


# generation


@both
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_generated_from_the_prior_and_depend_on_the_seed_alone(attention, channels):
    network = model(attention, channels).float()
    first, again, other = (network.paint(5, generator(seed)) for seed in (3, 3, 4))
    assert first.canvases.shape == (STEPS, 5, SIZE, SIZE, *([3] if channels == 3 else []))
    assert first.canvases.dtype == np.uint8
    np.testing.assert_array_equal(first.canvases, again.canvases)
    assert (first.canvases != other.canvases).any()
    np.testing.assert_array_equal(first.images.pixels, first.canvases[-1])
    assert first.windows is None if not attention else first.windows.shape == (STEPS, 5, 4)


def test_latents_of_the_posterior_paint_what_was_reconstructed():
    network = model(True).float()
    with torch.no_grad():
        steps = network.reconstruct(torch.rand(2, 1, SIZE, SIZE), torch.randn(STEPS, 2, LATENT))
        painted = network.generate(steps.latents)
    torch.testing.assert_close(painted.canvases, steps.canvases)
    torch.testing.assert_close(painted.written[1].x, steps.written[1].x)


def test_the_box_of_a_window_is_half_a_stride_around_its_filters():
    bank = GaussianFilterbank(2, 3, 9, 9)
    found = bank.window(torch.tensor([[0.0, 0.2, 0.0, np.log(0.25), 0.0]])).boxes()[0]
    # centre 4 and 5, stride 1: pixels 3 to 5 and 4 to 6
    np.testing.assert_allclose(found, [3, 4, 6, 7], atol=1e-5)


def test_windows_are_marked_on_enlarged_canvases():
    images = np.full((2, 6, 6), 7, np.uint8)
    found = marked(images, np.array([[1, 2, 3, 5], [-9, -9, 40, 40]], float), 4, (255, 0, 0))
    assert found.shape == (2, 24, 24, 3)
    red = np.argwhere((found[0] == (255, 0, 0)).all(-1))
    assert [red.min(0).tolist(), red.max(0).tolist()] == [[8, 4], [19, 11]]  # rows 2 to 5, columns 1 to 3, by 4
    assert (found[1] == 7).all()  # outside of the image


def test_frames_are_sheets_of_every_step_and_end_without_windows():
    canvases = np.zeros((3, 5, 6, 6), np.uint8)
    with_windows = frames(Painting(canvases, np.tile([1.0, 1, 4, 4], (3, 5, 1))))
    assert [len(with_windows), len(frames(Painting(canvases, None)))] == [4, 3]
    assert all(frame.any() for frame in with_windows[:3])
    assert not with_windows[3].any()


# runs


@pytest.fixture(scope="module")
def strokes(tmp_path_factory):
    """An .npz with grey images of strokes, and labels."""
    random, images = np.random.default_rng(0), np.zeros((60, SIZE, SIZE), np.uint8)
    for number, image in enumerate(images):
        image[:, random.integers(SIZE)] = 255
        images[number] = image if number % 2 else image.T
    path = tmp_path_factory.mktemp("strokes") / "strokes.npz"
    np.savez(path, images=images, labels=np.arange(60) % 2)
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A folder of images in colour, of several sizes, one larger than what can be painted."""
    folder, random = tmp_path_factory.mktemp("colours") / "images", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        side = 70 if number == 5 else 6 + number % 2
        Image.fromarray(random.integers(0, 256, (side, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("attention", [pytest.param(False, marks=pytest.mark.slow), True])
def test_it_learns_and_reports_the_parts_of_the_loss(trained, strokes, attention):
    run = trained("draw", strokes, **TINY | {"steps": 150, "eval_every": 75, "hidden": 24, "lr": 0.01},
                  attention=attention, preview=False)  # fmt: skip
    lines = read_log(run)
    assert summary(run)["val_loss"] < 0.8 * SIZE**2 * np.log(2)  # of pixels of which nothing is known
    for line in [lines[-1], {name.removeprefix("val_"): value for name, value in summary(run).items()}]:
        assert line["loss"] == pytest.approx(line["reconstruction"] + line["kl"], rel=1e-5)
    assert summary(run)["unit"] == "image"


def test_the_commands(elman, strokes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    done = elman("train", "draw", strokes, "--out", "run", "--attention", "--read-size", "2", *words)
    assert done.code == 0, done.err
    assert "elman sample run" in done.out
    assert len(list((tmp_path / "run" / "previews").iterdir())) == 1
    found = json.loads(elman("eval", "run", "--split", "train", "--json").out)
    assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl"], rel=1e-6)
    assert found == json.loads(elman("eval", "run", "--split", "train", "--json").out)
    assert json.loads(elman("eval", "run", "--text", strokes, "--json").out)["count"] == 60
    first, second = (elman("sample", "run", "--num-samples", "5", "--seed", "1").out.split() for _ in range(2))
    assert first == ["run-samples.png", "run-samples.gif"]
    assert second == ["run-samples-2.png", "run-samples-2.gif"]
    assert (tmp_path / first[0]).read_bytes() == (tmp_path / second[0]).read_bytes()
    with Image.open(first[0]) as sheet, Image.open(first[1]) as animation:
        assert sheet.size == (43 * 3 * SIZE, 43 * 2 * SIZE)  # enlarged to about 640 pixels
        assert animation.format == "GIF"
    assert elman("sample", "run", "--out", "mine.png").out.split() == ["mine.png", "mine.gif"]
    assert elman("inspect", "run").code == 0
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    assert list(report) == ["samples", "reconstructions", "canvases", "steps", "gradient", "parts", "curves"]
    assert len(report["steps"]["kl"]) == TINY["time_steps"]
    assert (tmp_path / "run" / "report" / "windows.png").exists()
    assert "images, painted in steps" in elman("list", "tasks").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sample", "RUN", "--prompt", "a", "--temperature", "0.5"), "--prompt, --temperature has no effect"),
        (("sample", "RUN", "--out", "a.gif"), "must end in .png"),
        (("sample", "RUN", "--num-samples", "0"), "--num-samples"),
        (("predict", "RUN", "a.png"), "elman sample"),
        (("inspect", "RUN", "--unit", "1.c.3"), "--unit"),
        (("eval", "RUN", "--reset", "3"), "--reset"),
    ],
)
def test_options_of_text_are_errors_of_one_line(elman, trained, strokes, words, message):
    run = trained("draw", strokes, **TINY, preview=False)
    done = elman(*(str(run) if word == "RUN" else word for word in words))
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_model_of_text_writes_no_image_and_one_of_images_no_text(trained, prose, strokes, elman):
    lm = trained("lm", prose, hidden=8, steps=2, device="cpu", preview=False)
    done = elman("sample", lm, "--out", "a.png")
    assert (done.code, "is for images" in done.err) == (2, True)
    user_errors.fails(lambda: load(lm).paint(), "generates no images")
    user_errors.fails(lambda: load(trained("draw", strokes, **TINY, preview=False)).sample(), "elman sample")


@both
def test_a_resumed_run_equals_an_unbroken_one(strokes, tmp_path, attention):
    options = TINY | {"attention": attention}
    train("draw", strokes, out=tmp_path / "unbroken", **options)
    with interrupt_after(3), pytest.raises(Interrupted):
        train("draw", strokes, out=tmp_path / "run", **options)
    train("draw", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "stopped after 3 updates")


def test_previews_and_validations_change_nothing_of_training(strokes, tmp_path):
    reporter = RecordingReporter()
    train("draw", strokes, out=tmp_path / "often", reporter=reporter, **TINY)
    train("draw", strokes, out=tmp_path / "rarely", preview=False, **TINY | {"eval_every": 8})
    rarely, often = ((tmp_path / name / "resume" / "model.safetensors").read_bytes() for name in ("rarely", "often"))
    assert rarely == often
    assert len(reporter.previews) == 1
    assert any("label" in line and "not used" in line for line in reporter.lines)


def test_images_in_colour_of_several_sizes_are_resized_and_it_is_reported(colours, tmp_path):
    reporter = RecordingReporter()
    run = train("draw", colours, out=tmp_path / "run", reporter=reporter, **TINY | {"valid": "0.3", "test": "0"})
    assert (run.spec.image_size, run.spec.channels, run.spec.binarized) == (64, 3, False)
    assert any("resized to 64 x 64" in line for line in reporter.lines)
    assert isinstance(source(run, "train").fields["image"], Pixels)
    assert run.paint(2, seed=0).canvases.shape == (3, 2, 64, 64, 3)


def test_images_of_one_size_above_the_largest_are_resized_to_it(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 70, 70), np.uint8))
    reporter = RecordingReporter()
    run = train("draw", tmp_path / "a.npz", out=tmp_path / "run", reporter=reporter, **TINY | {"steps": 1})
    assert run.spec.image_size == 64
    assert any("resized to 64 x 64" in line for line in reporter.lines)


CELL = """from elman.cells.cell import Cell
from torch import tanh


class Mine(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (0.5 * h + 0.5 * tanh(x.a + self.recur("a", of=h).a),)
"""


def test_cells_of_ones_own(strokes, tmp_path):
    (tmp_path / "mine.py").write_text(CELL)
    options = TINY | {"steps": 2, "cell": f"{tmp_path / 'mine.py'}:Mine", "layers": 2, "attention": True}
    run = train("draw", strokes, out=tmp_path / "run", **options)
    assert run.model.encoder.cell_name == "Mine"
    assert load(run.path).paint(1, 0).canvases.shape == (3, 1, SIZE, SIZE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"read_size": 3}, "`read_size` 3 has no effect without `attention`"),
        ({"write_size": 3}, "`write_size` 3 has no effect without `attention`"),
        ({"image_size": 65}, "`image_size` 65"),
        ({"binarize": "threshold"}, "`binarize` 'threshold'"),
        ({"time_steps": 0}, "`time_steps` 0"),
        ({"embedding": 8}, "unknown option 'embedding'"),
        ({"residual": True}, "`residual` has no effect"),
        ({"dropout": 0.5}, "`dropout` 0.5 has no effect"),
        ({"image_column": "picture"}, "picture"),
    ],
)
def test_an_option_without_effect_is_an_error(strokes, tmp_path, options, words):
    user_errors.fails(lambda: train("draw", strokes, out=tmp_path / "run", **TINY | options), words)
    assert not (tmp_path / "run").exists()


def test_data_without_images_and_too_few(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nabc,x\ndef,y\n")
    user_errors.fails(lambda: train("draw", tmp_path / "a.csv", **TINY), "no column", "image")
    for values, words in (
        (np.full((20, 4, 4), np.nan), "a.npz"),
        (np.zeros((0, 4, 4), np.uint8), "a.npz"),
    ):
        np.savez(tmp_path / "a.npz", images=values)
        user_errors.fails(lambda: train("draw", tmp_path / "a.npz", out=tmp_path / "run", **TINY), words)
