"""Run folders from somebody else: whatever they hold, a verb ends with one line, runs no code of theirs, and opens,
writes and fetches nothing outside."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
import torch
from _pytest.capture import CaptureIO
from hypothesis import HealthCheck, given, settings
from torch import nn

from elman.errors import UserError
from elman.files import seal, unseal
from elman.printable import one_line, printable
from elman.schema import from_json
from elman.tasks.vision import ResidualEncoder, TimmEncoder
from elman.training import run as runs
from elman.training.api import load, train
from elman.training.progress import Progress
from elman.training.random_states import RandomStates
from elman.training.run import LOGGED, Checkpoint, Run, open_all
from elman.training.run_config import RunConfig
from elman.training.schedule import Schedule
from elman.training.tensor_file import pack, unpack

some = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
KEY = "0123456789abcdef" * 2
pytestmark = pytest.mark.usefixtures("short_inspection")


@dataclass(frozen=True)
class Hidden:
    """A Spec."""

    hidden: int


def network():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def config(**changes):
    about = {"kind": "lm", "spec": {"hidden": 2}, "training": {}, "paths": ["a.txt"], "key": KEY}
    return RunConfig(**(about | changes))


def make(folder):
    """A whole run of a small network."""
    run, model = Run.create(folder, config()), network()
    run.save_model(model.state_dict(), {"step": 3, "val_loss": 0.5})
    progress = Progress(Schedule("steps", 3.0), step=3)
    run.save_resume(
        Checkpoint(dict(model.state_dict()), {}, {"state.0.0": torch.zeros(1, 2)}, progress, RandomStates.record())
    )
    run.log(dict.fromkeys(LOGGED, 0.5) | {"step": 3})
    run.save_summary({"val_loss": 0.5, "parameters": 8})
    return folder


def reseal(path, **changes):
    """Changes fields of a sealed file, as anybody can: the digest is no signature."""
    path.write_bytes(seal(unseal(path) | changes))


def use(folder):
    """Everything that is read from a run."""
    for which in ("best", "last"):
        run = Run.open(folder, which)
        run.spec(Hidden)
        run.build(network, which)
    run.load_resume().random.restore("f")
    run.read_log()
    run.trim_log(2)
    run.summary()


@pytest.fixture
def stranger(tmp_path):
    return make(tmp_path / "runs" / "stranger")


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "secret"


@pytest.fixture(autouse=True)
def quick(request):
    """No test takes long; of a fuzzer, no example."""
    began, computed = time.monotonic(), time.process_time()
    yield
    if not hasattr(request.function, "hypothesis"):
        assert time.process_time() - computed < 10
        assert time.monotonic() - began < 60  # other processes may run


def refuses(folder, *words):
    with pytest.raises(UserError) as raised:
        use(folder)
    line = str(raised.value)
    assert "\n" not in line
    assert len(line) < 500
    assert str(folder) in line
    assert all(word in line for word in words), line
    return line


def test_a_whole_run_is_read(stranger):
    use(stranger)


# the configuration


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": 3}, ["kind 3 must be of type str"]),
        ({"kind": None}, ["kind"]),
        ({"spec": []}, ["spec [] must be an object"]),
        ({"spec": {"hidden": "2"}}, ["spec.hidden '2' must be of type int"]),
        ({"spec": {"hidden": True}}, ["spec.hidden True must be of type int"]),
        ({"spec": {"hidden": 10**10}}, ["spec.hidden 10000000000 must be from"]),
        ({"spec": {"hidden": 2, "__class__": 1}}, ["spec.__class__ is no field"]),
        ({"spec": {}}, ["spec.hidden is missing"]),
        ({"data": {"paths": ["a"], "key": "../../etc"}}, ["data.key '../../etc' must be 32 hexadecimal digits"]),
        ({"data": {"paths": ["a"], "key": KEY + "/"}}, ["data.key"]),
        ({"data": {"paths": ["a"], "key": KEY[:-1] + "\n"}}, ["data.key"]),
        ({"data": {"paths": ["a"], "key": KEY.upper()}}, ["data.key"]),
        ({"data": {"paths": "a", "key": KEY}}, ["data.paths 'a' must be a list"]),
        ({"data": {"paths": [3], "key": KEY}}, ["data.paths[0] 3 must be of type str"]),
        ({"data": {"paths": ["a"], "key": KEY, "tokens": {}}}, ["data.tokens is no field"]),
        ({"elman": ["2.0"]}, ["elman ['2.0'] must be of type str"]),
        ({"options": {}}, ["options is no field"]),
        ({"format": 1}, ["format 1", "this elman reads 2: train it again"]),
        ({"format": 3, "elman": "9.8.7"}, ["format 3 by elman 9.8.7", "pip install --upgrade elman"]),
        ({"format": "2"}, ["format '2'"]),
        ({"format": [[]] * 100}, ["format [["]),
        ({"format": None, "elman": "\x1b" * 1000}, ["format None"]),
    ],
)
def test_a_field_of_another_type_is_named(stranger, changes, words):
    reseal(stranger / "config.json", **changes)
    refuses(stranger, *words)


def nested(levels):
    return b'{"spec": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    "name", ["config.json", "summary.json", "resume/training.json", "resume/config.json", "log.jsonl"]
)
@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"3", b"\xff", nested(100), nested(100_000), b"[" * 100_000, b"[" + b"[]," * 5_000_000 + b"1]"],
)
def test_a_document_of_something_else_is_one_line(stranger, name, content):
    (stranger / name).write_bytes(content + b"\n")
    if name == "log.jsonl" and not content:
        content = b"[]"
    refuses(stranger, name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=10,
)


def spots(value, path=()):
    """The way to every value of a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from spots(item, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = changed(value[key], rest, new)
    return copy


@settings(some, max_examples=80)
@given(st.data())
@pytest.mark.parametrize("name", ["config.json", "resume/training.json"])
def test_any_value_in_any_field_is_read_or_refused_in_one_line(tmp_path_factory, name, data):
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    if not folder.exists():
        make(folder)
    path = folder / name
    whole, content = path.read_bytes(), unseal(path)
    spot = data.draw(st.sampled_from([spot for spot in spots(content) if len(spot) < 4 or spot[-1] in (0, 623, 624)]))
    value = changed(content, spot, data.draw(json_values))
    path.write_bytes(seal(value) if isinstance(value, dict) else json.dumps(value).encode())
    states = RandomStates.record()
    try:
        use(folder)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may also fit
    finally:
        path.write_bytes(whole)
        states.restore("f")


# random states


def test_the_random_states_are_restored(stranger):
    states = Run.open(stranger).load_resume().random
    states.restore("f")
    assert RandomStates.record() == states


@pytest.mark.parametrize(
    ("generator", "at", "value"),
    [
        ("numpy", (2,), 625),  # the position: beyond it the generator reads outside of its memory
        ("numpy", (2,), -1),
        ("numpy", (2,), 10**9),
        ("numpy", (0,), "PCG64"),
        ("numpy", (1,), [1] * 623),
        ("numpy", (1, 5), 2**32),
        ("numpy", (1, 5), -1),
        ("python", (1, 624), 625),
        ("python", (1, 624), -1),
        ("python", (1,), []),
        ("python", (0,), 2),
        ("torch", (), ""),
        ("torch", (), "00" * 5056),
        ("torch", (), "ff" * 5056),
        ("torch", (), "xyz"),
        ("torch", (), "0" * 5057),
        ("cuda", (), ["00" * 10_000]),
        ("cuda", (), ["00"] * 2000),
    ],
)
def test_a_state_that_no_generator_has_is_refused(stranger, generator, at, value):
    path = stranger / "resume" / "training.json"
    states = unseal(path)["random"]
    reseal(path, random=changed(states, (generator, *at), value))
    states = RandomStates.record()
    with pytest.raises(UserError, match="random"):
        use(stranger)
    states.restore("f")


# tensors


def header(entries, about=None, size=0, length=None):
    """A safetensors file by its header."""
    metadata = {"__metadata__": {"elman": json.dumps(about or {"about": {}, "digest": "x"})}}
    text = json.dumps(metadata | entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(size)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD_TENSORS = {
    "a size that is not that of the shape": header({"a": entry(shape=(3,))}, size=8),
    "a product that overflows": header({"a": entry(shape=(2**31, 2**31, 2**31))}, size=8),
    "a negative size": header({"a": entry(shape=(-1, -2))}, size=8),
    "a negative offset": header({"a": entry(offsets=(-8, 0))}, size=8),
    "offsets beyond the file": header({"a": entry(offsets=(800, 808))}, size=8),
    "more bytes than tensors": header({"a": entry()}, size=9),
    "an unknown type": header({"a": entry(dtype="O")}, size=8),
    "a complex type": header({"a": entry(dtype="C64", shape=(1,))}, size=8),
    "no metadata": header({"a": entry(), "__metadata__": {}}, size=8),
    "metadata of another type": header({"a": entry(), "__metadata__": {"elman": "[1]"}}, size=8),
    "metadata that is nested": header({"a": entry(), "__metadata__": {"elman": "[" * 100_000}}, size=8),
    "an unknown field": header({"a": entry() | {"path": "/etc/passwd"}}, size=8),
    "a long header": header({}, length=2**40),
    "a header beyond the file": header({}, length=10**6),
    "many dimensions": header({"a": entry(shape=(1,) * 9 + (2,))}, size=8),
    "many tensors": header({f"t{number}": entry(shape=(0,), offsets=(0, 0)) for number in range(100_001)}),
    "a boolean that is 2": None,
}


@pytest.mark.parametrize("what", BAD_TENSORS)
@pytest.mark.parametrize("name", ["model.safetensors", "resume/model.safetensors", "resume/optimizer.safetensors"])
def test_a_header_that_does_not_fit_is_refused(stranger, what, name):
    content = BAD_TENSORS[what]
    if content is None:
        content = pack({"a": torch.tensor([True, False])}, {})[:-2] + b"\x02\x00"
    (stranger / name).write_bytes(content)
    refuses(stranger, name)


def test_a_file_of_a_terabyte_is_not_read(stranger):
    for name in ("summary.json", "log.jsonl", "model.safetensors", "config.json"):
        with (stranger / name).open("wb") as file:
            file.truncate(2**40)
        refuses(stranger, name, "too large")


def test_sizes_that_the_weights_do_not_have_take_no_memory(stranger):
    run = Run.open(stranger)
    with pytest.raises(UserError, match=r"model\.safetensors does not fit the model of config\.json"):
        run.build(lambda: nn.Linear(10**9, 10**9))
    assert torch.equal(run.build(network).weight, network().weight)


# what is no regular file


LINKS = ["config.json", "model.safetensors", "resume/config.json", "resume/training.json", "resume/state.safetensors",
         "log.jsonl", "summary.json", "resume"]  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("kind", ["a link", "a link to nothing", "a FIFO", "a folder", "a device", "a link within"])
def test_what_is_no_regular_file_is_refused_at_once(stranger, tmp_path, secret, name, kind):
    path = stranger / name
    moved = tmp_path / "moved"
    path.rename(moved)
    if kind == "a link":
        path.symlink_to(moved)  # whole, but elsewhere
    elif kind == "a link to nothing":
        path.symlink_to(tmp_path / "nothing")
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder" and name != "resume":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a link within" and name != "resume":
        moved.rename(stranger / "other")
        path.symlink_to("other")
    if kind == "a link to nothing" and name in ("log.jsonl", "summary.json"):
        use(stranger)  # there is none
        return
    refuses(stranger)
    assert secret.read_bytes() == b"secret"


def test_nothing_is_written_through_a_link(stranger, tmp_path, secret):
    (tmp_path / "elsewhere").mkdir()
    run = Run.open(stranger)
    for name in (".resume.new", ".resume.old", "config.json", "model.safetensors", "summary.json"):
        (stranger / name).unlink(missing_ok=True)
        (stranger / name).symlink_to(secret)
    (stranger / "previews").symlink_to(tmp_path / "elsewhere")
    run.save_model(network().state_dict(), {})
    run.save_resume(replace(run.load_resume()))
    run.save_summary({})
    with pytest.raises(UserError, match="previews is a link"):
        run.save_preview("1.png", b"x")
    (stranger / "log.jsonl").unlink()
    (stranger / "log.jsonl").symlink_to(secret)
    with pytest.raises(UserError, match=r"log\.jsonl"):
        run.log({"step": 1})
    with pytest.raises(UserError, match=r"log\.jsonl is a link"):
        run.trim_log(1)
    assert secret.read_bytes() == b"secret"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_previews_are_kept_in_their_folder(stranger):
    path = Run.open(stranger).save_preview("step-3.png", b"x")
    assert path == stranger / "previews" / "step-3.png"
    assert path.read_bytes() == b"x"


# whose run it is


def test_the_paths_of_a_run_that_was_made_here_are_known(stranger, monkeypatch, tmp_path):
    run = Run.open(stranger)
    assert run.trusted()
    assert run.data_paths() == ["a.txt"]
    stranger.rename(tmp_path / "moved")
    assert Run.open(tmp_path / "moved").trusted()
    monkeypatch.setenv("ELMAN_STATE", str(tmp_path / "another user"))
    with pytest.raises(UserError, match=r"moved was not made on this machine: name its data with --text PATH"):
        Run.open(tmp_path / "moved").data_paths("--text PATH")


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"paths": ["/etc/passwd"], "key": KEY}},
        {"data": {"paths": ["a.txt", "/dev/zero"], "key": KEY}},
        {"data": {"paths": ["a.txt"], "key": KEY[::-1]}},
        {"spec": {"hidden": 3}},
    ],
)
def test_the_paths_of_a_run_that_was_made_elsewhere_are_not_opened(stranger, changes):
    reseal(stranger / "config.json", **changes)
    with pytest.raises(UserError, match="was not made on this machine"):
        Run.open(stranger).data_paths()


