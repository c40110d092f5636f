"""Batches that other processes make: the same, in the same order, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_caption import TINY, album

from elman.errors import Unreadable, UserError
from elman.training.api import train
from elman.training.prefetch import Prefetch

WAIT = 60.0  # seconds, on a busy machine
proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


class Places:
    """A source whose batches say which they are, and by which process they were made."""

    workers = 1

    def __init__(self, batches=5, broken=(), error=UserError):
        self.batches, self.broken, self.error = batches, broken, error

    def __len__(self):
        return self.batches

    def __str__(self):
        return "places"

    def batch(self, epoch, index):
        if (epoch, index) in self.broken:
            raise self.error(f"{epoch}.jpg cannot be read")
        return {"place": torch.tensor([epoch, index]), "process": torch.tensor(os.getpid())}


def places(source, asked):
    return [source.batch(*place)["place"].tolist() for place in asked]


def after(place, count, batches):
    return [list(divmod(place[0] * batches + place[1] + number, batches)) for number in range(count)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batches", [1, 5])
def test_batches_are_those_of_the_source_in_its_order(workers, batches):
    source = Prefetch(Places(batches), workers)
    assert (len(source), str(source)) == (batches, "places")
    for begin in ((0, 0), (3, batches - 1), (3, 0), (70, batches // 2)):  # wherever a training goes on
        asked = after(begin, 12, batches)
        assert places(source, asked) == asked
    made = {int(source.batch(epoch, index)["process"]) for epoch, index in after((0, 0), 6, batches)}
    assert len(made) == workers
    assert os.getpid() not in made


def test_an_order_that_is_none_is_followed_too():
    source, random = Prefetch(Places(), 1), np.random.default_rng(0)
    asked = random.integers(0, 5, (6, 2)).tolist()
    assert places(source, asked) == asked
    assert places(source, [[2, 2], [2, 2]]) == [[2, 2], [2, 2]]


@pytest.mark.parametrize("error", [UserError, Unreadable])
def test_a_mistake_is_raised_as_it_is_when_its_batch_is_due(error):
    source = Prefetch(Places(broken=[(0, 3)], error=error), 2)
    assert places(source, [[0, 0], [0, 1], [0, 2]]) == [[0, 0], [0, 1], [0, 2]]
    with pytest.raises(UserError) as raised:
        source.batch(0, 3)
    assert type(raised.value) is error
    assert str(raised.value) == "0.jpg cannot be read"
    assert places(source, [[1, 0], [1, 1]]) == [[1, 0], [1, 1]]


def test_the_model_draws_what_it_would_draw_without():
    def drawn(source):
        torch.manual_seed(0)
        found = []
        for place in after((0, 0), 7, 5):
            source.batch(*place)
            found.append(torch.rand(3))
        return torch.stack(found)

    assert torch.equal(drawn(Prefetch(Places(), 2)), drawn(Places()))


def test_the_share_of_waiting_is_logged(tmp_path):
    train("caption", album(tmp_path), out=tmp_path / "run", **TINY, steps=4, eval_every=1, workers=1)
    told = [json.loads(line)["waiting"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told.append(json.loads((tmp_path / "run" / "summary.json").read_text())["waiting"])
    assert all(0 <= share <= 1 for share in told)
    assert told[-1] > 0


# processes that end


def alive(session):
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):  # has just ended
            continue
        if int(own) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def until(what):
    end = time.monotonic() + WAIT
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def training(tmp_path):
    """`elman train caption`, under way, with a process that makes its batches; and its run."""
    path, run = album(tmp_path), tmp_path / "run"
    words = ["--for", "10m", "--workers", "1", "--hidden", "16", "--image-size", "16", "--batch-size", "4",
             "--device", "cpu",
             "--backend", "native"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "elman", "train", "caption", str(path), "--out", str(run), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: (run / "log.jsonl").exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
        yield process, run
    finally:
        for left in alive(process.pid):
            os.kill(left, signal.SIGKILL)
        process.communicate()


@proc
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_all_of_it_and_saves(training, number, code):
    process, run = training
    assert len(alive(process.pid)) > 1
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "go on with: elman train caption --resume" in err.splitlines()[-1]
    assert alive(process.pid) == []
    assert (run / "resume").is_dir()


@proc
def test_nothing_is_left_of_a_training_that_was_killed(training):
    process, _ = training
    assert len(alive(process.pid)) > 1
    process.kill()
    process.wait(WAIT)
    until(lambda: not alive(process.pid))


def test_a_process_whose_source_is_still_held_at_the_end_does_not_wait_for_ever(tmp_path):
    """As where a traceback holds it."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_ahead import Prefetch, Places\n"
        "source = Prefetch(Places(), 1); source.batch(0, 0); sys.held = source\n"
        "print('done')"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=2 * WAIT, check=True)
    assert done.stdout == "done\n"


class Dying(Places):
    """A source for which there is never enough memory."""

    def batch(self, epoch, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_told_in_one_line():
    with pytest.raises(UserError, match="has ended") as told:
        Prefetch(Dying(), 1).batch(0, 0)
    assert "\n" not in str(told.value)
