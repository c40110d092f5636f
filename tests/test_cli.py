"""The command line: what each verb does, and the one line that a mistake gets."""

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from cyclopts import App, CycloptsError

from elman.cli import demo, doctor, parameters
from elman.cli.app import FOREIGN
from elman.cli.half_blocks import half_blocks
from elman.cli.parameters import field_docs, flag, flags
from elman.cli.sample import SampleOptions
from elman.cli.screen import Screen
from elman.decode.sampling import Sampling
from elman.options import Choices, PositiveInt
from elman.tasks.capabilities import Images
from elman.tasks.task import kinds
from elman.training.options import TrainOptions
from elman.training.reporter import Status
from forked import Elman

TEXT = "the cat sat on a mat and saw two dogs run by, " * 20
SMALL = (
    "--hidden=8",
    "--embedding=8",
    "--batch-size=4",
    "--seq-len=8",
    "--precision=float32",
    "--device=cpu",
    "--no-preview",
)
OWN = """
import torch
import elman


class Own(elman.Cell):
    gates = ("z", "n")

    def step(self, x, h):
        z = torch.sigmoid(x.z + self.recur("z", of=h).z)
        return ((1 - z) * h + z * torch.tanh(x.n + self.p_n * h),)


class Rolled(elman.Cell):
    gates = ("n",)

    def step(self, x, h):
        return (torch.tanh(x.n + torch.roll(h, 1, -1)),)


class Wrong(elman.Cell):
    gates = ("n",)

    def step(self, x, h):
        return (torch.tanh(x.n + h.detach()),)


class Zoneout(elman.Cell):
    gates = ("n",)

    def step(self, x, h):
        return (torch.where(torch.rand_like(h) < 0.5, h, torch.tanh(x.n + h)),)
"""

LABELS = (("love", "good\x1b[31m"), ("hate", "bad"))


@pytest.fixture(scope="module")
def elman(forked: Elman) -> Elman:
    return forked


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def stamps(folder):
    """When each file was last changed, and its size."""
    found = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


def summary(run):
    return json.loads((run / "summary.json").read_text())


