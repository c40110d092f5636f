"""The run folder: whole or refused, wherever it lies, and never the worse for what happens to the disk."""

import errno
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from torch.testing import assert_close

from elman.cells.stored_cell import StoredCell
from elman.decode.sampling import Sampling
from elman.errors import UserError
from elman.files import seal, unseal
from elman.tasks.lm import LMOptions
from elman.training.api import load, train
from elman.training.device import Precision
from elman.training.evaluate import evaluate
from elman.training.options import TrainOptions
from elman.training.run import Run, all_runs, free_path
from elman.training.run_config import RunConfig
from elman.training.tensor_file import pack, unpack
from user_errors import fails

GREEDY = Sampling(greedy=True)
TINY = {
    "hidden": 8, "embedding": 8, "batch_size": 4, "seq_len": 8, "steps": 8, "eval_every": 3, "valid": 0.25,
    "preview": False, "precision": "float32", "device": "cpu",
}  # fmt: skip
TEXT = "the cat sat on a mat and saw two dogs run by, " * 8
BEST, LAST = ("config.json", "model.safetensors"), ("resume/config.json", "resume/model.safetensors")
REST = ("resume/optimizer.safetensors", "resume/state.safetensors", "resume/training.json")
FILES = (*BEST, *LAST, *REST)
some = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and its text beside it. Nobody changes it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(folder / "cache"))
        train("lm", folder / "text.txt", out=folder / "run", **TINY)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="module")