def test_a_run_is_made_though_it_cannot_be_recorded(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ELMAN_STATE", str(tmp_path / "file"))
    run = Run.create(tmp_path / "run", config())
    assert not run.trusted()


def test_a_bad_run_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "RUNS", Path("runs"))
    for name in "abcde":
        make(Path("runs") / name)
    reseal(Path("runs/a/config.json"), kind=[])
    (Path("runs/c") / "config.json").write_bytes(b"[" * 100_000)
    reseal(Path("runs/e/config.json"), format=1)
    found = dict(open_all())
    assert [path.name for path in found] == list("abcde")
    assert [isinstance(run, Run) for run in found.values()] == [False, True, False, True, False]


def test_a_key_that_is_no_key_is_refused_when_the_run_is_made(tmp_path):
    with pytest.raises(UserError, match=r"data\.key"):
        Run.create(tmp_path / "run", config(key="../x"))
    assert not (tmp_path / "run").exists()


def test_the_weights_come_back_with_their_step(stranger):
    tensors, about = unpack(stranger / "model.safetensors")
    assert about == {"step": 3, "val_loss": 0.5}
    assert torch.equal(tensors["weight"], network().weight)


# every kind of hostile folder, through every verb

TEXT = "the cat sat on a mat and saw two dogs run by, " * 8
TINY = {
    "hidden": 4, "embedding": 4, "batch_size": 4, "seq_len": 8, "steps": 2, "valid": 0.25, "preview": False,
    "precision": "float32", "device": "cpu", "backend": "loop",
}  # fmt: skip
CELL = """
import torch
import elman

class Mine(elman.Cell):
    gates = ("f", "n")

    def step(self, x, h):
        f = torch.sigmoid(x.f + self.recur("f", of=h).f)
        n = torch.tanh(x.n + self.recur("n", of=f * h).n)
        return ((1 - f) * h + f * n,)
"""
BIG = 10**9


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a user's own cell, its text, and its code."""
    folder = tmp_path_factory.mktemp("trained")
    for name, text in (("text.txt", TEXT), ("cell.py", CELL)):
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(folder / "cache"))
        train("lm", folder / "text.txt", out=folder / "run", cell=f"{folder}/cell.py:Mine", **TINY)
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """`copy/runs/x` is a copy of the run; `copy/outside` holds a secret and code."""
    shutil.copytree(trained / "run", tmp_path / "runs" / "x")
    shutil.copytree(trained / "run", tmp_path / "runs" / "y")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(TEXT)
    ran = tmp_path / "outside" / "ran"
    (tmp_path / "outside" / "evil.py").write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n{CELL}")
    shutil.copy(trained / "text.txt", tmp_path / "text.txt")
    return tmp_path


