"""Vital signs of training: each is told when it is so, once, and not otherwise."""

import json

import pytest
import torch

import elman
from elman.tasks.task import entropy
from elman.training.diagnostics import Diagnostics, same
from elman.training.reporter import Silent, Status


def status(**changed):
    figures = {"step": 1000, "epoch": 0.1, "progress": 0.5, "seconds": 1.0, "seconds_left": 1.0, "loss": 1.0,
               "val_loss": 1.1, "tokens_per_s": 1.0, "grad_norm": 1.0, "clipped": 0.1, "stuck": 0.0,
               "lr": 0.1, "waiting": 0.0}  # fmt: skip
    return Status(**(figures | changed))


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"loss": 2.98, "val_loss": 2.99}, "how often each token comes"),
        ({"loss": 2.98, "val_loss": None}, "how often each token comes"),
        ({"clipped": 0.99}, "clipped"),
        ({"stuck": 0.5}, "same in every row"),
        ({"loss": 0.5, "val_loss": 1.5}, "by heart"),
    ],
)
def test_what_is_wrong_is_told_once(figures, word):
    vitals = Diagnostics(3.0)
    (line,) = vitals.check(status(**figures))
    assert word in line
    assert list(vitals.check(status(**figures))) == []


def test_a_healthy_training_and_an_early_one_are_told_nothing():
    assert list(Diagnostics(3.0).check(status())) == []
    assert list(Diagnostics(None).check(status(loss=9.0, val_loss=9.0))) == []
    assert list(Diagnostics(3.0).check(status(step=20, clipped=1.0, loss=9.0, stuck=1.0))) == []
    assert (
        list(Diagnostics(0.0).check(status(loss=0.0, val_loss=0.0))) == []
    )  # one character: there is nothing to learn
    assert list(Diagnostics(3.0).check(status(progress=0.1, clipped=1.0, loss=9.0, stuck=1.0))) == []


def test_units_that_are_alike_in_all_rows_are_counted():
    value = torch.randn(6, 10)
    value[:, :3] = 1.0
    assert same(((torch.randn(6, 10), value),)) == pytest.approx(0.3)
    assert same(None) == 0.0


def test_the_floor_is_the_entropy_of_the_frequencies():
    import numpy as np

    assert entropy(np.array([0, 0, 1, 3])) == pytest.approx(1.5 * np.log(2))


class Told(Silent):
    def __init__(self):
        self.lines = []

    def log(self, line):
        self.lines.append(line)


def test_a_training_that_only_clips_says_so_and_logs_it(tmp_path, monkeypatch):
    monkeypatch.setattr("elman.training.diagnostics.LEAST", 10)
    (tmp_path / "a.txt").write_text("the cat sat on a mat and saw two dogs run by, " * 60)
    told = Told()
    elman.train("lm", tmp_path / "a.txt", steps=40, eval_every=10, hidden=8, clip=1e-6, batch_size=4, seq_len=16,
                preview=False, device="cpu", precision="float32", out=tmp_path / "run", reporter=told)  # fmt: skip
    assert sum("updates were clipped" in line for line in told.lines) == 1
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["clipped"] for line in lines[:-1]] == [1.0] * (len(lines) - 1)