@pytest.fixture(scope="module")
def home(tmp_path_factory, elman):
    """A folder with texts, valid and invalid, finished runs and damaged ones. No test changes it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "text.txt").write_text(TEXT)
    (folder / "other.txt").write_text(TEXT.replace("cat", "cow"))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "one.txt").write_text("t")
    (folder / "latin.txt").write_bytes("un café au lait".encode("latin-1"))
    (folder / "utf16.txt").write_text("un café au lait", "utf-16")
    (folder / "nothing").mkdir()
    (folder / "own.py").write_text(OWN)
    (folder / "broken.py").write_text("import nowhere_to_be_found\n")
    (folder / "good.toml").write_text(
        'hidden = 8\ncell = "gru"\nsteps = 3\npreview = false\nbatch_size = 4\nseq_len = 8\nprecision = "float32"\n'
    )
    (folder / "typo.toml").write_text("hiden = 8\n")
    (folder / "bad.toml").write_text("hidden = \n")
    (folder / "wrong.toml").write_text("hidden = 0\nlr = -1.5\n")
    trained = elman("train", "lm", "text.txt", "--steps=12", "--eval-every=5", "--out=runs/lm-text", *SMALL, cwd=folder)
    assert trained.code == 0, trained.err
    rows = "".join(f"I {verb} film {n},{label}\n" for n in range(20) for verb, label in LABELS)
    (folder / "reviews.csv").write_text(f"text,label\n{rows}")
    options = ("--hidden=8", "--embedding=8", "--device=cpu", "--no-preview", "--backend=native")
    trained = elman("train", "classify", "reviews.csv", "--steps=3", "--out=classifier", *options, cwd=folder)
    assert trained.code == 0, trained.err
    for name, file in (("cut", "model.safetensors"), ("cut-state", "resume/state.safetensors"), ("bad", "config.json")):
        shutil.copytree(folder / "runs/lm-text", folder / name)
        path = folder / name / file
        path.write_bytes(path.read_bytes()[:-20])
    return folder


@pytest.fixture
def run(home, tmp_path):
    """A copy of the finished run, in a folder with its text."""
    (tmp_path / "text.txt").write_text(TEXT)
    return Path(shutil.copytree(home / "runs/lm-text", tmp_path / "run"))


TRAIN = "train lm text.txt --steps 3 --out new"
RESUME = "train lm --resume runs/lm-text --steps 3"
# what is typed, and words that the one line must have
MISTAKES = [
    ("train lm nowhere.txt", "nowhere.txt does not exist"),
    ("train lm texd.txt", "texd.txt does not exist; did you mean; text.txt"),
    ("train lm empty.txt", "empty.txt; empty"),
    ("train lm one.txt", "one.txt; at least 2"),
    ("train lm latin.txt", "latin.txt; utf-8; 0xe9; offset 6; --encoding latin-1; --tokens byte"),
    ("train lm utf16.txt", "utf16.txt; offset 0; --encoding utf-16"),
    ("train lm text.txt latin.txt", "latin.txt; offset 6"),
    ("train lm nothing", "nothing"),
    ("train lm", "no text"),
    ("train lm text.txt -", "standard input; mixed"),
    ("train lm -", "/dev/stdin|standard input; empty"),
    ("train lm latin.txt --encoding latin-11", "latin-11; latin-1"),
    (f"{TRAIN} --cell lsmt", "lsmt; did you mean; lstm"),
    (f"{TRAIN} --cell rhn:deph=3", "deph; did you mean; depth"),
    (f"{TRAIN} --cell rhn:depth=many", "depth; many"),
    (f"{TRAIN} --cell own.py:Ovn", "Ovn; own.py; did you mean; Own"),
    (f"{TRAIN} --cell owm.py:Own", "owm.py; does not exist"),
    (f"{TRAIN} --cell broken.py:Own", "broken.py; line 1; nowhere_to_be_found"),
    (f"{TRAIN} --backend nativ", "nativ; native"),
    (f"{TRAIN} --backend native --cell mut1", "native; mut1; auto"),
    (f"{TRAIN} --device gpu0", "gpu0; cpu"),
    (f"{TRAIN} --device meta", "meta; cpu"),
    (f"{TRAIN} --tokens chars", "chars; char; byte"),
    (f"{TRAIN} --clip-by norms", "norms; norm"),
    (f"{TRAIN} --precision float31", "float31; float32"),
    (f"{TRAIN} --hidden many", "--hidden; many"),
    (f"{TRAIN} --hidden 8.5", "--hidden; 8.5"),
    (f"{TRAIN} --hiden 8", "--hiden; --hidden"),
    (f"{TRAIN} --rnn_size 8", "--rnn-size|--rnn_size; --hidden"),
    (f"{TRAIN} --learning_rate 0.1", "--learning-rate|--learning_rate; --lr"),
    (f"{TRAIN} --seq_length 50", "--seq-length|--seq_length; --seq-len"),
    (
        f"{TRAIN} --hidden 0 --layers -1 --batch-size 0 --seq-len -2 --lr 0 --clip nan --valid 1 --epochs 0",
        "--hidden 0; --layers -1; --batch-size 0; --seq-len -2; --lr 0; --clip nan; --valid 1; --epochs 0",
    ),
    ("train lm text.txt --out new --for soon", "soon; 90s"),
    ("train lm text.txt --out new --for 0s", "0s"),
    ("train lm text.txt --out new --for -5m", "--for"),
    ("train lm text.txt --out new --for 5m --steps 3", "--for; --steps"),
    ("train lm text.txt --out new --epochs 2 --steps 3", "--epochs; --steps"),
    ("train lm text.txt --steps 3 --out runs/lm-text", "runs/lm-text; exists; --out; --resume"),
    ("train lm text.txt --steps 3 --out text.txt/new", "text.txt/new"),
    (f"{RESUME} --out new", "--out; --resume"),
    ("train lm --resume runs/lm-text", "runs/lm-text; finished; --steps"),
    ("train lm other.txt --resume runs/lm-text --steps 3", "other.txt; runs/lm-text; not the data"),
    (f"{RESUME} --hidden 9", "--hidden; 9; 8"),
    (f"{RESUME} --cell gru", "--cell; gru; lstm"),
    (f"{RESUME} --tokens byte", "--tokens; byte"),
    (f"{RESUME} --seed 4", "--seed; 4; 0"),
    ("train lm --resume runs/lm-txt --steps 3", "runs/lm-txt; did you mean; runs/lm-text"),
    ("train lm --resume cut-state --steps 3", "cut-state/resume/state.safetensors; damaged; best"),
    ("train ml text.txt", "ml; lm"),
    ("trian lm text.txt", "trian; train"),
    (f"{TRAIN} --config nowhere.toml", "nowhere.toml"),
    (f"{TRAIN} --config typo.toml", "hiden; typo.toml; hidden"),
    (f"{TRAIN} --config bad.toml", "bad.toml; TOML; line 1"),
    (f"{TRAIN} --config latin.txt", "latin.txt; TOML"),
    (f"{TRAIN} --config wrong.toml --batch-size 0", "--hidden 0; --lr -1.5; --batch-size 0"),
    ("sample runs/lm-txt", "runs/lm-txt; did you mean; runs/lm-text"),
    ("sample lm-text", "lm-text; did you mean; runs/lm-text"),
    ("sample text.txt", "text.txt; not a run"),
    ("sample nothing", "nothing; not a run; config.json"),
    ("sample cut", "cut/model.safetensors; damaged; --weights last"),
    ("sample bad", "bad/config.json; damaged; --weights last"),
    ("sample --prompt Über", "'Ü'; --unknown; skip; replace"),
    ("sample --primetext the", "--primetext; --prompt"),
    ("sample --unknown drop", "drop; skip"),
    ("sample --length 0 --temperature -1 --top-k 0 --top-p 2 --num-samples 0 --chars-per-second 0",
     "--length 0; --temperature -1; --top-k 0; --top-p 2; --num-samples 0; --chars-per-second 0"),
    ("sample --weights first", "first; best; last"),
    ("sample --device gpu0", "gpu0; cpu"),
    ("eval --split test", "runs/lm-text; test; --text"),
    ("eval --split tset", "tset; test"),
    ("eval --text nowhere.txt", "nowhere.txt"),
    ("eval --text empty.txt", "empty.txt; empty"),
    ("eval --text one.txt", "one.txt; at least 2"),
    ("eval --text own.py", "unknown"),
    ("eval --reset 0", "--reset 0"),
    ("sample --hold 1.c.99=1", "99; 0 to 7"),
    ("sample --hold 1.q.3=1", "1.q; did you mean; 1."),
    ("sample --hold 1.c.3", "1.c.3; 1.c.137=1.0"),
    ("sample --hold c3=1", "c3; 1.c.137"),
    ("sample --paint 1.c.8", "8; 0 to 7"),
    ("sample --paint 2.c.1", "2.c; 1.c"),
    ("sample --paint 1.c.1 --num-samples 2", "--paint; --num-samples 2"),
    ("inspect runs/lm-txt", "runs/lm-txt; did you mean; runs/lm-text"),
    ("inspect text.txt", "text.txt; not a run"),
    ("inspect cut", "cut/model.safetensors; damaged"),
    ("inspect --unit 1.c.99", "99; 0 to 7"),
    ("inspect --unit 1.k.1", "1.k; 1.o"),
    ("inspect --unit 12", "12; 1.c.137"),
    ("inspect --text nowhere.txt", "nowhere.txt"),
    ("inspect --text own.py", "unknown"),
    ("inspect --text one.txt", "one.txt; at least 2"),
    ("inspect --language phyton", "phyton; python"),
    ("inspect --length 0", "--length 0"),
    ("inspect --property own.py", "own.py; file.py:function"),
    ("inspect --property own.py:Ovn", "Ovn; Own"),
    ("inspect --property nowhere.py:one", "nowhere.py; does not exist"),
    ("inspect --cells lstm,grü", "grü; gru"),
    ("inspect --cells lstm runs/lm-text", "--cells; run"),
    ("inspect --cells rnn --gain 0", "--gain 0"),
    ("inspect --cells ,", "--cells; no cell"),
    ("inspect --gain 2", "--gain; --cells"),
    ("inspect --length 5", "--length 5; 200"),
    ("inspect --out text.txt", "text.txt; folder"),
    ("sample --hold 1.c.3=nan", "nan; 1.c.137=1.0"),
    ("sample --hold 1.c.3=1e39", "1e39; 1.c.137=1.0"),
    ("inspect runs/lm-text runs/lm-text --unit 1.c.1", "--unit; several runs"),
    ("compare text.txt --cells lstm", "lstm; two"),
    ("compare text.txt --cells lstm,grü", "grü; gru"),
    ("compare --cells lstm,gru", "no text"),
    ("compare nowhere.txt --cells lstm,gru", "nowhere.txt"),
    ("compare text.txt --cells lstm,gru --out runs/lm-text", "runs/lm-text; exists; --out"),
    ("list run", "run; runs"),
    ("doctor --cell lsmt", "lsmt; lstm"),
    ("doctor --cell own.py:Ovn", "Ovn; Own"),
    ("demo --text nowhere.txt", "nowhere.txt"),
    ("demo --for soon", "soon; 90s"),
    ("predict runs/lm-text abc", "lm; elman sample runs/lm-text"),
    ("sample classifier", "classify; elman predict classifier"),
    ("predict classifier text --beam 3", "--beam; classify; token"),
    ("predict classifier text --sample --temperature 0.5", "--temperature; --sample; classify"),
    ("predict classifier text --temperature 0.5", "--temperature 0.5; --sample"),
    ("predict classifier text --sample --beam 3", "--beam 3; --sample"),
    ("predict classifier text --column text", "--column text; --file"),
    ("predict classifier text --out a.csv", "--out a.csv; --file"),
    ("predict classifier --file reviews.csv --out a.txt", "a.txt; .csv"),
    ("predict classifier text --file reviews.csv", "--file reviews.csv; text"),
    ("predict classifier text --image a.jpg", "--image a.jpg; .png"),
    ("predict classifier text --image a.png --no-image", "--image a.png; --no-image"),
    ("eval runs/lm-text text.txt --text other.txt", "--text other.txt; text.txt"),
    ("eval runs/lm-text other.txt", "other.txt; runs/lm-text"),
    ("train classify reviews.csv --out new --pooling maxx", "--pooling; maxx; max"),
    ("train translate reviews.csv --out new --attention none --input-feeding", "--input-feeding; --attention none"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "words"),
    [pytest.param(typed, words, id=typed) for typed, words in MISTAKES],
)
def test_a_mistake_is_one_line_and_changes_nothing(elman, home, typed, words):
    before = stamps(home)
    done = elman(*shlex.split(typed), cwd=home)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    (line,) = done.err.splitlines()
    for word in words.split("; "):
        assert re.search("|".join(map(re.escape, word.split("|"))), line, re.IGNORECASE), (word, line)
    assert stamps(home) == before


def test_a_mistake_ends_the_real_command_with_code_2(tmp_path):
    words = [sys.executable, "-m", "elman", "trian", "lm", "text.txt"]  # which ends before torch is imported
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "trian" in done.stderr
    assert done.stdout == ""
    assert contents(tmp_path) == {}


def test_without_a_run_the_message_shows_how_to_make_one(elman, tmp_path):
    done = elman("sample", cwd=tmp_path)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "elman train" in done.err
    assert "elman train" in elman("list", cwd=tmp_path).out


def test_a_loss_that_is_not_finite_is_one_line_and_code_1(elman, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    done = elman("train", "lm", "text.txt", "--lr=1e30", "--warmup=0", "--steps=50", "--out=run", *SMALL, cwd=tmp_path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "not finite" in line
    assert re.search(r"step \d", line)
    assert elman("sample", "run", "--length=5", cwd=tmp_path).code == 0


# what works


def test_help_does_not_wait_for_torch():
    code = """