def edit(folder, **changes):
    """Changes both configurations: `spec__options__layers=3`."""
    for path in (folder / "config.json", folder / "resume" / "config.json"):
        value = unseal(path)
        for name, new in changes.items():
            parent = value
            *way, last = name.split("__")
            for key in way:
                parent = parent[key]
            parent[last] = new
        path.write_bytes(seal(value))


def with_config(**changes) -> Callable[[Path, Path], None]:
    """A folder whose configuration is changed; a text may name `OUT`, the folder outside."""

    def change(folder, outside):
        filled = json.loads(json.dumps(changes).replace("OUT", str(outside)))
        edit(folder, **filled)

    return change


def with_cell(change) -> Callable[[Path, Path], None]:
    """A folder whose graph is changed."""

    def apply(folder, outside):
        cell = unseal(folder / "config.json")["spec"]["options"]["cell"]
        change(cell["graph"])
        edit(folder, spec__options__cell=cell)

    return apply


def with_link(name, target) -> Callable[[Path, Path], None]:
    def apply(folder, outside):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            path.rename(outside / "moved")
        elif path.exists():
            path.unlink()
        if target == "FIFO":
            os.mkfifo(path)
        else:
            path.symlink_to(target.replace("OUT", str(outside)))

    return apply


def with_file(name, content) -> Callable[[Path, Path], None]:
    return lambda folder, outside: (folder / name).write_bytes(content)


