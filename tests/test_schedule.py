"""The length of a training and its learning rates."""

import itertools
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from elman.errors import UserError
from elman.training.api import train
from elman.training.interruption import Interrupted
from elman.training.schedule import FINAL, Schedule
from runs import interrupt_after, summary
from trainings import Clock, fit, learning_rates, untrained

schedules = st.builds(
    lambda amount, start: Schedule("steps", float(amount), float(start), start),
    st.integers(1, 5000), st.integers(0, 100),
)  # fmt: skip


def factors(schedule, warmup):
    steps = range(int(schedule.start), int(schedule.start + schedule.amount))
    return [schedule.factor(schedule.progress(0, 0, step), step, warmup) for step in steps]


@settings(deadline=None, derandomize=True, database=None)
@given(schedules, st.integers(0, 300))
def test_the_factor_rises_and_then_falls_to_2_percent(schedule, warmup):
    found = factors(schedule, warmup)
    assert all(0 < factor <= 1 for factor in found)
    top = found.index(max(found))
    assert top <= math.ceil(0.1 * schedule.amount)
    assert top <= max(warmup - 1, 0)
    assert all(a < b for a, b in itertools.pairwise(found[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(found[top:]))
    assert schedule.factor(1.0, int(schedule.start + schedule.amount), warmup) == pytest.approx(FINAL) == 0.02


@pytest.mark.parametrize(
    ("schedule", "reached", "fraction"),
    [
        (Schedule("for", 60.0), (30.0, 9.0, 9), 0.5),
        (Schedule("epochs", 4.0), (99.0, 1.0, 9), 0.25),
        (Schedule("steps", 10.0), (99.0, 9.0, 9), 0.9),
        (Schedule("for", 60.0, start=30.0), (45.0, 9.0, 9), 0.25),
        (Schedule("epochs", 4.0, start=3.0), (99.0, 5.0, 9), 0.5),
        (Schedule("steps", 10.0, start=20.0, start_step=20), (99.0, 9.0, 40), 1.0),
    ],
)
def test_progress_is_measured_in_the_unit_of_the_schedule(schedule, reached, fraction):
    assert schedule.progress(*reached) == pytest.approx(fraction)


def test_the_updates_use_the_schedule(prose, tmp_path):
    used = learning_rates(lambda: fit(prose, tmp_path / "run", steps=50, lr=0.01, warmup=4))
    assert len(used) == 50
    assert used[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01], rel=0.02)
    assert used[-1] == pytest.approx(0.0002, rel=0.1)
    assert all(a > b for a, b in itertools.pairwise(used[3:]))


def test_further_steps_of_a_finished_run_are_exact_and_have_a_warm_up_of_their_own(prose, tmp_path):
    fit(prose, tmp_path / "run", steps=20, lr=0.01, warmup=3)
    used = learning_rates(lambda: train("lm", resume=tmp_path / "run", steps=40))
    assert len(used) == 40
    assert summary(tmp_path / "run")["steps"] == 60
    assert used[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01], rel=0.02)
    assert used[-1] == pytest.approx(0.0002, rel=0.1)


def test_further_epochs_of_a_finished_run_are_exact(prose, tmp_path):
    fit(prose, tmp_path / "run", steps=None, epochs=2)
    before = summary(tmp_path / "run")
    train("lm", resume=tmp_path / "run", epochs=3)
    assert before["epochs"] == 2
    assert summary(tmp_path / "run")["epochs"] == 5
    assert summary(tmp_path / "run")["steps"] == before["steps"] / 2 * 5


def test_further_epochs_from_the_middle_of_one_are_exact(prose, tmp_path):
    _, data = untrained(prose)
    fit(prose, tmp_path / "run", steps=len(data.train) + 3)
    train("lm", resume=tmp_path / "run", epochs=1)
    assert summary(tmp_path / "run")["steps"] == 2 * len(data.train) + 3


def test_a_finished_run_is_not_resumed_without_a_length(prose, tmp_path):
    fit(prose, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"finished.*`steps`"):
        train("lm", resume=tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_epochs_are_passes_over_the_training_split(prose, tmp_path):
    _, data = untrained(prose)
    fit(prose, tmp_path / "run", steps=None, epochs=3)
    assert summary(tmp_path / "run")["steps"] == 3 * len(data.train)
    assert summary(tmp_path / "run")["units"] == 3 * (len(data.train.ids) - 1)


def test_a_span_of_time_is_used_up_and_extended_by_another(prose, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=0.2)
    run = tmp_path / "run"
    first = learning_rates(lambda: fit(prose, run, steps=None, for_="100s", lr=0.01))
    assert 100 <= summary(run)["train_seconds"] < 102
    assert first[-1] < 0.03 * max(first)
    second = learning_rates(lambda: train("lm", resume=run, for_="50s"))
    assert 150 <= summary(run)["train_seconds"] < 154
    assert second[0] < 0.5 * max(second) > 10 * second[-1]


def test_an_interrupted_span_of_time_is_trained_to_its_end(prose, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=1)
    with interrupt_after(4), pytest.raises(Interrupted):
        fit(prose, tmp_path / "run", steps=None, for_="100s")
    train("lm", resume=tmp_path / "run")
    assert 100 <= summary(tmp_path / "run")["train_seconds"] < 120


def test_two_lengths_at_once_are_an_error_and_nothing_is_made(prose, tmp_path):
    with pytest.raises(UserError, match=r"`for_` and `steps`"):
        fit(prose, tmp_path / "run", for_="5m")
    assert not (tmp_path / "run").exists()
