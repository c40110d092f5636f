"""Image encoders: the residual network, or a model of timm that is frozen, its features cached, or fine-tuned."""

import json
import shutil
import sys
import types
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn
from torch.testing import assert_close

import elman
from elman.data.features import FEW, FeatureExtractor, Features
from elman.data.filesystem import Folder
from elman.data.image import LazyImage
from elman.data.image_file import ImageFile
from elman.data.table import Table
from elman.nets import timm_grid
from elman.nets.grid import GridFeatures, with_coordinates
from elman.nets.residual import Residual
from elman.nets.timm_grid import TimmGrid, TimmModel
from elman.schema import from_json, to_json
from elman.tasks import vision
from elman.tasks.caption import CaptionModel, CaptionOptions, CaptionSpec
from elman.tasks.vision import ResidualEncoder, TimmEncoder
from elman.tasks.vqa import VqaOptions
from elman.tokenizers.char import CharTokenizer
from user_errors import fails

# grids


def test_each_position_of_a_grid_has_its_coordinates():
    grid = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    found = with_coordinates(grid)
    for row in range(2):
        for position in range(9):
            values = grid[row, position].numpy()
            normal = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
            assert_allclose(found[row, position, :4], normal, atol=1e-6)
            assert found[row, position, 4:].tolist() == [4 * (position % 3 - 1), 4 * (position // 3 - 1)]
    assert_close(GridFeatures(4)(grid.half()), with_coordinates(grid.half().float()), rtol=0, atol=0)
    assert GridFeatures(4).size == 6


@pytest.mark.parametrize(("corner", "across", "down"), [((0, 0), -1, -1), ((0, 1), 1, -1), ((1, 0), -1, 1)])
def test_a_change_of_the_image_changes_the_grid_at_its_coordinates(corner, across, down):
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
    coordinates = before[1, changed[1], -2:]
    assert 0 < len(coordinates) < 32
    assert [4 * across, 4 * down] in coordinates.tolist()
    assert (coordinates * torch.tensor([across, down])).sum(-1).min() > 0


def test_a_position_lies_in_the_middle_of_its_receptive_field():
    torch.manual_seed(0)
    net, pixels = Residual().eval(), torch.rand(1, 3, 64, 64).mul(255).requires_grad_()
    across, down = 3, 4
    net(pixels)[0, 8 * down + across, :-2].square().sum().backward()
    reaches = pixels.grad[0].abs().amax(0) > 0
    for axis, position in ((0, across), (1, down)):
        field = reaches.any(axis).nonzero()
        assert len(field) == 28
        assert field.min() + field.max() == 2 * 8 * position + 7


# features that are kept


class Painted(LazyImage):
    """An image of one colour, which counts as a file unless it has no origin."""

    def __init__(self, number, origin="here"):
        self.name, self.number, self._origin = str(number), number, origin

    @property
    def origin(self):
        return self._origin and f"{self._origin} {self.name}"

    def image(self):
        return Image.new("RGB", (5, 7), (self.number, 1, 2))


class Extracting:
    """A network whose features are the first colour of an image; it records the images."""

    def __init__(self, key="a"):
        self.extractor, self.first = FeatureExtractor("timm:some", key, 6, (4, 3), self.extract), []

    def extract(self, pixels):
        assert pixels.shape == (3, 6, 6)
        assert pixels.dtype == np.uint8
        self.first.append(int(pixels[0, 0, 0]))
        return np.full((4, 3), 1e9 if pixels[0, 0, 0] == 255 else float(pixels[0, 0, 0]))


def rows(*numbers, origin="here", more=FEW):
    """Images, and as many more as it takes for them to be worth a file."""
    return [Painted(number, origin) for number in (*numbers, *range(100, 100 + more))]


def test_features_are_found_once_for_this_run_and_the_next(own_cache):
    first, lines = Extracting(), []
    field = Features(rows(7, 8, 7, 9), first.extractor, lines.append)
    assert field.workers == 0
    for batch in ([0, 2, 2], [1, 0, 3], [3, 1]):
        taken = field.take("image", np.array(batch))
        found = taken["image"][taken["image_of"]]
        assert found.shape == (len(batch), 4, 3)
        assert found.dtype == torch.float16
        assert found[:, 0, 0].tolist() == [[7, 8, 7, 9][row] for row in batch]
    assert sorted(first.first) == [7, 8, 9]
    (file,) = (own_cache / "features").iterdir()
    assert lines == [f"the features of {FEW + 3} images by timm:some are kept in {file} (0.0 GB)"]
    second = Extracting()
    field = Features(rows(7, 8, 7, 9), second.extractor, lines.append)
    assert field.select(np.array([3, 0])).take("image", np.array([0, 1]))["image"][:, 1, 2].tolist() == [7, 9]
    assert second.first == []
    for other, images in ((Extracting("b"), rows(7, 8, 7, 9)), (Extracting(), rows(7, 8, 7, 9, origin="there"))):
        Features(images, other.extractor, lines.append).take("image", np.array([0, 1]))
        assert other.first == [7, 8]


@pytest.mark.parametrize(("origin", "more"), [(None, FEW), ("here", 0)])
def test_features_of_what_is_drawn_or_few_are_kept_in_memory(own_cache, origin, more):
    extracting, lines = Extracting(), []
    field = Features(rows(7, 8, 7, origin=origin, more=more), extracting.extractor, lines.append)
    for batch in ([0, 1], [2, 1]):
        assert field.take("image", np.array(batch))["image"][:, 0, 0].tolist() == [7, 8]
    assert extracting.first == [7, 8]
    assert lines == []
    assert not (own_cache / "features").exists()


def test_a_feature_that_is_too_large_is_the_largest_number_there_is():
    field = Features([Painted(255)], Extracting().extractor, print)
    assert field.take("image", np.array([0]))["image"].unique().tolist() == [np.finfo(np.float16).max]


# which encoder


def choose(encoder="residual", **options):
    return vision.choose(VqaOptions(encoder=encoder, **options), [])


def stored(encoder):
    """The encoder as a run gives it back."""
    return from_json(ResidualEncoder | TimmEncoder, json.loads(json.dumps(to_json(encoder))), "config.json", "encoder")


def test_the_encoder_is_residual_unless_another_is_given():
    assert choose() == ResidualEncoder(64)
    assert choose(image_size=32) == ResidualEncoder(32)
    assert isinstance(choose().network(), Residual)
    field = ResidualEncoder(16).field([Painted(3)], print)
    assert field.take("image", np.array([0]))["image"].shape == (1, 3, 16, 16)
    assert stored(choose()) == choose()


@pytest.mark.parametrize("name", ["resnet50", "residual:64", "", "timm", "timm:", "Residual"])
def test_a_word_that_is_no_encoder(name):
    fails(lambda: choose(name), f"'{name}'", "residual", "timm:NAME")


def test_only_an_encoder_of_timm_is_fine_tuned():
    fails(lambda: choose(fine_tune=True), "fine_tune", "timm:NAME", "residual")


@pytest.mark.parametrize("kind", ["caption", "vqa"])
def test_without_timm_the_line_names_what_to_install(monkeypatch, tmp_path, kind):
    monkeypatch.setitem(sys.modules, "timm", None)
    data = "builtin:scenes:count=30" if kind == "caption" else "builtin:scene_questions:count=30"
    fails(
        lambda: elman.train(kind, data, out=tmp_path / "run", encoder="timm:resnet50", steps=1),
        "timm:resnet50 needs timm: pip install 'elman[timm]'",
    )
    assert not (tmp_path / "run").exists()


def test_a_timm_that_does_not_start_is_reported(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms\ndoes not exist")

    monkeypatch.setattr(timm_grid, "import_module", broken)
    fails(
        lambda: timm_grid.timm("resnet50"), "timm:resnet50", "operator torchvision::nms does not exist", "torchvision"
    )


MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
SOME = TimmModel("some", "1.0", False, MEAN, STD)
FROZEN = TimmEncoder(SOME, 32, False, (9, 5), "x" * 32)


def captioner(encoder):
    options = CaptionOptions(hidden=8).resolved()
    tokenizer = CharTokenizer.of_chunks(["abcdef"])
    spec = CaptionSpec(
        options=options,
        tokenizer=tokenizer,
        encoder=encoder,
        entropy=0.0,
        columns={},
        hidden=8,
        embedding=8,
        dropout=0.0,
    )
    return CaptionModel(spec)


def test_a_model_with_cached_features_needs_no_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    encoder = stored(FROZEN)
    assert encoder == FROZEN
    model = captioner(encoder)
    assert not [name for name, _ in model.named_parameters() if name.startswith("encoder")]
    grid = torch.rand(2, 9, 5).half()
    assert_close(model.encoder(grid), with_coordinates(grid.float()))
    # to encode other images it does
    fails(lambda: encoder.field([Painted(1)], print), "timm:some needs timm", "elman[timm]")
    fails(lambda: captioner(replace(encoder, fine_tune=True)), "timm:some needs timm", "elman[timm]")


class Given(nn.Module):
    """A model whose features are given."""

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
    assert_close(net(pixels), with_coordinates(wanted.flatten(1, 2)), rtol=0, atol=0)
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    assert_allclose(net.model.pixels, (pixels.numpy() / 255 - mean) / std, rtol=1e-5)


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
def test_a_model_that_gives_no_grid_is_refused(found):
    fails(lambda: timm_grid.shape(made(Given(found)), 8, "some"), "timm:some")


# a library in the place of timm, which records what it is given


class Small(nn.Module):
    """Gives a grid of 2 x 2 positions with 3 features."""

    def __init__(self, image=None):
        super().__init__()
        self.weight, self.num_features = nn.Parameter(torch.rand(3)), 3
        self.pretrained_cfg = {
            "architecture": "small", "tag": "v1", "mean": MEAN, "std": STD, "input_size": (3, 8, 8),
            "url": "http://registry/weights.pth", "hf_hub_id": "timm/small.v1", "fixed_input_size": image is not None,
        }  # fmt: skip

    def reset_classifier(self, classes):
        pass

    def forward_features(self, pixels):
        return pixels[:, :, :2, :2] * self.weight[:, None, None]


@pytest.fixture
def library(monkeypatch):
    """`calls` are those of create_model."""
    calls = []

    def create(name, pretrained=False, **options):
        calls.append((name, pretrained, options))
        if name.partition(".")[0] != "small":
            raise RuntimeError(f"unknown model {name}")
        return Small()

    about = types.SimpleNamespace(hf_hub_id=None, hf_hub_filename=None, source=None, custom_load=False)
    fake = types.SimpleNamespace(
        calls=calls, create_model=create, __version__="9.9", list_models=lambda: ["small", "smaller"],
        is_model_pretrained=lambda name: True, list_pretrained=lambda *_: ["small.v1"],
        get_pretrained_cfg=lambda _: about,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "timm", fake)
    vision._pretrained.cache_clear()
    return fake


@pytest.mark.parametrize("fine_tune", [False, True])
def test_an_encoder_is_stored_by_name_version_and_numbers(library, fine_tune):
    encoder = choose("timm:small", fine_tune=fine_tune)
    text = json.dumps(to_json(encoder))
    assert to_json(encoder)["model"] == {
        "name": "small.v1", "version": "9.9", "fixed_size": False, "mean": list(MEAN), "std": list(STD)
    }  # fmt: skip
    assert "http" not in text
    assert "/" not in text
    del library.calls[:]
    again = stored(encoder)
    assert again == encoder
    again.field([Painted(1)], print)
    captioner(again)
    if fine_tune:
        again.load_pretrained(again.network())
    # a name of the registry and whether its weights are wanted: nothing else is ever passed on
    assert {(name, tuple(options)) for name, _, options in library.calls} <= {("small.v1", ("pretrained_cfg_overlay",))}
    assert all(options == {"pretrained_cfg_overlay": None} for _, _, options in library.calls)


HOSTILE = [
    {"checkpoint_path": "/tmp/evil.pth"},
    {"pretrained_cfg": {"file": "/tmp/evil.pth"}},
    {"pretrained_cfg": {"url": "http://evil/weights.pth"}},
    {"pretrained_cfg_overlay": {"hf_hub_id": "evil/weights"}},
    {"arguments": {"checkpoint_path": "/tmp/evil.pth"}},
    {"name": "local-dir:/tmp/evil"},
    {"name": "hf-hub:evil/weights"},
    {"name": "/tmp/evil"},
    {"name": "small.v1/../evil"},
    {"name": "small\n"},
    {"name": ["small"]},
    {"version": "../x"},
    {"mean": [0.5]},
    {"mean": [float("nan")] * 3},
    {"std": [0.0] * 3},
    {"fixed_size": "/tmp/evil"},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=str)
@pytest.mark.parametrize("fine_tune", [False, True])
def test_an_encoder_of_a_stranger_names_no_file_and_no_address(library, fine_tune, changes):
    value = to_json(TimmEncoder(replace(SOME, name="small.v1"), 8, fine_tune, (4, 3), "x" * 32))
    value["model"] |= changes
    fails(lambda: from_json(TimmEncoder, value, "config.json", "spec.encoder"), "config.json: spec.encoder.model")
    assert library.calls == []


@pytest.mark.parametrize("name", ["smll", "evil", "small.v2"])
def test_a_stored_name_must_stand_in_the_registry(library, name):
    encoder = TimmEncoder(replace(SOME, name=name), 8, True, (4, 3), None)
    fails(lambda: captioner(stored(encoder)), f"'{name}'", "did you mean")
    assert library.calls == []


@pytest.mark.parametrize("changes", [{"image_size": 10**6}, {"grid": [10**6, 3]}, {"image_size": 0}, {"weights": 3}])
def test_sizes_of_a_stored_encoder_have_bounds(changes):
    value = to_json(FROZEN) | changes
    fails(lambda: from_json(TimmEncoder, value, "config.json", "spec.encoder"), f"spec.encoder.{next(iter(changes))}")


def test_other_weights_than_those_of_training_are_refused(library):
    encoder = stored(choose("timm:small"))
    vision._pretrained.cache_clear()
    torch.manual_seed(1)  # other weights
    field = encoder.field([Painted(1)], print)
    fails(lambda: field.take("image", np.array([0])), "not those", "trained with")


# with timm


@pytest.fixture(scope="module")
def timm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pytest.importorskip("timm", reason="timm is not installed")
        except RuntimeError:
            pytest.skip("timm does not start with this torchvision")


NAMES = {"test_resnet": "test_resnet.r160_in1k", "test_vit": "test_vit.r160_in1k"}


@pytest.fixture
def fetched(timm, tmp_path, monkeypatch):
    """Puts random weights of a model where timm keeps those that it has fetched."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    vision._pretrained.cache_clear()

    def make(name="test_resnet", seed=0):
        torch.manual_seed(seed)
        folder = tmp_path / f"hub/models--timm--{NAMES[name]}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs/main").write_text("abc")
        timm.models.save_for_hf(timm.create_model(name), str(folder / "snapshots/abc"), safe_serialization=True)
        return f"timm:{name}"

    return make


@pytest.fixture
def photos(tmp_path):
    """A table of questions about images, one colour each, that are files."""
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


def train(photos, out, **options):
    return elman.train(
        "vqa", photos, out=out, hidden=8, batch_size=4, workers=0, preview=False, **{"steps": 4} | options
    )


def answer(model, folder):
    image = ImageFile("in/1.png", Folder(str(folder)), "in/1.png")
    rows = Table("rows", {"image": [image], "question": ["which colour is it?"]}, [1])
    return [dict(each.values) for each in model.predict(rows)]


@pytest.mark.parametrize(("name", "positions"), [("test_resnet", 4), ("test_vit", 16)])
def test_the_grid_is_that_of_the_model(timm, fetched, name, positions):
    encoder = stored(choose(fetched(name), image_size=64))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))

    class Random(Painted):
        def image(self):
            return image

    grid = encoder.field([Random(0)], print).take("image", np.array([0]))["image"]
    fixed = {"img_size": 64} if name == "test_vit" else {}
    model = timm.create_model(NAMES[name], pretrained=True, **fixed).eval()
    about = model.pretrained_cfg
    values = (np.asarray(image) / 255 - about["mean"]) / about["std"]
    with torch.no_grad():
        wanted = model.forward_features(torch.from_numpy(values.transpose(2, 0, 1)).float()[None])
    wanted = wanted[:, 1:] if name == "test_vit" else wanted.flatten(2).transpose(1, 2)
    assert grid.shape == wanted.shape == (1, positions, encoder.grid[1])
    assert_close(grid.float(), wanted, rtol=2e-3, atol=2e-3)


def test_a_frozen_encoder_runs_once_for_each_image(monkeypatch, fetched, photos, tmp_path, own_cache):
    sizes, grid = [], TimmGrid.grid
    monkeypatch.setattr(TimmGrid, "grid", lambda self, pixels: (sizes.append(len(pixels)), grid(self, pixels))[1])
    name = fetched()
    model = train(photos, tmp_path / "a", encoder=name, image_size=64, epochs=3, steps=None)
    assert not [name for name, _ in model.model.named_parameters() if name.startswith("encoder")]
    assert FEW < len(sizes) <= 42  # each image, and the shapes of the grid
    assert list((own_cache / "features").iterdir())
    del sizes[:]
    again = train(photos, tmp_path / "b", encoder=name, image_size=64, epochs=3, steps=None)
    assert len(sizes) < FEW  # of the validation split, which has few
    for first, second in zip(model.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, second)
    assert answer(elman.load(tmp_path / "a"), tmp_path) == answer(model, tmp_path)


def test_the_cache_of_features_changes_nothing(fetched, photos, tmp_path, own_cache):
    name, ends = fetched("test_vit"), []
    for evicted in (False, True):
        out = tmp_path / f"run{evicted}"
        train(photos, out, encoder=name, image_size=64, steps=5)
        if evicted:
            shutil.rmtree(own_cache / "features")
        elman.train("vqa", resume=out, steps=5, workers=0)
        ends.append(elman.load(out).model.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_fine_tuned_encoder_is_trained_and_saved_with_the_model(fetched, photos, tmp_path, name):
    encoder = fetched(name)
    model = train(photos, tmp_path / "a", encoder=encoder, image_size=64, fine_tune=True)
    (tmp_path / "hub").rename(tmp_path / "gone")
    loaded = elman.load(tmp_path / "a")
    weights = loaded.model.encoder.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in model.model.encoder.state_dict().items())
    assert answer(loaded, tmp_path) == answer(model, tmp_path)
    (tmp_path / "gone").rename(tmp_path / "hub")
    start = TimmGrid(loaded.spec.encoder.model, 64, True).state_dict()
    moved = {key: float((value.float() - weights[key].float()).abs().max()) for key, value in start.items()}
    assert any(moved.values())
    assert max(moved[key] for key in moved if key.endswith("weight")) < 0.1  # four steps from these


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", ["unknown", "'resnet81'", "'resnet18'"]),
        ("resnet18.b1_in1k", ["unknown weights", "'resnet18.a1_in1k'"]),
        ("coatnet_0_224", ["no pretrained weights", "'coatnet_0_rw_224'"]),
        ("local-dir:/no/where", ["unknown", "'local-dir:/no/where'"]),
        ("hf-hub:some/where", ["unknown", "'hf-hub:some/where'"]),
    ],
)
def test_a_name_that_timm_cannot_use(timm, name, words):
    fails(lambda: choose(f"timm:{name}"), *words)


def test_an_image_size_that_a_model_does_not_take(fetched):
    fails(lambda: choose(fetched("test_vit"), image_size=3), "does not take", "3 pixels")


def test_weights_that_cannot_be_fetched_are_reported_in_one_line(monkeypatch, timm):
    create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no route\nto the Hub. Check your connection")
        return create(name, pretrained, **options)

    vision._pretrained.cache_clear()
    monkeypatch.setattr(timm, "create_model", offline)
    line = "the weights of timm:test_vit.r160_in1k cannot be fetched: no route to the Hub; they are needed once, while"
    fails(lambda: choose("timm:test_vit"), line)
    fails(lambda: (encoder := choose("timm:test_vit", fine_tune=True)).load_pretrained(encoder.network()), line)


def test_weights_that_were_fetched_once_are_found_offline(fetched, timm, tmp_path):
    encoder = choose(fetched("test_vit", seed=3))
    assert encoder.model.name == "test_vit.r160_in1k"
    assert encoder.image_size == 160
    torch.manual_seed(3)
    wanted = made(timm.create_model("test_vit"))
    wanted.model.reset_classifier(0)
    assert wanted.model.state_dict().keys() == TimmGrid(encoder.model, 160).model.state_dict().keys()
    net = TimmGrid(encoder.model, 160, pretrained=True)
    assert net.digest() == encoder.weights
    for name, value in wanted.model.state_dict().items():
        assert torch.equal(value, net.model.state_dict()[name])
