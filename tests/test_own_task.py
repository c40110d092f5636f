"""The task of examples/own_task.py: one file, and nothing else touched."""

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import elman
from elman.errors import UserError
from elman.tasks.capabilities import Images
from elman.tasks.task import Task
from elman.training.device import Precision
from elman.training.evaluate import evaluate
from elman.training.interruption import Interrupted
from runs import RecordingReporter, assert_same, interrupt_after, read_log, summary

PATH = Path(__file__).parent.parent / "examples" / "own_task.py"
SHORT = {"steps": 12, "eval_every": 4, "hidden": 16, "batch_size": 8, "latent_size": 2,
         "device": "cpu", "precision": "float32"}  # fmt: skip


@pytest.fixture(scope="module")
def own_task():
    """The module, imported as a user's own."""
    spec = importlib.util.spec_from_file_location("own_task", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_task"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def images(own_task, tmp_path_factory):
    """An .npz file of small images."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=own_task.rectangles(60, 6))
    return path


@pytest.fixture(scope="module")
def reporter():
    return RecordingReporter()


@pytest.fixture(scope="module")
def run(own_task, images, reporter, tmp_path_factory):
    """A run of the task. No test changes it."""
    return elman.train(
        own_task.Vae, images, out=tmp_path_factory.mktemp("vae") / "run", reporter=reporter, **SHORT
    ).path


def test_every_named_sum_is_logged_and_validated_as_a_mean(run):
    *lines, _ = read_log(run)
    for line in lines:
        assert line["loss"] == pytest.approx(line["reconstruction"] + line["kl"], rel=1e-5)
    for line in [*(each for each in lines if each["val_loss"] is not None), summary(run)]:
        assert line["val_loss"] == pytest.approx(line["val_reconstruction"] + line["val_kl"], rel=1e-5)
        assert line["val_kl"] > 0
    assert summary(run)["val_count"] == 6
    assert summary(run)["unit"] == "image"
    assert "val_bits" not in summary(run)  # the loss is that of an image, not of a token


def test_it_learns(own_task, images, tmp_path):
    options = SHORT | {"steps": 150, "lr": 0.01, "eval_every": 15}
    run = elman.train("vae", images, out=tmp_path / "run", preview=False, **options).path
    losses = [line["val_loss"] for line in read_log(run) if line["val_loss"] is not None]
    assert losses[-1] < 0.9 * losses[0]


def test_previews_are_images_in_the_run_folder_and_are_reported(run, reporter):
    files = sorted((run / "previews").glob("step-*.png"))
    assert [file.name for file in files] == ["step-00000004.png", "step-00000008.png"]
    for file in files:
        with Image.open(file) as image:
            assert image.size == (27 * 24, 27 * 24)  # 4 by 4 images of 6 by 6 pixels, enlarged
    assert len(reporter.previews) == 2
    assert all(isinstance(preview, Images) for preview in reporter.previews)


def test_previews_and_validations_change_nothing_of_training(own_task, images, tmp_path, run):
    elman.train(own_task.Vae, images, out=tmp_path / "silent", preview=False, **SHORT)
    assert_same(tmp_path / "silent", run, "without previews")
    elman.train(own_task.Vae, images, out=tmp_path / "rarely", preview=False, **SHORT | {"eval_every": 12})
    rarely, often = ((path / "resume" / "model.safetensors").read_bytes() for path in (tmp_path / "rarely", run))
    assert rarely == often


def test_a_run_is_loaded_again_and_gives_the_same_loss(own_task, run):
    trained = elman.load(run)
    assert trained.spec == own_task.VaeSpec(
        options=trained.spec.options, hidden=16, height=6, width=6
    )  # fmt: skip
    found = evaluate(trained.model, trained.source("valid"), Precision(torch.float32, "in a test"))
    assert found.means["kl"] == pytest.approx(summary(run)["val_kl"], rel=1e-6)
    assert trained.source("test") is None


def test_a_run_that_was_interrupted_equals_an_unbroken_one(own_task, images, tmp_path, run):
    with interrupt_after(6), pytest.raises(Interrupted):
        elman.train(own_task.Vae, images, out=tmp_path / "run", **SHORT)
    elman.train("vae", resume=tmp_path / "run")
    assert_same(tmp_path / "run", run, "stopped after 6 updates")


def test_a_task_may_need_no_data(own_task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = elman.train(own_task.Vae, **SHORT | {"steps": 1})
    assert trained.path == Path("runs/vae-data")
    assert elman.load(trained.path).spec.height == 12


@pytest.mark.parametrize(
    "arrays", [{"pictures": np.zeros(3)}, {"images": np.zeros((20, 4), np.uint8)}, {"images": np.zeros((20, 4, 4))}]
)
def test_other_data_is_an_error_of_one_line(own_task, tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=r"a\.npz") as raised:
        elman.train(own_task.Vae, tmp_path / "a.npz", out=tmp_path / "run", **SHORT)
    assert "\n" not in str(raised.value)


def test_a_stored_field_that_is_invalid_is_an_error_that_names_it(own_task, run, tmp_path):
    path = Path(tmp_path / "run")
    path.mkdir()
    for name in ("config.json", "model.safetensors"):
        (path / name).write_bytes((run / name).read_bytes())
    config = elman.load(path).run.config
    broken = json.loads(json.dumps(config.spec)) | {"height": -1}
    from elman.files import seal
    from elman.training.run_config import RunConfig

    changed = RunConfig(kind=config.kind, spec=broken, paths=config.paths, key=config.key, training=config.training)
    (path / "config.json").write_bytes(seal(changed.to_json()))
    with pytest.raises(UserError, match="height"):
        elman.load(path)


def test_a_run_of_a_task_that_was_not_imported_names_the_kind(run, monkeypatch):
    from elman.tasks import task

    monkeypatch.delitem(task.TASKS._found, "vae")
    with pytest.raises(UserError, match=r"'vae'.*import"):
        elman.load(run)


def test_an_option_that_training_has_already_is_an_error(own_task):
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Options(own_task.VaeOptions):
        steps: int = 3

    class Clashing(own_task.Vae):
        pass

    Clashing.Options = Options
    with pytest.raises(UserError, match="`steps`"):
        elman.train(Clashing, steps=4)


def test_a_task_defines_at_most_seven_members():
    required = {name for name in inspect.get_annotations(Task) if not hasattr(Task, name)}  # without a default
    named = {"kind", "summary"}  # given with the class
    assert required | named | Task.__abstractmethods__ == {
        "kind", "summary", "Options", "Spec", "Model", "prepare", "source",
    }  # fmt: skip
    assert Task.__init_subclass__.__kwdefaults__ is None