def with_tensors(name, change) -> Callable[[Path, Path], None]:
    """A resumable state whose tensors are changed."""

    def apply(folder, outside):
        path = folder / "resume" / f"{name}.safetensors"
        tensors, about = unpack(path)
        path.write_bytes(pack(dict(change(*item) for item in tensors.items()), about))

    return apply


def with_weights(number) -> Callable[[Path, Path], None]:
    """Weights all of which are this number."""

    def apply(folder, outside):
        for path in (folder / "model.safetensors", folder / "resume" / "model.safetensors"):
            tensors, about = unpack(path)
            path.write_bytes(pack({name: torch.full_like(value, number) for name, value in tensors.items()}, about))

    return apply


def with_progress(**changes) -> Callable[[Path, Path], None]:
    def apply(folder, outside):
        path = folder / "resume" / "training.json"
        reseal(path, progress=unseal(path)["progress"] | {"finished": False} | changes)

    return apply


def op_of(graph, kind):
    return next(op for op in graph["ops"] if op[0] == kind)


def set_block(number):
    def change(graph):
        op_of(graph, "block")[2] = number

    return with_cell(change)


def set_ops(ops):
    return with_cell(lambda graph: graph.update(ops=ops(graph["ops"])))


def steering_tokens(folder, outside):
    """A vocabulary of the same size, whose letters steer a terminal."""
    letters = unseal(folder / "config.json")["spec"]["tokenizer"]["vocabulary"]
    edit(folder, spec__tokenizer__vocabulary=letters.translate(str.maketrans("acd", "\x1b\x9b\u202e")))