import atexit, sys
atexit.register(lambda: print(sorted({"torch", "numpy", "safetensors"} & sys.modules.keys())))
from elman.cli.app import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in ("demo", "train", "sample", "inspect", "compare", "eval", "list", "doctor"):
        assert verb in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "verb", ["train", "train lm", "sample", "inspect", "compare", "eval", "list", "doctor", "demo"]
)
def test_every_verb_has_help(elman, tmp_path, verb):
    done = elman(*verb.split(), "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert verb in done.out
    if verb == "train lm":
        for word in ("--for", "--epochs", "--steps", "--cell", "--resume", "--out", "--config", "--bptt", "cosine"):
            assert word in done.out


def test_the_version_is_printed(elman, tmp_path):
    assert re.search(r"\d+\.\d+", elman("--version", cwd=tmp_path).out)


def test_training_reports_what_it_does_and_the_next_command(elman, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    words = [word for word in SMALL if word != "--no-preview"]
    done = elman("train", "lm", "text.txt", "--steps=30", *words, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for word in ("parameters", "fused", "float32", "cpu", "validation", "bits", "tokens/s", "left", "  | "):
        assert word in done.out, done.out
    assert "\x1b" not in done.out  # no colours in a file
    last = done.out.splitlines()[-1]
    assert last.endswith("elman sample runs/lm-text")
    after = elman(*shlex.split(last.partition("elman ")[2]), cwd=tmp_path)
    assert (after.code, after.err) == (0, "")


def test_standard_input_several_files_and_a_folder_are_texts(elman, tmp_path):
    parts, books = [TEXT[:200], TEXT[200:]], tmp_path / "books"
    books.mkdir()
    for name, part in zip(("a.txt", "b.txt"), parts, strict=True):
        (books / name).write_text(part)
    (books / "c.bin").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "text.txt").write_text(TEXT)
    given = {
        "file": ["text.txt"],
        "files": ["books/a.txt", "books/b.txt"],
        "folder": ["books", "--pattern=*.txt"],
        "input": ["-"],
        "all": ["books"],
    }
    for name, words in given.items():
        stdin = tmp_path / "text.txt" if name == "input" else os.devnull
        done = elman("train", "lm", *words, "--steps=4", f"--out={name}", *SMALL, cwd=tmp_path, stdin=stdin)
        assert (done.code, done.err) == (0, ""), name
        if name == "all":
            assert "1 skipped" in done.out
    models = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in given}
    assert len(set(models.values())) == 1


def test_a_run_on_standard_input_is_resumed(elman, home, tmp_path):
    words = ["train", "lm", "-", "--steps=4", "--out=run", *SMALL]
    done = elman(*words, cwd=tmp_path, stdin=home / "text.txt")
    assert (done.code, done.err) == (0, "")
    # the encoded text is in the cache: standard input is empty this time
    done = elman("train", "lm", "--resume=run", "--steps=3", "--no-preview", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert summary(tmp_path / "run")["steps"] == 7


def test_another_text_on_standard_input_is_refused_on_resume(elman, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text(TEXT.replace("cat", "cow"))
    elman("train", "lm", "-", "--steps=4", "--out=run", *SMALL, cwd=tmp_path, stdin=tmp_path / "text.txt")
    before = contents(tmp_path)
    done = elman("train", "lm", "-", "--resume=run", "--steps=3", cwd=tmp_path, stdin=tmp_path / "other.txt")
    assert done.code == 2
    assert "not the data" in done.err
    assert contents(tmp_path) == before


def test_options_may_be_in_a_file_and_the_command_line_wins(elman, home, tmp_path):
    for name in ("text.txt", "good.toml"):
        shutil.copy(home / name, tmp_path / name)
    done = elman("train", "lm", "text.txt", "--config=good.toml", "--steps=2", "--out=run", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    options = config["spec"]["options"] | config["training"]
    assert summary(tmp_path / "run")["steps"] == 2
    assert options["cell"]["name"] == "gru"
    assert {name: options[name] for name in ("hidden", "batch_size", "seq_len", "preview")} == {
        "hidden": 8, "batch_size": 4, "seq_len": 8, "preview": False,
    }  # fmt: skip
    assert "  | " not in done.out


def test_the_same_options_may_be_given_again_on_resume(elman, run):
    done = elman("train", "lm", "text.txt", "--resume=run", "--steps=3", "--hidden=8", "--seed=0", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert summary(run)["steps"] == 15


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_prints_the_command_that_resumes(elman, tmp_path, number, code):
    (tmp_path / "text.txt").write_text(TEXT)
    words = ["train", "lm", "text.txt", "--steps=700", "--eval-every=100", "--out=run", *SMALL]
    process = elman.start(*words, cwd=tmp_path)
    while not (tmp_path / "run" / "log.jsonl").exists():
        time.sleep(0.01)
    os.kill(process, number)
    done = elman.end(process)
    assert done.code == code
    (line,) = done.err.splitlines()
    step = int(re.search(r"step (\d+)", line)[1])
    assert 0 < step < 700
    assert elman("sample", "run", "--length=5", cwd=tmp_path).code == 0
    after = elman(*shlex.split(line.partition("resume with: elman ")[2]), cwd=tmp_path)
    assert (after.code, after.err) == (0, "")
    assert summary(tmp_path / "run")["steps"] == 700
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_greedy_and_seeded_samples_are_the_same_each_time(elman, home):
    def sample(*words):
        done = elman("sample", *words, cwd=home)
        assert (done.code, done.err) == (0, "")
        return done.out

    assert sample("--greedy", "--length=40") == sample("--greedy", "--length=40", "--seed=3")
    seeded = sample("--seed=3", "--length=40", "--prompt=the ")
    assert seeded == sample("--seed=3", "--length=40", "--prompt=the ")
    assert seeded == sample("--seed=3", "--length=40", "--prompt=the ", "--chars-per-second=4000")
    assert seeded != sample("--seed=4", "--length=40", "--prompt=the ")
    assert sample("--length=40") != sample("--length=40")


def test_a_sample_has_exactly_the_given_length(elman, home):
    for length in (1, 63, 64, 65, 1500):
        written = elman("sample", f"--length={length}", cwd=home).out
        assert len(written) == length + 1
        assert set(written[:-1]) <= set(TEXT)
        assert written.endswith("\n")
    written = elman("sample", "--prompt=two dogs", "--length=10", cwd=home).out
    assert written.startswith("two dogs")
    assert len(written) == 8 + 10 + 1


def test_several_samples_are_printed_one_after_the_other(elman, home):
    texts = elman("sample", "--num-samples=3", "--length=20", "--prompt=a ", "--seed=1", cwd=home).out.split("\n\n")
    assert [len(text.rstrip("\n")) for text in texts] == [22, 22, 22]
    assert all(text.startswith("a ") for text in texts)
    assert len(set(texts)) == 3


def test_a_sample_ends_with_its_stop(elman, home):
    written = elman("sample", "--stop= ", "--length=2000", "--seed=1", cwd=home).out
    assert written.index(" ") == len(written) - 2
    streams = elman("sample", "--stop= ", "--length=2000", "--num-samples=2", "--seed=1", cwd=home).out
    assert all(text.rstrip("\n").index(" ") == len(text.rstrip("\n")) - 1 for text in streams.split("\n\n"))


def test_unknown_characters_of_the_prompt_may_be_skipped_or_replaced(elman, home):
    for how, message in (("skip", "skipped"), ("replace", "replaced")):
        done = elman("sample", "--prompt=thé cát", f"--unknown={how}", "--length=5", "--seed=0", cwd=home)
        assert done.code == 0
        assert len(done.err.splitlines()) == 1
        assert all(word in done.err for word in (message, "'é'", "'á'"))
    same = [elman("sample", f"--prompt={prompt}", "--unknown=replace", "--length=30", "--seed=0", cwd=home).out[-31:]
            for prompt in ("thé cát", "the cat")]  # fmt: skip
    assert same[0] == same[1]


def test_the_last_weights_can_be_loaded(elman, home):
    assert elman("sample", "cut", "--weights=last", "--length=5", cwd=home).code == 0
    assert elman("eval", "bad", "--weights=last", cwd=home).code == 0


@pytest.fixture
def pipe(tmp_path):
    """A pipe with a name."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("words", [["sample", "--length=20000"], ["list", "cells"]])
def test_a_closed_pipe_is_no_error(elman, home, pipe, words):
    process = elman.start(*words, cwd=home, stdout=pipe)
    with pipe.open("rb") as out:
        assert len(out.read(10)) == 10
    done = elman.end(process)
    assert done.err == ""
    assert done.code in (0, 141)  # 0 where all was written before the pipe was closed


def test_ctrl_c_ends_a_slow_sample_without_a_traceback(elman, home, pipe):
    process = elman.start("sample", "--chars-per-second=20", "--length=2000", "--seed=1", cwd=home, stdout=pipe)
    with pipe.open("rb", buffering=0) as out:
        out.read(3)
        os.kill(process, signal.SIGINT)
        done = elman.end(process)
    assert done.code == 130
    assert len(done.err.splitlines()) <= 1


def test_eval_gives_the_loss_of_the_held_out_split(elman, home):
    def metrics(*words):
        done = elman("eval", *words, "--json", cwd=home)
        assert (done.code, done.err) == (0, "")
        return json.loads(done.out)

    held = metrics("runs/lm-text")
    assert held["loss"] == pytest.approx(summary(home / "runs/lm-text")["val_loss"], rel=1e-6)
    assert held["bits"] == pytest.approx(held["loss"] / math.log(2))
    assert held["count"] == len(TEXT) // 10 - 1
    assert metrics("--split=train")["count"] > held["count"]
    reset = metrics("--split=train", "--reset=3")
    assert reset["count"] == metrics("--split=train")["count"]
    assert reset["loss"] != metrics("--split=train")["loss"]
    assert metrics("--text=other.txt")["count"] == len(TEXT) - 1
    plain = elman("eval", cwd=home).out
    assert f"{held['loss']:.4f}" in plain
    assert f"{held['bits']:.4f}" in plain


def test_lists_have_every_run_cell_and_task(elman, home):
    runs, cells, tasks = (elman("list", *words, cwd=home).out for words in ((), ("cells",), ("tasks",)))
    for word in ("runs/lm-text", "1 x 8 lstm", f"{summary(home / 'runs/lm-text')['val_loss']:.4f}"):
        assert word in runs
    for word in ("lstm", "gru_before", "forget_bias", "rhn", "slstm", "mut3"):
        assert word in cells
    assert "lm" in tasks


def test_a_damaged_run_does_not_hide_the_others_in_the_list(elman, home, tmp_path):
    for name, origin in (("bad", "bad"), ("good", "runs/lm-text")):
        shutil.copytree(home / origin, tmp_path / "runs" / name)
    done = elman("list", cwd=tmp_path)
    assert "runs/good" in done.out
    assert "runs/bad" in done.out + done.err
    assert done.code == 0


@pytest.mark.slow
def test_the_doctor_shows_the_machine_and_the_backend_of_each_cell(elman, tmp_path):
    done = elman("doctor", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for word in ("torch", "bfloat16", "threads", "lstm", "fused", "mut1"):
        assert word in done.out


@pytest.fixture
def check(home, in_process, monkeypatch):
    """`elman doctor --cell CELL`, with timings of a moment."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(doctor, "PATIENCE", 0.1)
    return lambda cell: in_process("doctor", f"--cell={cell}")


def test_the_doctor_checks_a_cell_of_the_user(check):
    done = check("own.py:Own")
    assert (done.code, done.err) == (0, "")
    for word in ("Own", "z, n", "U_z", "p_n", "parameters", "fused", "agrees", "ms", "lstm"):
        assert word in done.out


def test_the_doctor_shows_why_a_cell_cannot_be_traced(check):
    done = check("own.py:Rolled")
    assert (done.code, done.err) == (0, "")
    for word in ("Rolled", "cannot be traced", "roll", "loop", "agrees", "ms"):
        assert word in done.out


def test_the_doctor_fails_for_a_wrong_gradient(check):
    done = check("own.py:Wrong")
    assert done.code == 1
    assert "WRONG: Jacobian mismatch for output 0 with respect to input 1" in done.out
    assert "own.py:Wrong is wrong" in done.err


def test_the_doctor_names_a_random_cell(check):
    done = check("own.py:Zoneout")
    assert done.code == 0
    assert "agrees with finite differences, for given random numbers: its step is random" in done.out


def test_the_demo_trains_generates_and_prints_the_next_commands(home, tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text(TEXT * 5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "SPEED", 1e6)
    demo.demo_(text=Path("text.txt"), for_="1s")
    out = capsys.readouterr().out
    (run,) = (tmp_path / "runs").iterdir()
    assert summary(run)["train_seconds"] >= 1
    generated = next(line for line in out.splitlines() if len(line) > 450 and set(line) <= set(TEXT))
    assert 450 < len(generated) <= 510
    for word in ("weights", "bits", f"elman sample runs/{run.name}", "elman train lm", "--for"):
        assert word in out


def test_inspect_writes_a_report_and_prints_its_path(elman, run):
    done = elman("inspect", run, "--length=200", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"report: {run}/report.html"
    assert {"report.html", "report.json", "report"} <= {path.name for path in run.iterdir()}
    assert elman("sample", run, "--greedy", cwd=run.parent).code == 0  # the run is as it was


def test_inspect_paints_one_unit(elman, run):
    done = elman("inspect", run, "--unit", "1.c.3", "--out", "new", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in (run.parent / "new").iterdir()} == {"unit-1.c.3.html", "unit-1.c.3.png"}


def test_inspect_compares_two_runs_and_untrained_cells(elman, run):
    shutil.copytree(run, run.parent / "other")
    done = elman("inspect", run, run.parent / "other", "--out", "both", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert "other" in (run.parent / "both" / "report.html").read_text("utf-8")
    done = elman("inspect", "--cells", "rnn,lstm:forget_bias=0", "--steps=20", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert "lstm:forget_bias=0" in (run.parent / "runs/cells/report.html").read_text("utf-8")


def test_compare_trains_each_cell_and_prints_a_line_for_each(elman, home, tmp_path):
    words = (
        "compare",
        home / "text.txt",
        "--cells",
        f"rnn,gru,{home / 'own.py'}:Own",
        "--steps=6",
        "--out=all",
        *SMALL,
    )
    done = elman(*words, cwd=tmp_path)
    assert (done.code, done.err) == (0, ""), done.err
    runs = {path.name: summary(path) for path in (tmp_path / "all").iterdir() if (path / "summary.json").exists()}
    assert set(runs) == {"rnn", "gru", "own.py-Own"}
    assert max(each["parameters"] for each in runs.values()) < 1.2 * min(each["parameters"] for each in runs.values())
    assert (tmp_path / "all/report.html").exists()
    alike = elman(*words[: -len(SMALL) - 1], "--out=same", "--equal=hidden", *SMALL, cwd=tmp_path)
    assert alike.code == 0
    hidden = {json.loads((tmp_path / "same" / name / "config.json").read_text())["spec"]["hidden"] for name in runs}
    assert hidden == {8}


def test_a_sample_may_be_painted_and_its_units_held(elman, home):
    plain = elman("sample", "--seed=1", "--length=80", cwd=home)
    painted = elman("sample", "--seed=1", "--length=80", "--paint=1.c.3", cwd=home)
    assert (painted.code, plain.code) == (0, 0)
    assert re.sub(r"\x1b\[[\d;]*m", "", painted.out) == plain.out
    assert "\x1b[97;48;2;" in painted.out
    held = elman("sample", "--seed=1", "--length=80", "--hold=1.c.3=9", "--hold=1.c.4=-9", cwd=home)
    assert held.code == 0
    assert held.out != plain.out
    assert "step by step" in held.err


def test_control_characters_of_data_are_never_printed(elman, home):
    for words in (("I love film 3",), ("I love film 3", "--json"), ("I love film 1", "I love film 2")):
        done = elman("predict", "classifier", *words, cwd=home)
        assert done.code == 0
        assert "\x1b" not in done.out + done.err
    values = json.loads(elman("predict", "classifier", "I love film 3", "--json", cwd=home).out)
    assert "good\x1b[31m" in values["probabilities"]
    assert "\x1b" not in elman("eval", "classifier", cwd=home).out


def test_answers_are_written_beside_the_columns_of_a_file(elman, home, tmp_path):
    done = elman("predict", home / "classifier", "--file", home / "reviews.csv", "-o", "out.csv", cwd=tmp_path)
    assert done.code == 0
    assert "40 rows" in done.err  # what was read is logged beside the answers
    head, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert head.startswith("text,label,predicted_label")
    assert len(rows) == 40


def test_the_data_of_a_run_from_elsewhere_has_to_be_named(elman, home, tmp_path):
    elsewhere = {"ELMAN_STATE": str(tmp_path)}
    done = elman("eval", "runs/lm-text", cwd=home, **elsewhere)
    assert done.code == 2
    assert "elman eval runs/lm-text PATH" in done.err
    expected = elman("eval", "runs/lm-text", cwd=home).out
    assert elman("eval", "runs/lm-text", "text.txt", cwd=home, **elsewhere).out == expected
    other = elman("eval", "runs/lm-text", "other.txt", cwd=home, **elsewhere)
    assert (other.code, other.out) == (2, "")
    assert "not the data" in other.err or "other tokens" in other.err


def test_a_cell_that_cannot_be_traced_is_named_again(elman, home, tmp_path):
    words = ["train", "lm", home / "text.txt", "--cell", f"{home / 'own.py'}:Rolled", "--steps=2", "--out=run", *SMALL]
    done = elman(*words, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for verb in ("sample", "eval"):
        done = elman(verb, "run", cwd=tmp_path)
        assert done.code == 2
        assert "--cell" in done.err
        assert "Rolled" in done.err
        assert elman(verb, "run", "--cell", f"{home / 'own.py'}:Rolled", cwd=tmp_path).code == 0
    done = elman("sample", "run", "--cell", "lstm", cwd=tmp_path)
    assert done.code == 2
    assert "is not the cell of this run" in done.err


def test_every_foreign_flag_leads_to_one_that_exists():
    flags = {flag(field.name) for kind in [*kinds().values()] for field in fields(kind.Options)}
    flags |= {flag(field.name) for kind in (TrainOptions, SampleOptions, Sampling) for field in fields(kind)}
    flags |= {"--out", "--resume", "--config"}
    assert {f"--{name}" for name in FOREIGN.values()} <= flags
    assert not {f"--{name}" for name in FOREIGN} & flags


def test_an_image_is_two_pixels_a_character():
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [1, 2, 3]], [[9, 9, 9], [8, 8, 8]]], np.uint8)
    first, second = half_blocks(pixels, 10, 10)
    assert first.plain == second.plain == "▀▀"
    colours = [(style.color.triplet, style.bgcolor.triplet) for line in (first, second) for style in styles(line)]
    assert colours == [((255, 0, 0), (0, 0, 255)), ((0, 255, 0), (1, 2, 3)), ((9, 9, 9),) * 2, ((8, 8, 8),) * 2]


def styles(line):
    return [span.style for span in line.spans]


def test_a_large_image_is_shrunk_to_the_terminal():
    lines = list(half_blocks(np.zeros((100, 200), np.uint8), 40, 8))
    assert len(lines) == 8
    assert {len(line.plain) for line in lines} == {32}


def test_an_image_as_a_preview_is_shown_by_its_path(capsys):
    with Screen() as screen:
        screen.preview(Images(np.zeros((1, 2, 2), np.uint8)), Path("runs/x/previews/step-00000001.png"))
        screen.preview("first\x1b[31m\n\nsecond", None)
    out = capsys.readouterr().out
    assert "runs/x/previews/step-00000001.png" in out
    assert "  | second" in out
    assert "\x1b" not in out


def test_the_status_line_has_every_mean_by_name(capsys):
    values = {"loss": 1.25, "correct": 0.912, "kl": 0.5}
    status = Status(
        step=3, epoch=0.5, progress=0.5, seconds=1.0, seconds_left=60.0, means=values, units_per_s=100.0,
        grad_norm=1.0, clipped=0.0, saturated=0.0, lr=0.01, waiting=0.0, val_means=values, unit="row",
    )  # fmt: skip
    with Screen() as screen:
        screen.status(status)
    line = capsys.readouterr().out
    assert "validation loss 1.250 · correct 91.2% · kl 0.5" in line
    assert "100 rows/s" in line


def test_a_summary_with_anything_in_it_is_listed(elman, home, tmp_path):
    shutil.copytree(home / "runs/lm-text", tmp_path / "runs" / "odd")
    path = tmp_path / "runs" / "odd" / "summary.json"
    odd = {"val_loss": "[red]", "parameters": [1], "train_seconds": 1e300, "val_bits": {"a": 1}}
    path.write_text(json.dumps(odd))
    done = elman("list", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "runs/odd" in done.out


# parameters


@dataclass(frozen=True)
class Every:
    """A field of each kind that the command line treats on its own."""

    size: PositiveInt | None = None
    """Depends on `no_size`."""
    no_size: bool = False
    """Without."""
    words: tuple[str, ...] = ()
    """Several."""
    for_: str = "1s"
    """A span
    of time."""
    choice: Annotated[str, Choices(lambda: ("one", "two"))] = "one"
    """From a registry."""
    callback: Callable[[str], None] = print


def test_parameters_are_derived_from_the_fields_of_a_dataclass(capsys):
    @parameters.command
    def verb(*, options: Every = Every()) -> Every:
        return options

    def parse(*words: str) -> Every:
        app = App(name="verb", result_action="return_value")
        app.default(verb)
        return app(words, exit_on_error=False, print_error=False)

    found = parse("--size", "3", "--no-size", "--words", "a", "--words", "b", "--for", "2s", "--choice", "three")
    assert isinstance(found, Every)
    assert (found.size, found.no_size, found.words, found.for_, found.choice) == (3, True, ("a", "b"), "2s", "three")
    assert found.callback is print
    for wrong in ("--callback=x", "--no-no-size", "--empty-words", "--size=8.5"):
        with pytest.raises(CycloptsError):
            parse(wrong)
    assert field_docs(Every)["for_"] == "A span of time."
    assert flags("`size` 3 exceeds `for_`, 'x_y' `Z`") == "--size 3 exceeds --for, 'x_y' `Z`"
