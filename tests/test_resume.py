"""A training that is interrupted and resumed equals an unbroken one, bit for bit."""

import json
import random
import shlex
import signal
import threading

import numpy as np
import pytest
import torch

import elman
from elman.schema import from_json, to_json
from elman.training.api import load, train
from elman.training.interruption import Interrupted
from elman.training.random_states import RandomStates
from runs import assert_same, at_each_update, interrupt_after, summary
from trainings import OWN_CELLS, assert_equal_weights, fit, untrained

CASES = {
    "lstm of two layers with dropout": {"layers": 2, "dropout": 0.3},
    "bptt longer than the window": {"bptt": 13},
    "bptt shorter than the window": {"bptt": 3, "cell": "gru", "valid": 0},
    "two batches an update": {"accumulate": 2},
    "a user's cell": {"cell": "own.py:Own", "layers": 2, "residual": True},
    "a user's cell that cannot be traced and draws random numbers": {"cell": "own.py:Noisy"},
    "a learned initial state, byte by byte": {"learn_initial_state": True, "tokens": "byte", "cell": "rnn"},
    "bfloat16 without validation": {"precision": "bfloat16", "valid": 0},
    "clipped by value, validated often": {"clip_by": "value", "clip": 0.01, "eval_every": 2},
    "by epochs": {"steps": None, "epochs": 2, "eval_every": None},
}
UNTRACED = "a user's cell that cannot be traced and draws random numbers"


def resume(run, options):
    """A cell that cannot be traced has to be given again."""
    return train("lm", resume=run, **({"cell": options["cell"]} if options is CASES[UNTRACED] else {}))


def stopped_and_resumed(text, run, options, stops):
    for number, stop in enumerate(stops):
        with interrupt_after(stop), pytest.raises(Interrupted, match=f"--resume {run}") as raised:
            resume(run, options) if number else fit(text, run, **options)
        assert raised.value.code == 130
        random.seed(number)  # what other programs leave must not matter
        np.random.seed(number)  # noqa: NPY002
        torch.manual_seed(number)
    resume(run, options)


def compare_stops(text, folder, case, choose):
    """The unbroken training against those that are stopped after the numbers of updates that `choose(epoch, last)`
    gives."""
    (folder / "own.py").write_text(OWN_CELLS)
    options = CASES[case]
    fit(text, folder / "unbroken", **options)
    final = summary(folder / "unbroken")
    last, epoch = final["steps"], round(final["steps"] / final["epochs"])
    assert last > epoch + 2  # otherwise the end of an epoch is no stop in the middle
    for number, stops in enumerate(choose(epoch, last)):
        run = folder / f"stopped-{number}"
        stopped_and_resumed(text, run, options, stops)
        assert_same(run, folder / "unbroken", f"stopped after {stops} updates of {last}")


@pytest.mark.parametrize("case", CASES)
def test_a_training_that_was_stopped_equals_an_unbroken_one(prose, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    compare_stops(prose, tmp_path, case, lambda epoch, last: [[3, epoch - 1]])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_training_that_was_stopped_anywhere_equals_an_unbroken_one(prose, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    compare_stops(prose, tmp_path, case,
                  lambda epoch, last: [[1], [5], [6], [epoch], [1, 1, 1], [last - 1], [last]])  # fmt: skip


def test_the_last_window_may_be_shorter_than_the_gradient_goes_back(prose, tmp_path):
    _, data = untrained(prose, bptt=7)
    assert data.train.batch(0, len(data.train) - 1)["input"].shape[1] < 7
    fit(prose, tmp_path / "run", bptt=7, valid=0)


def test_the_command_that_resumes_can_be_typed_as_it_is_reported(prose, tmp_path):
    with interrupt_after(2), pytest.raises(Interrupted) as raised:
        fit(prose, tmp_path / "my run")
    command = str(raised.value).partition("resume with: ")[2]
    assert shlex.split(command) == ["elman", "train", "lm", "--resume", str(tmp_path / "my run")]


def test_every_random_state_is_restored_also_through_json():
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    random.gauss(0, 1)
    np.random.standard_normal()  # noqa: NPY002 - both keep a second number for the next time

    def draw():
        numbers = [random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.random()]  # noqa: NPY002
        return numbers + torch.rand(3).tolist() + torch.randn(3).tolist()

    states = from_json(RandomStates, json.loads(json.dumps(to_json(RandomStates.record()))), "here")
    first = draw()
    draw()
    states.restore("here")
    assert draw() == first


def test_a_run_that_was_interrupted_before_its_first_validation_can_be_used(prose, tmp_path):
    with interrupt_after(3), pytest.raises(Interrupted):
        fit(prose, tmp_path / "run")
    best, last = (load(tmp_path / "run", weights=which).model.state_dict() for which in ("best", "last"))
    assert_equal_weights(best, last)
    assert set(load(tmp_path / "run").sample("the", 20, seed=0)) <= set(prose.read_text())


@pytest.fixture(scope="module")
def unbroken(prose, tmp_path_factory):
    """The run of `fit(prose, ...)`. No test changes it."""
    return fit(prose, tmp_path_factory.mktemp("unbroken") / "run").path


def test_sigterm_saves_as_ctrl_c_does(prose, tmp_path, unbroken):
    with interrupt_after(3, signal.SIGTERM), pytest.raises(Interrupted) as raised:
        fit(prose, tmp_path / "run")
    assert raised.value.code == 143
    train("lm", resume=tmp_path / "run")
    assert_same(tmp_path / "run", unbroken, "after SIGTERM")


def test_a_second_ctrl_c_stops_at_once_and_leaves_what_was_saved(prose, tmp_path, unbroken):
    def twice(number, _):
        if number == 8:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with at_each_update(twice), pytest.raises(KeyboardInterrupt):
        fit(prose, tmp_path / "run")
    train("lm", resume=tmp_path / "run")
    assert_same(tmp_path / "run", unbroken, "after two Ctrl-C")


def test_signal_handlers_are_restored_when_training_ends(prose, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit(prose, tmp_path / "whole", steps=2)
    with interrupt_after(1), pytest.raises(Interrupted):
        fit(prose, tmp_path / "stopped")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_thread_can_train_too(prose, tmp_path, unbroken):
    thread = threading.Thread(target=fit, args=(prose, tmp_path / "run"))
    thread.start()
    thread.join()
    assert_same(tmp_path / "run", unbroken, "in a thread")


def test_an_interrupted_run_may_be_given_more_steps(prose, tmp_path):
    with interrupt_after(7), pytest.raises(Interrupted):
        fit(prose, tmp_path / "run")
    train("lm", resume=tmp_path / "run", steps=30)
    assert summary(tmp_path / "run")["steps"] == 37


def test_a_class_as_cell_is_resumed_from_its_graph(prose, tmp_path):
    class Mine(elman.Cell):
        gates = ("n",)

        def step(self, x, h):
            return (torch.tanh(x.n + self.recur("n", of=h).n),)

    with interrupt_after(5), pytest.raises(Interrupted):
        fit(prose, tmp_path / "run", cell=Mine)
    fit(prose, tmp_path / "unbroken", cell=Mine)
    train("lm", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "with a class as cell")