EVIL = "OUT/evil.py:Mine"
STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e[red]x[/red]"
HOSTILE = {
    # code
    "a cell that is a file": with_config(spec__options__cell=EVIL),
    "a cell whose name is a file": with_config(spec__options__cell={"name": EVIL, "options": {}}),
    "a cell with a file": with_config(spec__options__cell={"name": "Mine", "file": "OUT/evil.py", "options": {}}),
    "a cell that could not be traced, of a file": with_config(spec__options__cell={"name": EVIL, "untraceable": True}),
    "a cell that could not be traced": with_config(spec__options__cell={"name": "Mine", "untraceable": True}),
    "a kind that is a file": with_config(kind="OUT/evil.py"),
    "a kind that is a module": with_config(kind="os"),
    "a tokenizer that is a file": with_config(spec__tokenizer={"kind": "OUT/evil.py", "vocabulary": "abc"}),
    "a backend that is a file": with_config(spec__options__backend="OUT/evil.py"),
    # data
    "paths of a secret": with_config(data__paths=["OUT/secret.txt"]),
    "paths of a secret, its key": with_config(data__paths=["OUT/secret.txt"], data__key="0" * 32),
    "a path of a device": with_config(data__paths=["/dev/zero"]),
    "a path of another machine": with_config(data__paths=["hub:evil/data"]),
    "an address": with_config(data__paths=["http://evil/data.txt"]),
    "a key out of the cache": with_config(data__key="../../outside"),
    "an absolute key": with_config(data__key="OUT/secret"),
    "a key that is too short": with_config(data__key="abc"),
    "a pattern out of the folder": with_config(spec__options__pattern="../**/*"),
    "an absolute pattern": with_config(spec__options__pattern="/etc/*"),
    # graphs
    "a block before the first": set_block(-4),
    "a block after the last": set_block(4),
    "a block that is no number": set_block("0"),
    "an operand before the first": set_ops(lambda ops: [*ops, ["tanh", [-1], None]]),
    "an operand after the operation": set_ops(lambda ops: [["tanh", [3], None], *ops]),
    "too few operands": set_ops(lambda ops: [*ops, ["add", [0], None]]),
    "an unknown operation": set_ops(lambda ops: [*ops, ["__import__", [], "os"]]),
    "a product by another name": set_ops(lambda ops: [*ops, ["product", [0], ["__class__", "f"]]]),
    "a gate by another name": set_ops(lambda ops: [*ops, ["input", [], "__class__"]]),
    "a vector by another name": set_ops(lambda ops: [*ops, ["vector", [], "__dict__"]]),
    "an infinite constant": set_ops(lambda ops: [*ops, ["constant", [], 1e999]]),
    "many operations": set_ops(lambda ops: ops + [["tanh", [0], None]] * 10**4),
    "operations that are none": set_ops(lambda ops: {"a": 1}),
    "many gates": with_cell(lambda graph: graph.update(gates=[f"g{number}" for number in range(10**4)])),
    # sizes
    "a billion units": with_config(spec__hidden=BIG),
    "a billion layers": with_config(spec__options__layers=BIG),
    "a hundred layers": with_config(spec__options__layers=100),
    "a billion features": with_config(spec__embedding=BIG),
    "a negative size": with_config(spec__hidden=-4),
    "a depth of a billion": with_config(spec__options__cell={"name": "rhn", "options": {"depth": 2**31}}),
    "more tokens": with_config(spec__tokenizer={"kind": "char", "vocabulary": "".join(map(chr, range(256, 55000)))}),
    "a batch of a billion": with_config(spec__options__batch_size=BIG),
    "sequences of a billion": with_config(spec__options__seq_len=BIG),
    "a billion processes": with_config(training__workers=BIG),
    "a billion batches an update": with_config(training__accumulate=BIG),
    # types
    "a text for a number": with_config(spec__hidden="4"),
    "a number for a text": with_config(spec__seed_text=4),
    "a list for an object": with_config(spec=[]),
    "nothing for the options": with_config(spec__options=None),
    "nothing for the training": with_config(training=None),
    "a dropout of 5": with_config(spec__dropout=5.0),
    "an unknown field": with_config(spec__path="OUT/secret.txt"),
    "a hundred thousand levels": with_file("config.json", b'{"spec":' + b"[" * 100_000),
    "a hundred levels": with_file("config.json", b'{"spec":' + b"[" * 100 + b"]" * 100 + b"}"),
    "no JSON": with_file("config.json", b"\x80\x04K\x01."),
    "a summary of texts": with_file("summary.json", b'{"val_loss": "x", "parameters": [], "train_seconds": {}}'),
    "a summary that is a list": with_file("summary.json", b"[[]]"),
    "a log of something else": with_file("log.jsonl", b'{"step": "x"}\n[]\n'),
    "a log that is nested": with_file("log.jsonl", b"[" * 100_000 + b"\n"),
    "a log with texts": with_file("log.jsonl", b'{"step": 1, "loss": "x", "val_loss": "y"}\n' * 3),
    "weights of something else": with_file("model.safetensors", b"\x80\x04K\x01." * 100),
    "weights that are a pickle": with_file("model.safetensors", b"cos\nsystem\n(S'true'\ntR."),
    "weights that are not finite": with_weights(torch.nan),
    "weights that are infinite": with_weights(torch.inf),
    "weights that are huge": with_weights(3e38),
    "a constant that is huge": with_cell(lambda graph: op_of(graph, "constant").__setitem__(2, 1e30)),
    "last weights of something else": with_file("resume/model.safetensors", b"{}" * 100),
    # the resumable state
    "a state of another shape": with_tensors("state", lambda name, value: (name, value.repeat(2, 2))),
    "a state of one number": with_tensors("state", lambda name, value: (name, value.flatten()[0])),
    "a state of integers": with_tensors("state", lambda name, value: (name, value.long())),
    "a state of other parts": with_tensors("state", lambda name, value: ("state.x", value)),
    "a state that is nested": with_tensors("state", lambda name, value: ("state" + ".0" * 5000, value)),
    "moments of another shape": with_tensors("optimizer", lambda name, value: (name, value.flatten()[:1])),
    "moments of no weight": with_tensors("optimizer", lambda name, value: ("99" + name, value)),
    "moments by other names": with_tensors("optimizer", lambda name, value: ("__class__", value)),
    "moments of integers": with_tensors("optimizer", lambda name, value: (name, value.long())),
    "an epoch of a billion": with_progress(epoch=BIG),
    "a batch beyond the last": with_progress(index=BIG),
    "a batch before the first": with_progress(index=-1),
    "a training that takes forever": with_progress(seconds=1e300),
    "a schedule of another unit": with_progress(schedule={"unit": "x", "amount": 1, "start": 0, "start_step": 0}),
    "a schedule of nothing": with_progress(schedule={"unit": "steps", "amount": 0, "start": 0, "start_step": 0}),
    "a best loss that is a text": with_progress(best="x"),
    "no last validation": with_progress(validated={}),
    # what is no regular file
    "a configuration that is a link": with_link("config.json", "OUT/secret.txt"),
    "a configuration that is a FIFO": with_link("config.json", "FIFO"),
    "a configuration that is a device": with_link("config.json", "/dev/zero"),
    "weights that are a link": with_link("model.safetensors", "OUT/secret.txt"),
    "weights that are a FIFO": with_link("model.safetensors", "FIFO"),
    "weights that are a device": with_link("model.safetensors", "/dev/zero"),
    "a log that is a link": with_link("log.jsonl", "OUT/secret.txt"),
    "a log that is a FIFO": with_link("log.jsonl", "FIFO"),
    "a summary that is a link": with_link("summary.json", "OUT/secret.txt"),
    "a summary that is a device": with_link("summary.json", "/dev/zero"),
    "a resume/ that is a link": with_link("resume", "OUT"),
    "a new resume/ that is a link": with_link(".resume.new", "OUT"),
    "an old resume/ that is a link": with_link(".resume.old", "OUT/secret.txt"),
    "previews/ that is a link": with_link("previews", "OUT"),
    # what steers a terminal
    "a kind that steers": with_config(kind=STEERING),
    "tokens that steer": steering_tokens,
    "paths that steer": with_config(data__paths=[STEERING]),
    "a version that steers": with_config(format=1, elman=STEERING),
    "a field that steers": with_config(**{f"spec__{STEERING}": 1}),
    "a first token that steers": with_config(spec__seed_text=STEERING),
    "a cell that steers": with_config(spec__options__cell={"name": STEERING, "options": {}}),
}  # fmt: skip
VERBS = {
    "load": [],
    "load the last": ["last"],
    "sample": ["sample", "runs/x", "--length", "20"],
    "predict": ["predict", "runs/x", "some text"],
    "eval": ["eval", "runs/x"],
    "eval of a named text": ["eval", "runs/x", "text.txt"],
    "inspect": ["inspect", "runs/x", "--out", "report"],
    "inspect two": ["inspect", "runs/x", "runs/y", "--out", "report"],
    "list": ["list"],
    "resume": ["train", "lm", "--resume", "runs/x", "--steps", "1"],
    "resume with a named text": ["train", "lm", "text.txt", "--resume", "runs/x", "--steps", "1"],
}


