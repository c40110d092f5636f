"""Losses, gradients and weights that are not finite are reported with their step and never saved."""

import itertools
import math
from dataclasses import replace

import pytest

from elman.tasks.lm import LMModel
from elman.training.api import load, train
from elman.training.interruption import Diverged
from runs import assert_same, at_each_update
from trainings import fit, learning_rates


def poison(update):
    """Puts a NaN into a weight after that update."""
    return at_each_update(
        lambda count, optimizer: (
            optimizer.param_groups[0]["params"][0].data[0, 0].fill_(math.nan) if count == update else None
        )
    )


def change_losses(monkeypatch, change):
    """Applies `change(number, mean)` to the mean of every training batch, the first being 1."""
    real, numbers = LMModel.loss, itertools.count(1)

    def changed(self, *arguments):
        loss = real(self, *arguments)
        return replace(loss, mean=change(next(numbers), loss.mean)) if self.training else loss

    monkeypatch.setattr(LMModel, "loss", changed)


def assert_finite(run):
    for which in ("best", "last"):
        model = load(run, weights=which)
        assert all(bool(weight.isfinite().all()) for weight in model.model.parameters()), which
        model.sample("the", 5, seed=0)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(prose, tmp_path):
    fit(prose, tmp_path / "unbroken", eval_every=4)
    with poison(9), pytest.raises(Diverged, match=r"step 10\b.*step 8\b.*`lr`") as raised:
        fit(prose, tmp_path / "run", eval_every=4)
    assert raised.value.code == 1
    assert_finite(tmp_path / "run")
    train("lm", resume=tmp_path / "run")  # nothing of it was saved
    assert_same(tmp_path / "run", tmp_path / "unbroken", "after a NaN")


def test_a_gradient_that_is_not_finite_ends_the_run(prose, tmp_path, monkeypatch):
    # sqrt has the value 0 at 0, and no slope there
    change_losses(monkeypatch, lambda number, mean: mean + (mean - mean.detach()).sqrt() if number == 5 else mean)
    with pytest.raises(Diverged, match=r"step 5\b"):
        fit(prose, tmp_path / "run", eval_every=2)
    assert_finite(tmp_path / "run")


@pytest.mark.parametrize("eval_every", [1, 2, 100])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_step_is_reported_whatever_the_interval(prose, tmp_path, monkeypatch, eval_every, value):
    change_losses(monkeypatch, lambda number, mean: mean * value if number == 7 else mean)
    with pytest.raises(Diverged, match=r"^step 7\b"):
        fit(prose, tmp_path / "run", eval_every=eval_every, steps=9)
    assert_finite(tmp_path / "run")


def test_any_batch_of_an_update_counts_even_without_a_gradient(prose, tmp_path, monkeypatch):
    # of the two batches of update 3 the first is NaN, and its gradient is that of a finite loss
    change_losses(monkeypatch, lambda number, mean: mean + (mean.detach() * math.nan if number == 5 else 0))
    with pytest.raises(Diverged, match=r"^step 3\b"):
        fit(prose, tmp_path / "run", accumulate=2, eval_every=2)
    assert_finite(tmp_path / "run")


@pytest.mark.parametrize("lr", [1e20, 1e39])
def test_a_learning_rate_far_too_high_ends_the_run_with_finite_weights(prose, tmp_path, lr):
    with pytest.raises(Diverged, match="not finite"):
        fit(prose, tmp_path / "run", lr=lr, warmup=0, eval_every=10)
    assert_finite(tmp_path / "run")


@pytest.mark.parametrize("update", [2, 4])
def test_validation_of_weights_that_are_not_finite_keeps_those_before(prose, tmp_path, update):
    with poison(update), pytest.raises(Diverged):
        fit(prose, tmp_path / "run", eval_every=2)
    assert_finite(tmp_path / "run")


def test_the_weights_that_are_kept_are_named_also_without_a_validation_split(prose, tmp_path):
    with poison(4), pytest.raises(Diverged, match=r"step 4\b.*weights of step 2\b"):
        fit(prose, tmp_path / "run", eval_every=2, valid=0)
    assert_finite(tmp_path / "run")


def test_a_diverged_run_is_resumed_with_a_lower_learning_rate(prose, tmp_path):
    with poison(9), pytest.raises(Diverged):
        fit(prose, tmp_path / "run", eval_every=4, lr=0.01)
    used = learning_rates(lambda: train("lm", resume=tmp_path / "run", lr=0.001))
    assert len(used) == 12
    assert max(used) <= 0.001
