"""What sees pictures: a network of our own, or a model of timm, whose features are kept or which is trained further."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from test_images import fails
from torch import nn
from torch.testing import assert_close

import elman
from elman.data.features import FEW, FeatureExtractor, Features
from elman.data.filesystem import Folder
from elman.data.image import LazyImage
from elman.data.image_file import ImageFile
from elman.data.table import Table
from elman.nets import timm_grid
from elman.nets.grid import Placed, placed
from elman.nets.residual import Residual
from elman.nets.timm_grid import TimmGrid
from elman.tasks import vision as vision
from elman.tasks.caption import Caption
from elman.tasks.vqa import VqaOptions

# grids


def test_each_place_of_a_grid_says_where_it_is():
    grid = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    found = placed(grid)
    for row in range(2):
        for place in range(9):
            values = grid[row, place].numpy()
            even = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
            assert_allclose(found[row, place, :4], even, atol=1e-6)
            assert found[row, place, 4:].tolist() == [4 * (place % 3 - 1), 4 * (place // 3 - 1)]
    assert_close(Placed(4)(grid.half()), placed(grid.half().float()), rtol=0, atol=0)
    assert Placed(4).size == 6


@pytest.mark.parametrize(("corner", "across", "down"), [((0, 0), -1, -1), ((0, 1), 1, -1), ((1, 0), -1, 1)])
def test_a_residual_network_sees_what_is_where_it_says(corner, across, down):
    torch.manual_seed(0)
    net, pixels = Residual().eval(), torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    other = pixels.clone()
    other[1, :, 60 * corner[0] :, 60 * corner[1] :][:, :4, :4] ^= 255
    with torch.no_grad():
        before, after = net(pixels), net(other)
    assert before.shape == (2, 64, net.size)
    assert before.dtype == torch.float32
    changed = (before - after).abs().amax(-1) > 1e-6
    assert not changed[0].any()
    where = before[1, changed[1], -2:]
    assert 0 < len(where) < 32
    assert [4 * across, 4 * down] in where.tolist()
    assert (where * torch.tensor([across, down])).sum(-1).min() > 0


def test_a_place_lies_in_the_middle_of_what_it_sees():
    torch.manual_seed(0)
    net, pixels = Residual().eval(), torch.rand(1, 3, 64, 64).mul(255).requires_grad_()
    across, down = 3, 4
    net(pixels)[0, 8 * down + across, :-2].square().sum().backward()
    seen = pixels.grad[0].abs().amax(0) > 0
    for axis, place in ((0, across), (1, down)):
        reached = seen.any(axis).nonzero()
        assert len(reached) == 28
        assert reached.min() + reached.max() == 2 * 8 * place + 7


# features that are kept


class Painted(LazyImage):
    """A picture of one colour, by default as good as a file."""

    def __init__(self, number, origin="here"):
        self.name, self.number, self._origin = str(number), number, origin

    @property
    def origin(self):
        return self._origin and f"{self._origin} {self.name}"

    def image(self):
        return Image.new("RGB", (5, 7), (self.number, 1, 2))


class Finding:
    """A network that finds the first colour of a picture, and counts."""

    def __init__(self, key="a"):
        self.finder, self.seen = FeatureExtractor("timm:some", key, 6, (4, 3), self.find), []

    def find(self, pixels):
        assert pixels.shape == (3, 6, 6)
        assert pixels.dtype == np.uint8
        self.seen.append(int(pixels[0, 0, 0]))
        return np.full((4, 3), 1e9 if pixels[0, 0, 0] == 255 else float(pixels[0, 0, 0]))


def rows(*numbers, origin="here", more=FEW):
    """Images, and as many more as it takes for them to be worth a file."""
    return [Painted(number, origin) for number in (*numbers, *range(100, 100 + more))]


def test_features_are_found_once_for_this_run_and_the_next(own_cache):
    first, told = Finding(), []
    field = Features(rows(7, 8, 7, 9), first.finder, told.append)
    assert field.workers == 0
    for batch in ([0, 2, 2], [1, 0, 3], [3, 1]):
        taken = field.take("image", np.array(batch))
        found = taken["image"][taken["image_of"]]
        assert found.shape == (len(batch), 4, 3)
        assert found.dtype == torch.float16
        assert found[:, 0, 0].tolist() == [[7, 8, 7, 9][row] for row in batch]
    assert sorted(first.seen) == [7, 8, 9]
    (file,) = (own_cache / "features").iterdir()
    assert told == [f"the features of {FEW + 3} images by timm:some are kept in {file} (0.0 GB)"]
    second = Finding()
    field = Features(rows(7, 8, 7, 9), second.finder, told.append)
    assert field.select(np.array([3, 0])).take("image", np.array([0, 1]))["image"][:, 1, 2].tolist() == [7, 9]
    assert second.seen == []
    for other, pictures in ((Finding("b"), rows(7, 8, 7, 9)), (Finding(), rows(7, 8, 7, 9, origin="there"))):
        Features(pictures, other.finder, told.append).take("image", np.array([0, 1]))
        assert other.seen == [7, 8]


@pytest.mark.parametrize(("origin", "more"), [(None, FEW), ("here", 0)])
def test_features_of_what_is_drawn_or_few_are_kept_in_memory(own_cache, origin, more):
    finding, told = Finding(), []
    field = Features(rows(7, 8, 7, origin=origin, more=more), finding.finder, told.append)
    for batch in ([0, 1], [2, 1]):
        assert field.take("image", np.array(batch))["image"][:, 0, 0].tolist() == [7, 8]
    assert finding.seen == [7, 8]
    assert told == []
    assert not (own_cache / "features").exists()


def test_a_feature_that_is_too_large_is_the_largest_number_there_is():
    field = Features([Painted(255)], Finding().finder, print)
    assert field.take("image", np.array([0]))["image"].unique().tolist() == [np.finfo(np.float16).max]


# which encoder


def test_an_encoder_that_was_not_asked_for_is_residual():
    assert vision.asked(VqaOptions()) == vision.USUAL == {"name": "residual", "image_size": 64}
    assert vision.asked(VqaOptions(size=32)) == {"name": "residual", "image_size": 32}
    assert isinstance(vision.encoder(vision.USUAL), Residual)
    smaller = vision.seen([Painted(3)], {"encoder": {"name": "residual", "image_size": 16}}, print)
    assert smaller.take("image", np.array([0]))["image"].shape == (1, 3, 16, 16)


@pytest.mark.parametrize("name", ["resnet50", "residual:64", "", "timm", "timm:", "Residual"])
def test_a_word_that_is_no_encoder(name):
    fails(lambda: vision.asked(VqaOptions(encoder=name)), f"'{name}'", "residual", "timm:NAME")


def test_only_an_encoder_of_timm_is_fine_tuned():
    fails(lambda: vision.asked(VqaOptions(fine_tune=True)), "--fine-tune", "timm:NAME", "residual")


@pytest.mark.parametrize("kind", ["caption", "vqa"])
def test_without_timm_the_line_says_what_to_install(monkeypatch, elman, kind):
    monkeypatch.setitem(sys.modules, "timm", None)
    data = "builtin:scenes:count=30" if kind == "caption" else "builtin:scene_questions:count=30"
    done = elman("train", kind, data, "--encoder", "timm:resnet50", "--steps", 1)
    assert done.code == 2
    assert done.err.splitlines()[-1] == "elman: timm:resnet50 needs timm: pip install 'elman[timm]'"
    assert not Path("runs").exists() or not list(Path("runs").glob(f"{kind}-scene*/resume"))


def test_a_timm_that_does_not_start_is_told(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms\ndoes not exist")

    monkeypatch.setattr(timm_grid, "import_module", broken)
    fails(
        lambda: timm_grid.timm("resnet50"), "timm:resnet50", "operator torchvision::nms does not exist", "torchvision"
    )


FROZEN = {"name": "timm:some", "image_size": 32, "fine_tune": False, "grid": [9, 5], "weights": "x"}
FROZEN["settings"] = {"name": "some", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}, "arguments": {}}


def test_a_model_with_kept_features_needs_no_timm_and_no_weights_of_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    task = Caption(5, 6, 8, encoder=json.loads(json.dumps(FROZEN)))
    assert not [name for name, _ in task.named_parameters() if name.startswith("encoder")]
    grid = torch.rand(2, 9, 5).half()
    assert_close(task.encoder(grid), placed(grid.float()))
    target = torch.tensor([[1, 2, 5], [0, 5, -100]])
    loss, _, _ = task.loss({"image": grid, "image_of": torch.arange(2), "target": target})
    loss.backward()
    # to see other pictures it does
    fails(lambda: vision.seen([Painted(1)], {"encoder": FROZEN}, print), "timm:some needs timm", "elman[timm]")
    tuned = FROZEN | {"fine_tune": True}
    tuned["settings"]["pretrained_cfg"]["architecture"] = "some"
    fails(lambda: Caption(5, 6, 8, encoder=tuned), "timm:some needs timm", "elman[timm]")


class Given(nn.Module):
    """A model that finds what it is told to."""

    def __init__(self, found, **about):
        super().__init__()
        self.found, self.num_features = found, 6
        for name, value in about.items():
            setattr(self, name, value)

    def forward_features(self, pixels):
        self.pixels = pixels
        return self.found


@pytest.mark.parametrize(
    ("order", "about"),
    [((0, 3, 1, 2), {}), ((0, 1, 2, 3), {"output_fmt": "NHWC"}), (None, {}), (None, {"num_prefix_tokens": 2})],
)
def test_the_grid_is_the_same_in_whatever_order_a_model_gives_it(order, about):
    wanted, prefix = torch.rand(2, 4, 4, 6), about.get("num_prefix_tokens", 0)
    found = wanted.permute(order) if order else torch.cat((torch.ones(2, prefix, 6), wanted.flatten(1, 2)), 1)
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    net = made(Given(found, **about))
    assert_close(net.grid(pixels), wanted.flatten(1, 2), rtol=0, atol=0)
    assert_close(net(pixels), placed(wanted.flatten(1, 2)), rtol=0, atol=0)
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    assert_allclose(net.model.pixels, (pixels.numpy() / 255 - mean) / std, rtol=1e-5)


MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]


def made(model):
    net = TimmGrid.__new__(TimmGrid)
    nn.Module.__init__(net)
    net.model, net.size = model, 8
    for name, values in (("mean", MEAN), ("std", STD)):
        net.register_buffer(name, torch.tensor(values).view(3, 1, 1))
    return net


@pytest.mark.parametrize(
    "found", [torch.rand(1, 17, 6), torch.rand(1, 16, 5), torch.rand(1, 6), (1, 2), torch.rand(1, 0, 6)]
)
def test_a_model_that_gives_no_grid_is_told(found):
    fails(lambda: timm_grid.shape(made(Given(found)), 8, "some"), "timm:some")


# with timm


@pytest.fixture(scope="module")
def timm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pytest.importorskip("timm", reason="timm is not installed")
        except RuntimeError:
            pytest.skip("timm does not start with this torchvision")


@pytest.fixture
def local(timm, tmp_path):
    """Makes the folder of a model of random weights."""

    def make(name="test_resnet", seed=0):
        torch.manual_seed(seed)
        timm.models.save_for_hf(timm.create_model(name), str(tmp_path / name), safe_serialization=True)
        return f"timm:local-dir:{tmp_path / name}"

    return make


@pytest.fixture
def photos(tmp_path):
    """A table of questions about pictures, one colour each, that are files."""
    (tmp_path / "in").mkdir()
    colours, lines = {"red": (220, 20, 20), "blue": (10, 20, 230)}, ["image,question,answer"]
    for number in range(40):
        colour = list(colours)[number % 2]
        Image.new("RGB", (20, 20), tuple(value + number // 2 for value in colours[colour])).save(
            tmp_path / f"in/{number}.png"
        )
        lines.append(f"in/{number}.png,which colour is it?,{colour}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path / "t.csv"


def config(name, **options):
    return vision.asked(VqaOptions(encoder=name, **options))


def train(photos, out, **options):
    return elman.train(
        "vqa", photos, out=out, hidden=8, batch_size=4, workers=0, preview=False, **{"steps": 4} | options
    )


@pytest.mark.parametrize(("name", "places"), [("test_resnet", 4), ("test_vit", 16)])
def test_the_grid_is_that_of_the_model(timm, local, name, places):
    found = config(local(name), size=64)
    assert json.loads(json.dumps(found)) == found
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))

    class Random(Painted):
        def image(self):
            return image

    field = vision.seen([Random(0)], {"encoder": found}, print)
    grid = field.take("image", np.array([0]))["image"]
    fixed = {"img_size": 64} if name == "test_vit" else {}
    model = timm.create_model(found["name"].removeprefix("timm:"), pretrained=True, **fixed).eval()
    about = model.pretrained_cfg
    values = (np.asarray(image) / 255 - about["mean"]) / about["std"]
    with torch.no_grad():
        wanted = model.forward_features(torch.from_numpy(values.transpose(2, 0, 1)).float()[None])
    wanted = wanted[:, 1:] if name == "test_vit" else wanted.flatten(2).transpose(1, 2)
    assert grid.shape == wanted.shape == (1, places, found["grid"][1])
    assert_close(grid.float(), wanted, rtol=2e-3, atol=2e-3)


def test_a_frozen_encoder_sees_each_picture_once(monkeypatch, local, photos, tmp_path, own_cache):
    seen, grid = [], TimmGrid.grid
    monkeypatch.setattr(TimmGrid, "grid", lambda self, pixels: (seen.append(len(pixels)), grid(self, pixels))[1])
    name = local()
    model = train(photos, tmp_path / "a", encoder=name, size=64, epochs=3, steps=None)
    assert not [name for name, _ in model.task.named_parameters() if name.startswith("encoder")]
    assert FEW < len(seen) <= 42  # each picture, and looks at what the model gives
    assert list((own_cache / "features").iterdir())
    del seen[:]
    again = train(photos, tmp_path / "b", encoder=name, size=64, epochs=3, steps=None)
    assert len(seen) < FEW  # of the validation part, which has few
    for first, second in zip(model.task.parameters(), again.task.parameters(), strict=True):
        assert torch.equal(first, second)
    loaded = elman.load(tmp_path / "a")
    assert loaded.predict(asked(tmp_path)) == model.predict(asked(tmp_path))


def test_what_is_kept_changes_nothing(local, photos, tmp_path, own_cache):
    name, ends = local("test_vit"), []
    for forgets in (False, True):
        out = tmp_path / f"run{forgets}"
        train(photos, out, encoder=name, size=64, steps=5)
        if forgets:
            shutil.rmtree(own_cache / "features")
        elman.train("vqa", resume=out, steps=5, workers=0)
        ends.append(elman.load(out).task.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_other_weights_than_those_of_training_are_refused(local, photos, tmp_path):
    train(photos, tmp_path / "a", encoder=local(), size=64)
    local(seed=1)
    vision._pretrained.cache_clear()
    fails(lambda: elman.load(tmp_path / "a").predict(asked(tmp_path)), "not those", "trained with")


def asked(folder):
    picture = ImageFile("in/1.png", Folder(str(folder)), "in/1.png")
    return Table("asked", {"image": [picture], "question": ["which colour is it?"]}, [1])


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_fine_tuned_encoder_is_trained_and_saved_with_the_model(local, photos, tmp_path, name):
    where = local(name)
    model = train(photos, tmp_path / "a", encoder=where, size=64, fine_tune=True)
    (tmp_path / name).rename(tmp_path / "gone")
    loaded, rows = elman.load(tmp_path / "a"), asked(tmp_path)
    weights = loaded.task.encoder.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in model.task.encoder.state_dict().items())
    assert loaded.predict(rows) == model.predict(rows)
    (tmp_path / "gone").rename(tmp_path / name)
    start = TimmGrid(loaded.config["task"]["encoder"]["settings"], 64, True).state_dict()
    moved = {key: float((value.float() - weights[key].float()).abs().max()) for key, value in start.items()}
    assert any(moved.values())
    assert max(moved[key] for key in moved if key.endswith("weight")) < 0.1  # it began at these, and went four steps


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", ["unknown", "'resnet81'", "'resnet18'"]),
        ("resnet18.b1_in1k", ["unknown weights", "'resnet18.a1_in1k'"]),
        ("coatnet_0_224", ["no pretrained weights", "'coatnet_0_rw_224'"]),
        ("local-dir:/no/where", ["timm:local-dir:/no/where", "config.json"]),
        ("http:x", ["timm:http:x", "local-dir"]),
    ],
)
def test_a_name_that_timm_cannot_use(timm, name, words):
    fails(lambda: config(f"timm:{name}"), *words)


def test_a_size_that_a_model_cannot_see(local):
    fails(lambda: config(local("test_vit"), size=3), "cannot", "3 pixels")


def test_weights_that_cannot_be_fetched_are_told_in_one_line(monkeypatch, timm, elman):
    create = timm.create_model

    def offline(name, pretrained=False, *rest, **how):
        if pretrained:
            raise OSError("no route\nto the Hub. Check your connection")
        return create(name, pretrained, *rest, **how)

    monkeypatch.setattr(timm, "create_model", offline)
    for how in ([], ["--fine-tune"]):
        done = elman(
            "train", "vqa", "builtin:scene_questions:count=30", "--encoder", "timm:test_vit", *how, "--steps", 1
        )
        assert done.code == 2
        assert done.err.splitlines()[-1] == (
            "elman: the weights of timm:test_vit.r160_in1k cannot be fetched: no route to the Hub; "
            "they are needed once, while online"
        )


def test_weights_that_were_fetched_once_are_found_without_asking(monkeypatch, local, tmp_path):
    local("test_vit", seed=3)
    folder = tmp_path / "hub/models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("abc")
    (folder / "snapshots").mkdir()
    (tmp_path / "test_vit").rename(folder / "snapshots/abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    vision._pretrained.cache_clear()
    found = config("timm:test_vit")
    assert found["settings"]["name"] == "test_vit.r160_in1k"
    assert found["size"] == 160
    torch.manual_seed(3)
    net = TimmGrid(found["settings"], 160, pretrained=True)
    file = {"architecture": "test_vit", "file": str(folder / "snapshots/abc/model.safetensors")}
    wanted = TimmGrid({**found["settings"], "pretrained_cfg": found["settings"]["pretrained_cfg"] | file}, 160, True)
    assert net.digest() == wanted.digest() == found["weights"]