def damaged(trained, tmp_path_factory):
    """A copy for many small damages in a row, each of them undone."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("damaged") / "run"))


@pytest.fixture(scope="module")
def whole_content(trained):
    """What each file of the run holds."""
    return {name: use(trained, name) for name in FILES}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(model):
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def use(run, name):
    """Reads that file of a run; returns the weights and the configuration that result."""
    if name in REST:
        return Run.open(run).load_resume(), None
    model = load(run, weights="best" if name in BEST else "last")
    return weights(model), model.run.config


def refused(run, name):
    """The one line that refuses a damaged file. It names the file, and the copy that is whole can be used."""
    other = "last" if name in BEST else "best"
    fails(lambda: use(run, name), str(run / name), f"`weights` {other}")
    return other


# where it lies


def test_a_run_needs_two_files_to_be_loaded(trained, tmp_path):
    for name in BEST:
        shutil.copy(trained / name, tmp_path / name)
    model = load(tmp_path)
    assert same(weights(model), weights(load(trained)))
    assert model.sample("the", 20, sampling=GREEDY) == load(trained).sample("the", 20, sampling=GREEDY)


def test_a_run_that_was_moved_loads_from_any_working_folder_and_is_resumed(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "else" / "where"
    home.mkdir()
    elsewhere.mkdir(parents=True)
    (home / "text.txt").write_text(TEXT)
    monkeypatch.chdir(home)
    before = weights(train("lm", "text.txt", out="run", **TINY))
    shutil.move(home / "run", elsewhere / "moved")
    monkeypatch.chdir(elsewhere)
    assert same(weights(load("moved")), before)
    monkeypatch.chdir(tmp_path)
    assert train("lm", resume=elsewhere / "moved", steps=3).path == elsewhere / "moved"
    assert json.loads((elsewhere / "moved" / "summary.json").read_text())["steps"] == 11


def test_a_model_keeps_its_cell_when_the_file_it_came_from_is_gone(tmp_path):
    own, text = tmp_path / "my_cell.py", tmp_path / "text.txt"
    own.write_text(
        "import torch\nimport elman\n\nclass Mine(elman.Cell):\n    gates = ('f', 'n')\n    strength: float = 0.5\n\n"
        "    @property\n    def start(self):\n        return {'f': 1.0, 'p_n': 0.25}\n\n"
        "    def step(self, x, h):\n"
        "        f = torch.sigmoid(x.f + self.recur('f', of=h).f) * self.strength\n"
        "        n = torch.tanh(x.n + self.recur('n', of=f * h).n + self.p_n * h)\n"
        "        return ((1 - f) * h + f * n,)\n"
    )
    text.write_text(TEXT)
    options = TINY | {"cell": f"{own}:Mine:strength=0.75", "layers": 2}
    model = train("lm", text, out=tmp_path / "run", **options)
    whole = train("lm", text, out=tmp_path / "whole", **(options | {"steps": 5}))
    whole = train("lm", resume=tmp_path / "whole", steps=4)
    train("lm", text, out=tmp_path / "other", **(options | {"steps": 5}))
    own.unlink()
    loaded = load(tmp_path / "run")
    assert same(weights(loaded), weights(model))
    batch = model.task.source(model.spec, [str(text)], "train").batch(0, 0)
    assert_close(loaded.model(batch).mean, model.model(batch).mean, rtol=0, atol=0)
    assert loaded.sample("the", 30, seed=1) == model.sample("the", 30, seed=1)
    assert same(weights(train("lm", resume=tmp_path / "other", steps=4)), weights(whole))


MODE_CELLS = (
    "import torch\nimport elman\n\n"
    "class InMode(elman.Cell):\n    gates = ('n',)\n\n"
    "    def step(self, x, h):\n"
    "        n = x.n * 2 if self.training else x.n\n"
    "        return (torch.tanh(n + self.recur('n', of=h).n),)\n\n\n"
    "class Dropping(elman.Cell):\n    gates = ('n',)\n\n"
    "    def step(self, x, h):\n"
    "        n = torch.nn.functional.dropout(x.n, 0.5, training=self.training)\n"
    "        return (torch.tanh(n + self.recur('n', of=h).n),)\n"
)


@pytest.mark.parametrize("name", ["InMode", "Dropping"])
@pytest.mark.parametrize("backend", ["auto", pytest.param("loop", marks=pytest.mark.slow)])
def test_a_cell_that_depends_on_the_mode_has_one_validation_loss(name, backend, tmp_path):
    (tmp_path / "cells.py").write_text(MODE_CELLS)
    (tmp_path / "text.txt").write_text(TEXT)
    cell, out = f"{tmp_path}/cells.py:{name}", tmp_path / "run"
    train("lm", tmp_path / "text.txt", out=out, cell=cell, backend=backend, **TINY)
    wanted = json.loads((out / "summary.json").read_text())["val_loss"]
    model = load(out, cell=cell) if name == "Dropping" else load(out)
    source = model.task.source(model.spec, [str(tmp_path / "text.txt")], "valid")
    assert evaluate(model.model, source, Precision(torch.float32, "")).loss == pytest.approx(wanted, rel=1e-6)


def test_a_run_whose_cell_could_not_be_traced_asks_for_its_code(tmp_path):
    (tmp_path / "cells.py").write_text(MODE_CELLS)
    (tmp_path / "text.txt").write_text(TEXT)
    cell, out = f"{tmp_path}/cells.py:Dropping", tmp_path / "run"
    model = train("lm", tmp_path / "text.txt", out=out, cell=cell, **TINY)
    assert str(tmp_path / "cells.py") not in (out / "config.json").read_text()
    for call in (lambda: load(out), lambda: train("lm", resume=out, steps=1)):
        with pytest.raises(UserError, match=r"Dropping of this run could not be traced.*FILE\.py:Dropping"):
            call()
    with pytest.raises(UserError, match=r"FILE\.py:Dropping"):
        load(out, cell="lstm")
    assert same(weights(load(out, cell=cell)), weights(model))
    assert train("lm", resume=out, steps=1, cell=cell).path == out


@pytest.mark.parametrize(
    "cell", ["FILE:Evil", {"name": "FILE:Evil"}, {"name": "Evil", "file": "FILE:Evil", "options": {}}], ids=str
)
def test_no_code_is_run_that_a_run_names(run, tmp_path, cell):
    evil = tmp_path / "evil.py"
    evil.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    cell = json.loads(json.dumps(cell).replace("FILE", str(evil)))
    for folder in (run, run / "resume"):
        config = unseal(folder / "config.json")
        config["spec"]["options"]["cell"] = cell
        (folder / "config.json").write_bytes(seal(config))
    for call in (lambda: load(run), lambda: train("lm", resume=run, steps=1)):
        with suppress(UserError):
            call()
    assert not (tmp_path / "ran").exists()


def test_all_that_is_needed_to_read_and_write_text_is_in_the_configuration(tmp_path):
    (tmp_path / "text.txt").write_text("äöü ßÆ — 漢字かな 🙂 " * 40)
    train("lm", tmp_path / "text.txt", out=tmp_path / "run", **TINY)
    (tmp_path / "text.txt").unlink()
    model = load(tmp_path / "run")
    assert set(model.sample("漢字", 50, seed=0)) <= set("äöü ßÆ — 漢字かな 🙂 ")
    assert unseal(tmp_path / "run" / "config.json")["spec"]["options"]["hidden"] == 8


def test_a_run_that_was_made_by_one_is_made_again_by_its_options(trained, tmp_path):
    config = load(trained).run.config
    options = {**config.spec["options"], **config.training}
    options["cell"] = StoredCell.from_json(options["cell"])
    defaults = {field.name: field.default for kind in (LMOptions, TrainOptions) for field in fields(kind)}
    changed = {name: value for name, value in options.items() if value != defaults[name]}
    train("lm", trained.parent / "text.txt", out=tmp_path / "again", **changed)
    for name in ("model.safetensors", "resume/optimizer.safetensors"):
        assert (trained / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_no_pickle_is_read_or_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a pickle")

    (tmp_path / "text.txt").write_text(TEXT)
    for where, names in ((pickle, ("load", "loads", "dump", "dumps")), (torch, ("load", "save"))):
        for name in names:
            monkeypatch.setattr(where, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    train("lm", tmp_path / "text.txt", out=tmp_path / "run", **TINY)
    train("lm", resume=tmp_path / "run", steps=3)
    load(tmp_path / "run").sample("the", 5, seed=0)
    load(tmp_path / "run", weights="last")
    kinds = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert kinds == {".json", ".jsonl", ".safetensors"}


def test_training_leaves_nothing_else_in_the_folder(trained):
    assert set(contents(trained)) == {*FILES, "log.jsonl", "summary.json"}


# what is damaged

SHARES = [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_refused_by_name_and_the_other_copy_is_whole(run, name):
    whole = (run / name).read_bytes()
    for length in sorted({int(share * len(whole)) for share in SHARES} | {1, 7, 8, 9, len(whole) - 1}):
        (run / name).write_bytes(whole[:length])
        load(run, weights=refused(run, name))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_is_refused_by_name_and_the_other_copy_is_whole(run, name):
    (run / name).unlink()
    load(run, weights=refused(run, name))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_something_else_is_refused_by_name(run, name):
    for other in (b"", b"\0" * 5000, b"[]", b"{}", b"3", b"null", b"\xff\xfe{}", os.urandom(3000), b"{" * 5000):
        (run / name).write_bytes(other)
        load(run, weights=refused(run, name))


@pytest.mark.parametrize(
    "name", [BEST[1], LAST[1], REST[0], REST[1]])  # fmt: skip
def test_tensors_of_other_sizes_are_refused_though_their_file_is_whole(run, trained, name):
    tensors, about = unpack(run / name)
    grown = {key: torch.cat([value.flatten(), value.flatten()]) for key, value in tensors.items()}
    (run / name).write_bytes(pack(grown, about))
    if name in REST:
        with pytest.raises(UserError):
            train("lm", trained.parent / "text.txt", resume=run, steps=1)
    else:
        with pytest.raises(UserError):
            use(run, name)


def flip(run, name, at, change, expected):
    """Changes one byte; now the file is refused, or means exactly what it meant. Puts it back."""
    whole = (run / name).read_bytes()
    altered = bytearray(whole)
    altered[at % len(whole)] ^= change
    (run / name).write_bytes(altered)
    found, line = None, ""
    try:
        found = use(run, name)
    except UserError as error:
        line = str(error)
    finally:
        (run / name).write_bytes(whole)
    if found is None:
        assert str(run / name) in line
        assert "\n" not in line
    else:
        assert same_meaning(found, expected), (name, at % len(whole), change)


def same_meaning(found, expected):
    if isinstance(expected[0], dict):
        return same(found[0], expected[0]) and found[1] == expected[1]
    ours, theirs = (vars(each[0]) for each in (found, expected))
    tensors = ("model", "optimizer", "state")
    return all(same(ours[kind], theirs[kind]) for kind in tensors) and all(
        ours[kind] == theirs[kind] for kind in ("progress", "random")
    )


@settings(some, max_examples=200)
@given(name=st.sampled_from(FILES), at=st.integers(0, 10**6), change=st.integers(1, 255))
def test_a_single_byte_that_was_altered_is_noticed(damaged, whole_content, name, at, change):
    flip(damaged, name, at, change, whole_content[name])


def test_an_altered_byte_in_the_description_of_the_weights_is_noticed(damaged):
    length = int.from_bytes((damaged / "model.safetensors").read_bytes()[:8], "little")
    expected = use(damaged, "model.safetensors")
    for at in range(0, 8 + length, 3):
        flip(damaged, "model.safetensors", at, 1, expected)


def test_the_metadata_of_the_weights_is_part_of_the_digest(run):
    whole = (run / "model.safetensors").read_bytes()
    at = whole.index(b'"step') if b'"step' in whole else whole.index(b"step")
    digit = next(i for i in range(at, at + 40) if whole[i : i + 1].isdigit())
    altered = bytearray(whole)
    altered[digit] ^= 1
    (run / "model.safetensors").write_bytes(altered)
    with pytest.raises(UserError, match="altered"):
        unpack(run / "model.safetensors")


def test_a_damaged_resumable_state_is_not_written_over(run, trained):
    (run / "resume" / "state.safetensors").write_bytes(b"nothing")
    before = contents(run)
    with pytest.raises(UserError, match=r"state\.safetensors.*`weights` best"):
        train("lm", trained.parent / "text.txt", resume=run, steps=3)
    assert contents(run) == before


def test_weights_are_not_thrown_away_when_the_resumable_state_is_gone(run, trained):
    shutil.rmtree(run / "resume")
    before = contents(run)
    with pytest.raises(UserError, match="resume"):
        train("lm", trained.parent / "text.txt", resume=run, steps=3)
    assert contents(run) == before


kinds = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
tensors = st.builds(
    lambda shape, kind, seed: torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(kind),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(kinds),
    st.integers(0, 9),
)


@some
@given(st.dictionaries(st.text(min_size=1, max_size=5), tensors, max_size=4))
@example({"a": torch.tensor(2.5), "a.b": torch.ones(3, 4).t(), "ä": torch.ones(2, 3)[:, 1]})
def test_tensors_come_back_as_they_were_packed(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "tensors.safetensors"
    path.write_bytes(pack(values, {"step": 3}))
    found, about = unpack(path)
    assert about == {"step": 3}
    assert same(found, values)
    assert {name: value.dtype for name, value in found.items()} == {n: value.dtype for n, value in values.items()}
    assert pack(found, about) == path.read_bytes()


# what is no run, or not one of ours


USES = {
    "load": load,
    "load the last": lambda run: load(run, weights="last"),
    "resume": lambda run: train("lm", resume=run, steps=3),
}


@pytest.mark.parametrize("how", USES)
@pytest.mark.parametrize(
    ("step", "words"),
    [
        (1, r"format 3 by elman 9\.8\.7; this elman reads 2: pip install --upgrade"),
        (-1, "format 1 .*reads 2: train it"),
    ],
)
def test_a_run_of_another_format_is_refused_with_a_remedy(run, how, step, words):
    for name in ("config.json", "resume/config.json"):
        config = unseal(run / name)
        (run / name).write_bytes(seal(config | {"format": config["format"] + step, "elman": "9.8.7"}))
    before = contents(run)
    with pytest.raises(UserError, match=words):
        USES[how](run)
    assert contents(run) == before


@pytest.mark.parametrize("weights", ["best", "last"])
def test_a_folder_or_a_file_that_is_no_run_is_refused(tmp_path, weights):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("folder", "file"):
        with pytest.raises(UserError, match=rf"{name}.* is not a run.*config\.json"):
            load(tmp_path / name, weights=weights)
    assert contents(tmp_path) == {"file": b"text"}


def test_for_a_run_that_does_not_exist_the_nearest_is_named(tmp_path, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="runs/lm-shakespear"):
        load("runs/lm-shakespear")
    for name in ("lm-shakespeare", "lm-linux", "x"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    near = (("runs/lm-shakespear", "runs/lm-shakespeare"), ("lm-linux", "runs/lm-linux"), ("x", "runs/x"))
    for given_, meant in near:
        with pytest.raises(UserError, match=f"{given_}.*did you mean '{meant}'"):
            load(given_)
    with pytest.raises(UserError, match="runs/lm-linux, runs/lm-shakespeare, runs/x"):
        load("zzz")


def test_runs_get_free_names(tmp_path, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert free_path("lm-a") == Path("runs/lm-a")
    for name in ("lm-a", "lm-a-2"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    assert free_path("lm-a") == Path("runs/lm-a-3")
    assert all_runs() == [Path("runs/lm-a"), Path("runs/lm-a-2")]


@pytest.mark.parametrize("kind", ["a run", "a folder", "an empty folder", "a file"])
def test_what_stands_at_out_is_refused_and_untouched(tmp_path, trained, kind):
    out = tmp_path / "out"
    if kind == "a run":
        shutil.copytree(trained, out)
    elif kind == "a file":
        out.write_text("mine")
    else:
        out.mkdir()
        if kind == "a folder":
            (out / "mine").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=f"{out} exists.*`out`.*`resume`"):
        train("lm", trained.parent / "text.txt", out=out, **TINY)
    with pytest.raises(UserError, match=f"{out} exists"):  # also one that was made while the text was read
        Run.create(out, RunConfig(kind="lm", spec={}, paths=[], key="0" * 32, training={}))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": 16}, ("`hidden` 16", "8")),
        ({"cell": "gru"}, ("cell", "gru", "lstm")),
        ({"seq_len": 9}, ("`seq_len` 9", "8")),
        ({"tokens": "byte"}, ("`tokens` byte", "default")),
        ({"seed": 3}, ("`seed` 3", "0")),
    ],
)
def test_a_run_is_not_resumed_as_another(run, trained, options, words):
    before = contents(run)
    with pytest.raises(UserError) as raised:
        train("lm", trained.parent / "text.txt", resume=run, steps=3, **options)
    assert all(word in str(raised.value) for word in words)
    assert contents(run) == before


def test_a_run_is_not_resumed_with_another_text(run, trained, tmp_path):
    (tmp_path / "same.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text(TEXT[:-1] + "x")
    before = contents(run)
    with pytest.raises(UserError, match=r"other\.txt is not the data"):
        train("lm", tmp_path / "other.txt", resume=run, steps=3)
    assert contents(run) == before
    train("lm", tmp_path / "same.txt", resume=run, steps=3)  # by its content, not its name


def test_a_run_whose_text_was_changed_since_is_not_resumed(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    train("lm", text, out=tmp_path / "run", **TINY)
    text.write_text(TEXT + "More.")
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=r"text\.txt is not the data"):
        train("lm", resume=tmp_path / "run", steps=3)
    text.unlink()
    with pytest.raises(UserError, match=r"text\.txt does not exist"):
        train("lm", resume=tmp_path / "run", steps=3)
    assert contents(tmp_path / "run") == before


# a full disk


def full_from(patch, operation):
    """The disk is full from that write on."""
    count = itertools.count(1)

    def fsync(_):
        if next(count) >= operation:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "fsync", fsync)


def refusal(action):
    """The line with which an action is refused; nothing when it is not."""
    try:
        action()
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "writes", [(1, 6, 13, 19, 25, 999), pytest.param(range(1, 999), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_disk_that_is_full_at_a_write_leaves_what_was_saved(tmp_path, trained, writes):
    text, unbroken = trained.parent / "text.txt", tmp_path / "unbroken"
    train("lm", text, out=unbroken, **TINY)  # the encoded text is in the cache from here on
    for write in writes:
        run = tmp_path / f"full-{write}"
        with pytest.MonkeyPatch.context() as patch:
            full_from(patch, write)
            line = refusal(lambda run=run: train("lm", text, out=run, **TINY))
        if line is None:
            break
        assert "cannot write" in line
        assert "No space left" in line
        if (run / "model.safetensors").exists():
            load(run)
            load(run, weights="last")
        state = run / "resume" / "training.json"
        if (run / "config.json").exists() and not (state.exists() and unseal(state)["progress"]["finished"]):
            train("lm", resume=run)
            for name in ("model.safetensors", "resume/model.safetensors", "resume/optimizer.safetensors"):
                assert (run / name).read_bytes() == (unbroken / name).read_bytes(), (name, write)
    assert write > 25


def test_a_disk_that_is_full_at_once_leaves_no_folder(tmp_path, trained):
    text = trained.parent / "text.txt"
    train("lm", text, out=tmp_path / "first", **TINY)
    with pytest.MonkeyPatch.context() as patch:
        full_from(patch, 1)
        with pytest.raises(UserError, match="cannot write"):
            train("lm", text, out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


FILLING = """
import json, resource, signal, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from elman.cli.app import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit, words in json.loads(sys.argv[1]).items():
    updates = []

    def fill(*_):
        updates.append(1)
        if len(updates) == 5:  # from now on no file may be longer
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), most))

    hook = register_optimizer_step_post_hook(fill)
    sys.argv[1:] = words
    code = main()
    hook.remove()
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    print("code", code)
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_is_one_line_and_leaves_what_was_saved(tmp_path, trained):
    """The real thing: the system refuses to write more than so many bytes."""
    text, limits = trained.parent / "text.txt", (0, 3000, 9000)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "preview"]
    commands = {
        limit: ["train", "lm", str(text), "--out", str(tmp_path / f"full-{limit}"), "--no-preview", *options]
        for limit in limits
    }
    done = subprocess.run([sys.executable, "-c", FILLING, json.dumps(commands)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 2"] * 3
    lines = done.stderr.splitlines()
    assert len(lines) == 3, done.stderr
    assert all("cannot write" in line and "too large" in line for line in lines)
    for limit in limits:
        run = tmp_path / f"full-{limit}"
        for which in ("best", "last"):
            load(run, weights=which)
        train("lm", resume=run)
        for name in ("model.safetensors", "resume/optimizer.safetensors", "resume/state.safetensors"):
            assert (run / name).read_bytes() == (trained / name).read_bytes(), (limit, name)