@pytest.fixture
def command(elman):
    """Runs a verb on runs/x: on the command line, or `elman.load` and a short sample, whose error is one line too."""

    def call(verb):
        if not verb.startswith("load"):
            return elman(*VERBS[verb])
        try:
            text = load("runs/x", weights="last" if VERBS[verb] else "best").sample("the", 5)
            return SimpleNamespace(code=0, out=printable(text), err="")
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017 - some load
            return SimpleNamespace(code=2, out="", err=f"elman: {one_line(str(error))}\n")

    return call


CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
watched: list[str] = []


def record(event, arguments):
    """Records what is opened, connected to and started while a folder is watched."""
    if watched and event in (
        "open",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
        "os.system",
        "os.exec",
    ):
        watched.append(f"{event} {arguments[0]!r}" if event == "open" else event)


sys.addaudithook(record)


@pytest.fixture
def nothing_outside(copy):
    """Fails where anything in `outside` was opened or changed, where code ran, or an address was asked for."""
    outside = copy / "outside"
    watched[:] = ["begin"]
    yield
    events, watched[:] = watched[1:], []
    assert not [event for event in events if str(outside) in event or not event.startswith("open")]
    assert not (outside / "ran").exists()
    assert (outside / "secret.txt").read_text() == TEXT
    assert sorted(path.name for path in outside.iterdir() if path.name != "moved") == ["evil.py", "secret.txt"]


