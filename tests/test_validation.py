"""Validation while training: what is evaluated, which weights are kept, and patience."""

import math

import pytest
import torch

import trainings
from elman.data.windows import IGNORED, Windows
from elman.errors import UserError
from elman.training import loop
from elman.training.api import load, train
from elman.training.evaluate import Evaluation, evaluate
from runs import RecordingReporter, read_log, source, summary
from trainings import FLOAT, assert_equal_weights, fit, untrained


def test_evaluation_carries_the_state_however_the_text_is_divided(tmp_path):
    (tmp_path / "text.txt").write_text(trainings.prose(1000))
    model = fit(tmp_path / "text.txt", tmp_path / "run", steps=60, lr=0.02)
    ids = source(model, "valid").ids
    windows, one = Windows.of_tokens(ids, 1, 5), Windows.of_tokens(ids, 1, 50)
    carried = evaluate(model.model, windows, FLOAT)
    assert carried.loss == pytest.approx(evaluate(model.model, one, FLOAT).loss, rel=1e-5)
    assert carried.count == len(ids) - 1
    reset = evaluate(model.model, windows, FLOAT, reset=True)
    alone = [
        evaluate(model.model, Windows.of_tokens(ids[at : at + 6], 1, 5), FLOAT) for at in range(0, len(ids) - 1, 5)
    ]
    assert reset.loss * reset.count == pytest.approx(sum(each.loss * each.count for each in alone), rel=1e-5)
    assert reset.loss > 1.01 * carried.loss


def test_evaluation_leaves_training_as_it_was(prose):
    model, data = untrained(prose, dropout=0.5)
    model.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    losses = [evaluate(model, data.train, FLOAT).loss for _ in range(2)]
    assert losses[0] == losses[1]
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.grad is None for weight in model.parameters())


def test_the_summary_is_of_the_best_weights_on_the_whole_validation_split(tmp_path):
    (tmp_path / "text.txt").write_text(trainings.prose(2000))
    recorder, run = RecordingReporter(), tmp_path / "run"
    fit(tmp_path / "text.txt", run, valid=0.6, eval_every=2, reporter=recorder)
    assert any("validation" in line and "first" in line for line in recorder.lines)  # a part of it, while training
    model = load(run)
    final, found = summary(run), evaluate(model.model, source(model, "valid"), FLOAT)
    assert final["val_loss"] == pytest.approx(found.loss, rel=1e-6)
    assert final["val_count"] == found.count == 1199
    assert final["val_bits"] == pytest.approx(final["val_loss"] / math.log(2), rel=1e-9)


def test_validation_takes_a_small_part_of_a_training(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(trainings.prose(2000))
    found, real = [], loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *a, **k: found.append(real(*a, **k)) or found[-1])
    fit(tmp_path / "text.txt", tmp_path / "run", valid=0.6, steps=40, eval_every=None)
    assert 10 < len(found) < 30
    *while_training, _, _ = found  # then the last validation and the summary
    assert sum(each.count for each in while_training) < 0.5 * summary(tmp_path / "run")["units"]


class Losses:
    """Replaces the validation loss by given values, and records the weights that were evaluated."""

    def __init__(self, monkeypatch, losses):
        self.losses, self.weights = list(losses), []
        monkeypatch.setattr(loop, "evaluate", self)

    def __call__(self, model, *_, **__):
        self.weights.append({name: value.clone() for name, value in model.state_dict().items()})
        return Evaluation(1, {"loss": self.losses[min(len(self.weights), len(self.losses)) - 1]})


def test_the_best_weights_are_kept_and_so_are_the_last(prose, tmp_path, monkeypatch):
    losses = Losses(monkeypatch, [5.0, 3.0, 4.0, 3.5, 3.2, 9.0])
    model = fit(prose, tmp_path / "run", steps=10, eval_every=2)
    assert summary(tmp_path / "run")["best_step"] == 4
    assert_equal_weights(load(tmp_path / "run").model.state_dict(), losses.weights[1])
    assert_equal_weights(load(tmp_path / "run", weights="last").model.state_dict(), losses.weights[4])
    assert_equal_weights(model.model.state_dict(), losses.weights[1])  # of what `train` returns
    assert [line["val_loss"] for line in read_log(tmp_path / "run")] == [5.0, 3.0, 4.0, 3.5, 3.2]


def test_an_equal_loss_is_not_better(prose, tmp_path, monkeypatch):
    Losses(monkeypatch, [2.0])
    fit(prose, tmp_path / "run", steps=6, eval_every=2)
    assert summary(tmp_path / "run")["best_step"] == 2


def test_a_validation_loss_that_is_not_finite_is_never_the_best(prose, tmp_path, monkeypatch):
    Losses(monkeypatch, [math.nan, 3.0, math.nan, 4.0])
    fit(prose, tmp_path / "run", steps=10, eval_every=2)
    assert summary(tmp_path / "run")["best_step"] == 4


def test_patience_ends_a_training_that_no_longer_improves(prose, tmp_path, monkeypatch):
    Losses(monkeypatch, [5.0, 6.0, 4.0, 4.5, 4.2, 1.0])
    fit(prose, tmp_path / "run", steps=1000, eval_every=3, patience=2)
    final = summary(tmp_path / "run")
    assert final["steps"] == 15  # worse at 6, better at 9, worse at 12 and 15
    assert final["best_step"] == 9
    with pytest.raises(UserError, match="finished"):
        train("lm", resume=tmp_path / "run")


def test_patience_restarts_with_further_training(prose, tmp_path, monkeypatch):
    Losses(monkeypatch, [1.0, 2.0])
    fit(prose, tmp_path / "run", steps=1000, eval_every=3, patience=2)
    before = summary(tmp_path / "run")["steps"]
    train("lm", resume=tmp_path / "run", steps=1000)
    assert summary(tmp_path / "run")["steps"] == before + 6
    assert summary(tmp_path / "run")["best_step"] == 3


def test_without_a_validation_split_the_last_weights_are_the_best(prose, tmp_path):
    fit(prose, tmp_path / "run", valid=0)
    best, last = (load(tmp_path / "run", weights=which).model.state_dict() for which in ("best", "last"))
    assert_equal_weights(best, last)
    assert summary(tmp_path / "run")["val_loss"] is None
    assert "val_bits" not in summary(tmp_path / "run")


def test_a_mean_over_nothing_is_nan(prose):
    model, data = untrained(prose)
    batch = data.train.batch(0, 0)
    data.train.batch = lambda epoch, index: batch | {"target": torch.full_like(batch["target"], IGNORED)}
    found = evaluate(model, data.train, FLOAT, batches=1)
    assert found.count == 0
    assert math.isnan(found.loss)
