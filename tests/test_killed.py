"""A training that is killed at any moment is resumed as if it had not been."""

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter

import pytest

from elman.training import loop
from elman.training.api import load, train
from elman.training.run import Run
from runs import assert_same, at_each_update, read_log, summary
from trainings import OWN_CELLS, Clock, fit

SHORT = {"steps": 5, "eval_every": 2, "dropout": 0.3}


class Killed(BaseException):
    """The process has ended: nothing that follows may have an effect."""


class MortalProcess:
    """Ends the process, as far as files are concerned, at its n-th operation on them, which is half done."""

    WATCHED = ("fsync", "replace", "rename", "rmdir")

    def __init__(self, patch, last):
        self.remaining, self.dead = last, False
        for name in (*self.WATCHED, "unlink", "mkdir"):
            patch.setattr(os, name, self._watch(name, getattr(os, name)))

    def _watch(self, name, real):
        def call(*arguments, **options):
            if not self.dead and name in self.WATCHED:
                self.remaining -= 1
                self.dead = self.remaining == 0
                if self.dead and name == "fsync":
                    os.truncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            if self.dead:
                raise Killed
            return real(*arguments, **options)

        return call


def killed_at(operation, action):
    """Whether the action needs so many operations on files; it gets no further."""
    with pytest.MonkeyPatch.context() as patch:
        MortalProcess(patch, operation)
        try:
            action()
        except Killed:
            return True
    return False


def start_or_resume(text, run, **options):
    """What a user types again after a crash."""
    if (run / "config.json").exists():
        return train("lm", resume=run)
    shutil.rmtree(run, ignore_errors=True)  # nothing is in it
    return fit(text, run, **options)


@pytest.fixture(scope="module")
def unbroken(prose, tmp_path_factory):
    """The run of the options SHORT. No test changes it."""
    return fit(prose, tmp_path_factory.mktemp("unbroken") / "run", **SHORT).path


def kill_and_resume(text, run, operation, unbroken):
    """Whether the training needs so many operations; if so, it is killed at that one, resumed and compared."""
    if not killed_at(operation, lambda: fit(text, run, **SHORT)):
        return False
    if (run / "model.safetensors").exists():
        load(run)
        load(run, weights="last")
    start_or_resume(text, run, **SHORT)
    assert_same(run, unbroken, f"killed at operation {operation}", killed=True)
    return True


def test_a_training_killed_at_some_operations_on_files_is_resumed(prose, tmp_path, unbroken):
    for operation in (1, 9, 23, 38, 51):
        assert kill_and_resume(prose, tmp_path / f"{operation}", operation, unbroken)


@pytest.mark.slow
def test_a_training_killed_at_any_operation_on_files_is_resumed(prose, tmp_path, unbroken):
    for operation in itertools.count(1):
        if not kill_and_resume(prose, tmp_path / f"{operation}", operation, unbroken):
            break
    assert operation > 50


def test_a_training_killed_before_its_summary_gets_it_when_it_is_resumed(prose, tmp_path, unbroken):
    for where, name in ((loop, "_summary"), (Run, "log"), (Run, "save_summary")):
        run, real = tmp_path / f"killed-in-{name}", getattr(where, name)

        def kill_at_the_end(*arguments, name=name, real=real):
            if name != "log" or "end" in arguments[1]:
                raise Killed
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, kill_at_the_end)
            with pytest.raises(Killed):
                fit(prose, run, **SHORT)
        train("lm", resume=run)
        assert_same(run, unbroken, f"killed in {name}", killed=True)


def test_further_training_killed_before_its_summary_gets_it_when_it_is_resumed(prose, tmp_path):
    def kill(*_):
        raise Killed

    fit(prose, tmp_path / "run", steps=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save_summary", kill)
        with pytest.raises(Killed):
            train("lm", resume=tmp_path / "run", steps=4)
    train("lm", resume=tmp_path / "run")
    assert summary(tmp_path / "run")["steps"] == 9


def test_a_training_with_a_users_cell_killed_before_anything_was_saved_starts_alike(prose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN_CELLS)
    options = {"steps": 5, "cell": "own.py:Own", "layers": 2, "seed": 5}
    fit(prose, tmp_path / "unbroken", **options)
    for operation in (3, 4, 8, 13):
        run = tmp_path / f"killed-{operation}"
        assert killed_at(operation, lambda run=run: fit(prose, run, **options))
        start_or_resume(prose, run, **options)
        assert_same(run, tmp_path / "unbroken", f"killed at operation {operation}")


@pytest.mark.parametrize("operation", [30, *(pytest.param(n, marks=pytest.mark.slow) for n in range(35, 60, 5))])
def test_a_training_killed_again_while_it_is_resumed_loses_nothing(prose, tmp_path, unbroken, operation):
    run = tmp_path / "run"
    assert killed_at(operation, lambda: fit(prose, run, **SHORT))
    for again in (1, 3, 8):
        killed_at(again, lambda: train("lm", resume=run))
    start_or_resume(prose, run, **SHORT)
    assert_same(run, unbroken, f"killed at operation {operation} and again", killed=True)


def test_no_step_is_logged_twice_when_a_killed_training_is_resumed(prose, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=1)  # a line every update

    def kill(number, _):
        if number == 10:
            raise Killed

    with at_each_update(kill), pytest.raises(Killed):
        fit(prose, tmp_path / "run")
    assert [line["step"] for line in read_log(tmp_path / "run")] == list(range(1, 10))  # the sixth was saved
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 10, "lo')  # a line that was cut off
    train("lm", resume=tmp_path / "run")
    lines = read_log(tmp_path / "run")
    assert [line["step"] for line in lines if not line.get("end")] == list(range(1, 21))
    assert [line["step"] for line in lines if line.get("end")] == [20]


@pytest.mark.slow
def test_a_command_killed_at_a_random_moment_is_resumed(prose, tmp_path):
    command = [sys.executable, "-m", "elman", "train", "lm"]
    options = ["--layers=2", "--dropout=0.3", "--hidden=16", "--batch-size=4", "--seq-len=8", "--steps=400",
               "--eval-every=7"]  # fmt: skip

    def start(*words):
        words = [*command, *map(str, words)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    begun = time.monotonic()
    unbroken = start(prose, *options, "--out", tmp_path / "unbroken")
    output = unbroken.communicate()[0]
    assert unbroken.returncode == 0, output
    duration = time.monotonic() - begun
    draw, found = random.Random(0), Counter()
    for number in range(20):
        run = tmp_path / f"killed-{number}"
        process = start(prose, *options, "--out", run)
        time.sleep(draw.uniform(0, duration))
        process.kill()
        process.communicate()
        again = (run / "config.json").exists()
        found["in training" if again else "before"] += 1
        if not again:
            shutil.rmtree(run, ignore_errors=True)
        if (run / "summary.json").exists():
            found["after"] += 1
        else:
            process = start("--resume", run) if again else start(prose, *options, "--out", run)
            output = process.communicate()[0]
            assert process.returncode == 0, output
        assert_same(run, tmp_path / "unbroken", f"killed for the {number + 1}. time", killed=True)
    assert found["in training"] - found["after"] >= 3, found