def pairs():
    """Every hostile folder with every verb; in the fast run, each with a few."""
    for row, what in enumerate(HOSTILE):
        for column, verb in enumerate(VERBS):
            yield pytest.param(what, verb, marks=[] if (row + column) % 12 == 0 else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of values that are not finite
@pytest.mark.parametrize(("what", "verb"), list(pairs()))
def test_a_hostile_folder_ends_a_verb_with_a_line(copy, monkeypatch, command, nothing_outside, what, verb):
    monkeypatch.chdir(copy)
    watched[:] = []
    HOSTILE[what](copy / "runs" / "x", copy / "outside")
    watched[:] = ["begin"]
    if verb == "sample":  # what is generated is made printable on a terminal; a file gets it as it is
        monkeypatch.setattr(CaptureIO, "isatty", lambda _: True)
    done = command(verb)
    assert done.code in (0, 1, 2), done.err  # 1: the loss is not finite
    assert not CONTROLS.search(done.out + done.err)
    if done.code:
        assert done.err.splitlines()[-1].startswith("elman: ")
        assert len(done.err.splitlines()[-1]) < 1000
    if verb == "list":
        assert done.code == 0
        assert "runs/x" in done.out


# options that name files, and encoders


TABLE_OPTIONS = {
    "a folder of images": {"spec__options__images": "OUT"},
    "a file of validation rows": {"spec__options__valid": "OUT/secret.txt"},
    "a file of test rows": {"spec__options__test": "OUT/secret.txt"},
    "rows of another machine": {"spec__options__test": "hub:evil/data"},
    "a format that is none": {"spec__options__format": "pickle"},
    "a column of another class": {"spec__columns": {"__class__": "OUT/secret.txt"}},
    "columns that are a list": {"spec__columns": ["text", "label"]},
    "labels that steer": {"spec__labels": {"labels": [STEERING, "no"]}},
    "an input by another name": {"spec__input": {"file": "OUT/secret.txt"}},
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A run of a classifier of texts, its table beside it."""
    folder = tmp_path_factory.mktemp("classifier")
    rows = [f"{'good' if number % 2 else 'bad'} {number},{'yes' if number % 2 else 'no'}" for number in range(40)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *rows]))
    options = {name: value for name, value in TINY.items() if name != "seq_len"} | {"valid": "0.2", "test": "0.2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(folder / "cache"))
        train("classify", folder / "rows.csv", out=folder / "run", **options)
    return folder


@pytest.mark.parametrize("what", TABLE_OPTIONS)
def test_an_option_of_a_stranger_names_no_file(classifier, copy, monkeypatch, elman, nothing_outside, what):
    monkeypatch.chdir(copy)
    watched[:] = []
    shutil.copy(classifier / "rows.csv", "rows.csv")
    shutil.copytree(classifier / "run", "runs/table")
    with_config(**TABLE_OPTIONS[what])(copy / "runs" / "table", copy / "outside")
    watched[:] = ["begin"]
    for words in (
        ["predict", "runs/table", "good 3"], ["eval", "runs/table", "rows.csv"],
        ["inspect", "runs/table", "--out", "r"],
        ["train", "classify", "rows.csv", "--resume", "runs/table", "--steps", "1"],
    ):  # fmt: skip
        done = elman(*words)
        assert done.code in (0, 2)
        assert not CONTROLS.search(done.out + done.err)


@pytest.mark.parametrize(
    "encoder",
    [
        {"name": "timm:resnet18", "settings": {"pretrained_cfg": {"file": "OUT/evil.py"}}},
        {"model": {"name": "local-dir:OUT"}, "image_size": 16, "fine_tune": True, "grid": [4, 4], "weights": None},
        {"model": {"name": "hf-hub:evil/x", "version": "1", "fixed_size": False, "mean": [0, 0, 0], "std": [1, 1, 1]},
         "image_size": 16, "fine_tune": True, "grid": [4, 4], "weights": None},
        {"image_size": BIG},
        {"checkpoint_path": "OUT/evil.py"},
    ],
)  # fmt: skip
def test_an_encoder_of_a_stranger_is_refused_before_it_is_built(copy, nothing_outside, encoder):
    """A language model has none: the Spec of a captioner is read alone."""
    value = json.loads(json.dumps(encoder).replace("OUT", str(copy / "outside")))
    with pytest.raises(UserError, match=r"config\.json: spec\.encoder"):
        from_json(ResidualEncoder | TimmEncoder, value, "config.json", "spec.encoder")


LARGEST = """
import resource, sys
from elman.errors import UserError
from elman.training.api import load
for folder in sys.argv[1:]:
    try:
        load(folder).sample("the", 3)
    except UserError as error:
        print(error)
try:  # ru_maxrss is at least that of the process that started this one
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
except FileNotFoundError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_sizes_of_a_billion_take_less_than_a_gigabyte(copy, forked):
    folders = []
    for what in [what for what in HOSTILE if re.search("billion|many|more|hundred|device", what)]:
        folders.append(copy / "runs" / what.replace(" ", "-"))
        shutil.copytree(copy / "runs" / "y", folders[-1])
        HOSTILE[what](folders[-1], copy / "outside")
    done = forked(*folders, program=LARGEST, cwd=copy)
    assert done.code == 0, done.err
    assert int(done.out.splitlines()[-1]) * (1 if sys.platform == "darwin" else 1024) < 1e9


def test_a_folder_that_is_not_hostile_is_used_by_every_verb(copy, monkeypatch, command):
    monkeypatch.chdir(copy)
    codes = {verb: command(verb).code for verb in VERBS if verb != "predict"}
    assert codes == dict.fromkeys(codes, 0)


def test_a_run_of_another_machine_needs_its_data_named(copy, monkeypatch, tmp_path, command):
    monkeypatch.chdir(copy)
    monkeypatch.setenv("ELMAN_STATE", str(tmp_path / "another"))
    for verb in ("eval", "resume", "inspect"):
        done = command(verb)
        assert done.code == 2
        assert "was not made on this machine" in done.err
    for verb in ("eval of a named text", "resume with a named text", "sample", "list"):
        assert command(verb).code == 0, verb
    (copy / "text.txt").write_text(TEXT[::-1])
    done = command("eval of a named text")
    assert done.code == 2
    assert "is not the data" in done.err
    assert done.out == ""


@settings(some, max_examples=100)
@given(st.data())
def test_any_value_in_any_field_of_a_spec_and_its_graph_is_loaded_or_refused(trained, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "fuzzed spec"
    if not folder.exists():
        shutil.copytree(trained / "run", folder)
    path = folder / "config.json"
    whole, content = path.read_bytes(), unseal(path)
    spot = data.draw(st.sampled_from([spot for spot in spots(content) if spot[:1] == ("spec",)]))
    near = st.sampled_from([-1, 0, 1, 2, 4, 5, 64, 1000, BIG, 2**31, 2**63, 0.5, 1e300, "f", "n", "", "x" * 100, None])
    path.write_bytes(seal(changed(content, spot, data.draw(json_values | near))))
    computed = time.process_time()
    try:
        load(folder).sample("the", 3)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may also fit
        assert len(str(error)) < 1000  # noqa: PT017
    finally:
        path.write_bytes(whole)
    assert time.process_time() - computed < 10
