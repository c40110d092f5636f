"""Fixtures of all tests."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import trainings
from elman.cli import app
from elman.training.api import train
from forked import Elman

torch.set_num_threads(1)  # several tests at a time, and threads that wait for each other, only cost time
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Encoded texts go into a folder of the test's own; kernels are compiled once for all tests."""
    folder = _cache(tmp_path_factory)
    monkeypatch.setenv("ELMAN_CACHE", str(folder))
    return folder


def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new cache with the kernels of all tests."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "kernels").symlink_to(_kernels(tmp_path_factory))
    return folder


def _kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of compiled kernels, one for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs made by the tests are not recorded among those of the user; what fixtures of a module or of all tests encode
    is in a cache of its own."""
    os.environ["ELMAN_STATE"] = str(tmp_path_factory.mktemp("state"))
    os.environ["ELMAN_CACHE"] = str(_cache(tmp_path_factory))


@pytest.fixture(scope="session")
def trained(own_state: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`trained(kind, paths, **options)`: the run folder of that training, made once for all tests. No test changes
    it."""
    runs = dict[str, Path]()

    def run(kind: str, paths: str | Path, **options: Any) -> Path:
        key = repr((kind, str(paths), sorted(options.items())))
        if key not in runs:
            runs[key] = tmp_path_factory.mktemp("trained") / "run"
            train(kind, paths, out=runs[key], **options)
        return runs[key]

    return run


@pytest.fixture(scope="session")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 400 characters. No test changes it."""
    path = tmp_path_factory.mktemp("prose") / "text.txt"
    path.write_text(trainings.prose(400))
    return path


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Done(NamedTuple):
    """A command that has ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def short_inspection() -> Iterator[None]:
    """Less generated text, at fewer positions: the same code in a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elman.inspect.interventions.LENGTH", 200)
        patch.setattr("elman.inspect.markov.LENGTH", 100)
        patch.setattr("elman.inspect.markov.POSITIONS", 200)
        yield


@pytest.fixture
def elman(in_process: Callable[..., Done]) -> Callable[..., Done]:
    """`elman WORDS` in this process."""
    return in_process


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`elman WORDS` in this process, standard input a file."""

    def call(*words: object, stdin: str | os.PathLike[str] = os.devnull) -> Done:
        with open(stdin, encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            monkeypatch.setattr(sys, "argv", ["elman", *map(str, words)])
            capsys.readouterr()
            try:
                code = app.main()
            except SystemExit as end:  # of a command that went well
                code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elman]:
    """`elman WORDS`, in a process of its own."""
    made = Elman(tmp_path_factory.mktemp("elman"))
    (made.folder / "cache").mkdir()
    (made.folder / "cache" / "kernels").symlink_to(_kernels(tmp_path_factory))
    yield made
    made.close()
