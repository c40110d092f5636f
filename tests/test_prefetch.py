"""Batches that other processes prepare: the same, in the same order, and no process is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data.source import Source
from elman.errors import Unreadable, UserError
from elman.training.api import train
from elman.training.prefetch import Prefetch
from runs import read_log, summary
from test_caption_runs import TINY, album

WAIT = 60.0  # seconds, on a busy machine
proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


class Numbered(Source):
    """A source whose batches hold their own position, and the process that prepared them."""

    workers = 1

    def __init__(self, batches=5, broken=(), error=UserError):
        self.batches, self.broken, self.error = batches, broken, error

    def __len__(self):
        return self.batches

    def __str__(self):
        return "numbered"

    def batch(self, epoch, index):
        if (epoch, index) in self.broken:
            raise self.error(f"{epoch}.jpg cannot be read")
        return {"position": torch.tensor([epoch, index]), "process": torch.tensor(os.getpid())}


def positions(source, requests):
    return [source.batch(*request)["position"].tolist() for request in requests]


def after(position, count, batches):
    return [list(divmod(position[0] * batches + position[1] + number, batches)) for number in range(count)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batches", [1, 5])
def test_batches_are_those_of_the_source_in_its_order(workers, batches):
    source = Prefetch(Numbered(batches), workers)
    assert (len(source), str(source)) == (batches, "numbered")
    for begin in ((0, 0), (3, batches - 1), (3, 0), (70, batches // 2)):  # wherever a training is resumed
        requests = after(begin, 12, batches)
        assert positions(source, requests) == requests
    made = {int(source.batch(epoch, index)["process"]) for epoch, index in after((0, 0), 6, batches)}
    assert len(made) == workers
    assert os.getpid() not in made


def test_batches_may_be_requested_in_any_order():
    source, random = Prefetch(Numbered(), 1), np.random.default_rng(0)
    requests = random.integers(0, 5, (6, 2)).tolist()
    assert positions(source, requests) == requests
    assert positions(source, [[2, 2], [2, 2]]) == [[2, 2], [2, 2]]


@pytest.mark.parametrize("error", [UserError, Unreadable])
def test_an_error_is_raised_unchanged_when_its_batch_is_requested(error):
    with Prefetch(Numbered(broken=[(0, 3)], error=error), 2) as source:
        assert positions(source, [[0, 0], [0, 1], [0, 2]]) == [[0, 0], [0, 1], [0, 2]]
        with pytest.raises(UserError) as raised:
            source.batch(0, 3)
        assert positions(source, [[1, 0], [1, 1]]) == [[1, 0], [1, 1]]
    assert type(raised.value) is error
    assert str(raised.value) == "0.jpg cannot be read"


def test_processes_end_with_the_block_whatever_still_refers_to_the_source():
    with Prefetch(Numbered(), 2) as source:
        source.cycle = source
        made = {int(source.batch(0, index)["process"]) for index in range(4)}
        began = time.monotonic()
    assert time.monotonic() - began < 4  # the garbage collector takes 10 s for each
    for process in made:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_random_numbers_of_training_are_the_same_without_workers():
    def drawn(source):
        torch.manual_seed(0)
        found = []
        for position in after((0, 0), 7, 5):
            source.batch(*position)
            found.append(torch.rand(3))
        return torch.stack(found)

    assert torch.equal(drawn(Prefetch(Numbered(), 2)), drawn(Numbered()))


def test_the_fraction_of_time_spent_waiting_is_logged(tmp_path):
    train("caption", album(tmp_path), out=tmp_path / "run", **TINY, steps=4, eval_every=1, workers=1)
    logged = [line["waiting"] for line in read_log(tmp_path / "run")]
    assert all(0 <= fraction <= 1 for fraction in logged)
    assert 0 < summary(tmp_path / "run")["waiting"] <= 1


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
    """`elman train caption` in progress, with a process that prepares its batches; and its run."""
    path, run = album(tmp_path), tmp_path / "run"
    words = ["--for", "10m", "--workers", "1", "--hidden", "16", "--image-size", "16", "--batch-size", "4",
             "--device", "cpu", "--backend", "native"]  # fmt: skip
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
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_ctrl_c_saves_and_ends_all_processes(training, number, code):
    process, run = training
    assert len(alive(process.pid)) > 1
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "resume with: elman train caption --resume" in err.splitlines()[-1]
    assert alive(process.pid) == []
    assert (run / "resume").is_dir()


@proc
@pytest.mark.slow
def test_no_process_is_left_of_a_training_that_was_killed(training):
    process, _ = training
    assert len(alive(process.pid)) > 1
    process.kill()
    process.wait(WAIT)
    until(lambda: not alive(process.pid))


@pytest.mark.slow
def test_a_process_whose_source_is_still_referenced_at_its_end_ends(tmp_path):
    """As where a traceback holds a reference."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_prefetch import Numbered, Prefetch\n"
        "source = Prefetch(Numbered(), 1); source.batch(0, 0); sys.held = source\n"
        "print('done')"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=2 * WAIT, check=True)
    assert done.stdout == "done\n"


class Dying(Numbered):
    """A source for which there is never enough memory."""

    def batch(self, epoch, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_an_error_of_one_line():
    with pytest.raises(UserError, match="has ended") as raised:
        Prefetch(Dying(), 1).batch(0, 0)
    assert "\n" not in str(raised.value)
