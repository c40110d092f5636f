"""Diagnostics of training: each warning is logged when its condition holds, once, and not otherwise."""

import numpy as np
import pytest
import torch

import elman
from elman.tasks.task import entropy
from elman.training.diagnostics import Diagnostics, saturated
from elman.training.reporter import Status
from runs import RecordingReporter, read_log


def status(loss=1.0, val_loss=1.1, **changed):
    values = {"step": 1000, "epoch": 0.1, "progress": 0.5, "seconds": 1.0, "seconds_left": 1.0, "units_per_s": 1.0,
              "grad_norm": 1.0, "clipped": 0.1, "saturated": 0.0, "lr": 0.1, "waiting": 0.0}  # fmt: skip
    val_means = {} if val_loss is None else {"loss": val_loss}
    return Status(means={"loss": loss}, val_means=val_means, unit="token", **(values | changed))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"loss": 2.98, "val_loss": 2.99}, "frequency of each token"),
        ({"loss": 2.98, "val_loss": None}, "frequency of each token"),
        ({"clipped": 0.99}, "clipped"),
        ({"saturated": 0.5}, "same in every row"),
        ({"loss": 0.5, "val_loss": 1.5}, "overfits"),
    ],
)
def test_a_warning_is_given_once(values, word):
    diagnostics = Diagnostics(3.0)
    (line,) = diagnostics.check(status(**values))
    assert word in line
    assert list(diagnostics.check(status(**values))) == []


@pytest.mark.parametrize(
    ("entropy", "values"),
    [
        (3.0, {}),
        (None, {"loss": 9.0, "val_loss": 9.0}),
        (3.0, {"step": 20, "clipped": 1.0, "loss": 9.0, "saturated": 1.0}),
        (3.0, {"progress": 0.1, "clipped": 1.0, "loss": 9.0, "saturated": 1.0}),
        (0.0, {"loss": 0.0, "val_loss": 0.0}),  # one character: there is nothing to learn
    ],
)
def test_a_training_that_learns_or_has_just_begun_gets_no_warning(entropy, values):
    assert list(Diagnostics(entropy).check(status(**values))) == []


def test_units_that_are_the_same_in_all_rows_are_counted():
    value = torch.randn(6, 10)
    value[:, :3] = 1.0
    assert saturated(((torch.randn(6, 10), value),)) == pytest.approx(0.3)
    assert saturated(None) == 0.0


def test_the_unigram_entropy_is_that_of_the_frequencies():
    assert entropy(np.array([0, 0, 1, 3])) == pytest.approx(1.5 * np.log(2))


def test_a_training_whose_every_update_is_clipped_logs_it(tmp_path, monkeypatch):
    monkeypatch.setattr("elman.training.diagnostics.LEAST", 10)
    (tmp_path / "a.txt").write_text("the cat sat on a mat and saw two dogs run by, " * 60)
    reporter = RecordingReporter()
    elman.train("lm", tmp_path / "a.txt", steps=40, eval_every=10, hidden=8, clip=1e-6, batch_size=4, seq_len=16,
                preview=False, device="cpu", precision="float32", out=tmp_path / "run", reporter=reporter)  # fmt: skip
    assert sum("updates were clipped" in line for line in reporter.lines) == 1
    *lines, _ = read_log(tmp_path / "run")
    assert [line["clipped"] for line in lines] == [1.0] * len(lines)
