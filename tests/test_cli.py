"""The command line as it is typed: what it does, and the one line that a mistake gets."""

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
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

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
"""

# Importing torch takes longer than what most commands do: this process has done it, and forks for each of them.
FORKING = """
import io, json, os, runpy, sys, traceback, warnings
import torch._dynamo  # which an optimizer imports
import elman.cli.compare, elman.cli.demo, elman.cli.doctor, elman.cli.eval, elman.cli.inspect, elman.cli.list
import elman.cli.sample, elman.cli.train, elman.inspect.lm
from elman.cells.shipped import shipped

shipped()  # imports the cells

for line in sys.stdin:
    asked = json.loads(line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads, of which there are none
        child = os.fork()
    if child == 0:
        os.chdir(asked["cwd"])
        os.environ |= asked["env"]
        os.dup2(os.open(asked["stdin"], os.O_RDONLY), 0)
        os.dup2(os.open(asked["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(asked["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False))
        sys.argv, code = ["elman", *asked["words"]], 1
        try:
            runpy.run_module("elman", run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)  # taking torch down in good order would take a second
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
ENVIRONMENT = {"COLUMNS": "250", "PYTHONIOENCODING": "utf-8"}  # so that no table is cut


class Elman:
    """`elman WORDS` as often as one likes."""

    def __init__(self, folder: Path):
        self.folder, self.env = folder, ENVIRONMENT | {"ELMAN_CACHE": str(folder / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __call__(self, *words, cwd, stdin=os.devnull) -> SimpleNamespace:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        files = {name: str(self.folder / name) for name in ("stdout", "stderr")} | {"stdin": str(stdin)}
        asked = {"words": list(map(str, words)), "cwd": str(cwd), "env": self.env} | files
        self.process.stdin.write(json.dumps(asked) + "\n")
        code = int(self.process.stdout.readline())
        out, err = (Path(files[name]).read_bytes().decode() for name in ("stdout", "stderr"))
        return SimpleNamespace(code=code, out=out, err=err)


@pytest.fixture(scope="module")
def elman(tmp_path_factory) -> Iterator[Elman]:
    made = Elman(tmp_path_factory.mktemp("elman"))
    yield made
    made.process.stdin.close()
    made.process.wait()
    made.process.stdout.close()


def command(*words):
    """`elman WORDS` as a process of its own."""
    return [sys.executable, "-m", "elman", *map(str, words)]


def spawn(*words, cwd, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process inherits that Ctrl-C is ignored
    try:
        return subprocess.Popen(command(*words), cwd=cwd, env=os.environ | ENVIRONMENT, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def summary(run):
    return json.loads((run / "summary.json").read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory, elman):
    """A folder with texts, good and bad, a finished run and two damaged ones. Nobody changes it."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "text.txt").write_text(TEXT)
    (folder / "other.txt").write_text(TEXT.replace("cat", "cow"))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "one.txt").write_text("t")
    (folder / "latin.txt").write_bytes("un café au lait".encode("latin-1"))
    (folder / "utf16.txt").write_text("un café au lait", "utf-16")
    (folder / "nothing").mkdir()
    (folder / "own.py").write_text(OWN)
    (folder / "broken.py").write_text("import nowhere_to_be_found\n")
    (folder / "good.toml").write_text('hidden = 8\ncell = "gru"\nsteps = 3\npreview = false\nbatch_size = 4\nseq_len = 8\n')
    (folder / "typo.toml").write_text("hiden = 8\n")
    (folder / "bad.toml").write_text("hidden = \n")
    (folder / "wrong.toml").write_text("hidden = 0\nlr = -1.5\n")
    trained = elman("train", "lm", "text.txt", "--steps=12", "--eval-every=5", "--out=runs/lm-text", *SMALL, cwd=folder)
    assert trained.code == 0, trained.err
    for name, file in (("cut", "model.safetensors"), ("cut-state", "resume/state.safetensors"), ("bad", "config.json")):
        shutil.copytree(folder / "runs/lm-text", folder / name)
        path = folder / name / file
        path.write_bytes(path.read_bytes()[:-20])
    return folder


@pytest.fixture
def run(place, tmp_path):
    """A copy of the finished run, in a folder with its text."""
    (tmp_path / "text.txt").write_text(TEXT)
    return Path(shutil.copytree(place / "runs/lm-text", tmp_path / "run"))


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
        f"{TRAIN} --hidden 0 --layers -1 --batch-size 0 --seq-len -2 --lr 0 --clip nan --valid 1 --dropout 1.5 --epochs 0",
        "--hidden 0; --layers -1; --batch-size 0; --seq-len -2; --lr 0; --clip nan; --valid 1; --dropout 1.5; --epochs 0",
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
    ("train lm other.txt --resume runs/lm-text --steps 3", "other.txt; runs/lm-text; not the text"),
    (f"{RESUME} --hidden 9", "--hidden; 9; 8"),
    (f"{RESUME} --cell gru", "--cell; gru; lstm"),
    (f"{RESUME} --tokens byte", "--tokens; byte; char"),
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
    ("inspect runs/lm-text runs/lm-text --unit 1.c.1", "--unit; one run"),
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
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "words"),
    [pytest.param(typed, words, id=typed) for typed, words in MISTAKES],
)
def test_a_mistake_is_one_line_and_changes_nothing(elman, place, tmp_path, typed, words):
    here = shutil.copytree(place, tmp_path / "here")
    before = contents(here)
    done = elman(*shlex.split(typed), cwd=here)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    (line,) = done.err.splitlines()
    for word in words.split("; "):
        assert re.search("|".join(map(re.escape, word.split("|"))), line, re.IGNORECASE), (word, line)
    assert contents(here) == before


def test_a_mistake_ends_the_real_command_with_code_2(tmp_path):
    done = subprocess.run(command("train", "lm", "nowhere.txt"), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere.txt" in done.stderr
    assert done.stdout == ""
    assert contents(tmp_path) == {}


def test_where_there_is_no_run_yet_it_is_said_how_to_make_one(elman, tmp_path):
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


# what goes well


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
def test_every_verb_explains_itself(elman, tmp_path, verb):
    done = elman(*verb.split(), "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert verb in done.out
    if verb == "train lm":
        for word in ("--for", "--epochs", "--steps", "--cell", "--resume", "--out", "--config", "--bptt", "cosine"):
            assert word in done.out


def test_the_version_is_told(elman, tmp_path):
    assert re.search(r"\d+\.\d+", elman("--version", cwd=tmp_path).out)


def test_training_tells_what_it_does_and_what_to_type_next(elman, tmp_path):
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
            assert "1 left out" in done.out
    models = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in given}
    assert len(set(models.values())) == 1


def test_what_came_through_a_pipe_is_gone_on_with(tmp_path):
    train = command("train", "lm", "-", "--steps=4", "--out=run", *SMALL)
    done = subprocess.run(train, cwd=tmp_path, input=TEXT, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    # the encoded text is kept: nothing is piped in this time
    again = command("train", "lm", "--resume=run", "--steps=3", "--no-preview")
    done = subprocess.run(again, cwd=tmp_path, stdin=subprocess.DEVNULL, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert summary(tmp_path / "run")["steps"] == 7


def test_another_text_through_a_pipe_is_refused_when_a_run_goes_on(elman, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text(TEXT.replace("cat", "cow"))
    elman("train", "lm", "-", "--steps=4", "--out=run", *SMALL, cwd=tmp_path, stdin=tmp_path / "text.txt")
    before = contents(tmp_path)
    done = elman("train", "lm", "-", "--resume=run", "--steps=3", cwd=tmp_path, stdin=tmp_path / "other.txt")
    assert done.code == 2
    assert "not the text" in done.err
    assert contents(tmp_path) == before


def test_options_may_stand_in_a_file_and_the_command_line_wins(elman, place, tmp_path):
    for name in ("text.txt", "good.toml"):
        shutil.copy(place / name, tmp_path / name)
    done = elman("train", "lm", "text.txt", "--config=good.toml", "--steps=2", "--out=run", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    options = json.loads((tmp_path / "run" / "config.json").read_text())["options"]
    assert summary(tmp_path / "run")["steps"] == 2
    assert {name: options[name] for name in ("hidden", "cell", "batch_size", "seq_len", "preview")} == {
        "hidden": 8, "cell": "gru", "batch_size": 4, "seq_len": 8, "preview": False,
    }  # fmt: skip
    assert "  | " not in done.out


def test_the_same_options_may_be_said_again_when_a_run_goes_on(elman, run):
    done = elman("train", "lm", "text.txt", "--resume=run", "--steps=3", "--hidden=8", "--seed=0", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert summary(run)["steps"] == 15


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_the_command_that_goes_on(elman, tmp_path, number, code):
    (tmp_path / "text.txt").write_text(TEXT)
    words = ["train", "lm", "text.txt", "--steps=700", "--eval-every=100", "--out=run", *SMALL]
    process = spawn(*words, cwd=tmp_path, text=True)
    wait_for((tmp_path / "run" / "log.jsonl").exists, process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code
    (line,) = err.splitlines()
    step = int(re.search(r"step (\d+)", line)[1])
    assert 100 <= step < 700
    assert elman("sample", "run", "--length=5", cwd=tmp_path).code == 0
    after = elman(*shlex.split(line.partition("go on with: elman ")[2]), cwd=tmp_path)
    assert (after.code, after.err) == (0, "")
    assert summary(tmp_path / "run")["steps"] == 700
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_greedy_and_seeded_samples_are_the_same_each_time(elman, place):
    def sample(*words):
        done = elman("sample", *words, cwd=place)
        assert (done.code, done.err) == (0, "")
        return done.out

    assert sample("--greedy", "--length=40") == sample("--greedy", "--length=40", "--seed=3")
    seeded = sample("--seed=3", "--length=40", "--prompt=the ")
    assert seeded == sample("--seed=3", "--length=40", "--prompt=the ")
    assert seeded == sample("--seed=3", "--length=40", "--prompt=the ", "--chars-per-second=4000")
    assert seeded != sample("--seed=4", "--length=40", "--prompt=the ")
    assert sample("--length=40") != sample("--length=40")


def test_a_sample_has_exactly_the_length_asked_for(elman, place):
    for length in (1, 63, 64, 65, 1500):
        written = elman("sample", f"--length={length}", cwd=place).out
        assert len(written) == length + 1
        assert set(written[:-1]) <= set(TEXT)
        assert written.endswith("\n")
    written = elman("sample", "--prompt=two dogs", "--length=10", cwd=place).out
    assert written.startswith("two dogs")
    assert len(written) == 8 + 10 + 1


def test_several_streams_are_written_one_after_the_other(elman, place):
    texts = elman("sample", "--num-samples=3", "--length=20", "--prompt=a ", "--seed=1", cwd=place).out.split("\n\n")
    assert [len(text.rstrip("\n")) for text in texts] == [22, 22, 22]
    assert all(text.startswith("a ") for text in texts)
    assert len(set(texts)) == 3


def test_a_sample_ends_with_its_stop(elman, place):
    written = elman("sample", "--stop= ", "--length=2000", "--seed=1", cwd=place).out
    assert written.index(" ") == len(written) - 2
    streams = elman("sample", "--stop= ", "--length=2000", "--num-samples=2", "--seed=1", cwd=place).out
    assert all(text.rstrip("\n").index(" ") == len(text.rstrip("\n")) - 1 for text in streams.split("\n\n"))


def test_unknown_characters_of_the_prompt_may_be_left_out_or_replaced(elman, place):
    for how, told in (("skip", "left out"), ("replace", "replaced")):
        done = elman("sample", "--prompt=thé cát", f"--unknown={how}", "--length=5", "--seed=0", cwd=place)
        assert done.code == 0
        assert len(done.err.splitlines()) == 1
        assert all(word in done.err for word in (told, "'é'", "'á'"))
    same = [elman("sample", f"--prompt={prompt}", "--unknown=replace", "--length=30", "--seed=0", cwd=place).out[-31:]
            for prompt in ("thé cát", "the cat")]  # fmt: skip
    assert same[0] == same[1]


def test_the_last_weights_can_be_asked_for(elman, place):
    assert elman("sample", "cut", "--weights=last", "--length=5", cwd=place).code == 0
    assert elman("eval", "bad", "--weights=last", cwd=place).code == 0


@pytest.mark.parametrize("words", [["sample", "--length=20000"], ["list", "cells"]])
def test_a_reader_that_has_enough_is_no_error(place, words):
    process = spawn(*words, cwd=place)
    head = subprocess.run(["head", "-c", "10"], stdin=process.stdout, capture_output=True)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert len(head.stdout) == 10
    assert err == b""


def test_ctrl_c_ends_a_slow_sample_without_a_traceback(place):
    process = spawn("sample", "--chars-per-second=20", "--length=2000", "--seed=1", cwd=place)
    process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert len(err.splitlines()) <= 1


def test_eval_gives_the_loss_of_the_held_out_part(elman, place):
    def figures(*words):
        done = elman("eval", *words, "--json", cwd=place)
        assert (done.code, done.err) == (0, "")
        return json.loads(done.out)

    held = figures("runs/lm-text")
    assert held["loss"] == pytest.approx(summary(place / "runs/lm-text")["val_loss"], rel=1e-6)
    assert held["bits"] == pytest.approx(held["loss"] / math.log(2))
    assert held["tokens"] == len(TEXT) // 10 - 1
    assert figures("--split=train")["tokens"] > held["tokens"]
    reset = figures("--split=train", "--reset=3")
    assert reset["tokens"] == figures("--split=train")["tokens"]
    assert reset["loss"] != figures("--split=train")["loss"]
    assert figures("--text=other.txt")["tokens"] == len(TEXT) - 1
    plain = elman("eval", cwd=place).out
    assert f"{held['loss']:.4f}" in plain
    assert f"{held['bits']:.4f}" in plain


def test_lists_have_what_there_is(elman, place):
    runs, cells, tasks = (elman("list", *words, cwd=place).out for words in ((), ("cells",), ("tasks",)))
    for word in ("runs/lm-text", "1 x 8 lstm", f"{summary(place / 'runs/lm-text')['val_loss']:.4f}"):
        assert word in runs
    for word in ("lstm", "gru_before", "forget_bias", "rhn", "slstm", "mut3"):
        assert word in cells
    assert "lm" in tasks


def test_a_damaged_run_does_not_hide_the_others_in_the_list(elman, place, tmp_path):
    for name, origin in (("bad", "bad"), ("good", "runs/lm-text")):
        shutil.copytree(place / origin, tmp_path / "runs" / name)
    done = elman("list", cwd=tmp_path)
    assert "runs/good" in done.out
    assert "runs/bad" in done.out + done.err
    assert done.code == 0


def test_the_doctor_tells_the_machine_and_what_runs_each_cell(elman, tmp_path):
    done = elman("doctor", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for word in ("torch", "bfloat16", "threads", "lstm", "fused", "mut1"):
        assert word in done.out


def test_the_doctor_looks_a_cell_of_ones_own_over(elman, place):
    done = elman("doctor", "--cell=own.py:Own", cwd=place)
    assert (done.code, done.err) == (0, "")
    for word in ("Own", "z, n", "U_z", "p_n", "parameters", "fused", "agrees", "ms", "lstm"):
        assert word in done.out


def test_the_doctor_says_why_a_cell_cannot_be_traced(elman, place):
    done = elman("doctor", "--cell=own.py:Rolled", cwd=place)
    assert (done.code, done.err) == (0, "")
    for word in ("Rolled", "cannot be traced", "roll", "loop", "agrees", "ms"):
        assert word in done.out


def test_the_demo_trains_writes_and_says_what_to_type_next(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT * 5)
    done = subprocess.run(
        command("demo", "--text", "text.txt", "--for", "2s"), cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = (tmp_path / "runs").iterdir()
    assert summary(run)["train_seconds"] >= 2
    written = next(line for line in done.stdout.splitlines() if len(line) > 450 and set(line) <= set(TEXT))
    assert 450 < len(written) <= 510
    for word in ("weights", "bits", f"elman sample runs/{run.name}", "elman train lm", "--for"):
        assert word in done.stdout


def test_inspect_writes_a_report_and_says_where(elman, run):
    done = elman("inspect", run, cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"written: {run}/report.html"
    assert {"report.html", "report.json", "report"} <= {path.name for path in run.iterdir()}
    assert elman("sample", run, "--greedy", cwd=run.parent).code == 0  # the run is as it was


def test_inspect_paints_one_unit(elman, run):
    done = elman("inspect", run, "--unit", "1.c.3", "--out", "new", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in (run.parent / "new").iterdir()} == {"unit-1.c.3.html", "unit-1.c.3.png"}


def test_inspect_lays_two_runs_over_each_other_and_fresh_cells_side_by_side(elman, run):
    shutil.copytree(run, run.parent / "other")
    done = elman("inspect", run, run.parent / "other", "--out", "both", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert "other" in (run.parent / "both" / "report.html").read_text("utf-8")
    done = elman("inspect", "--cells", "rnn,lstm:forget_bias=0", "--steps=20", cwd=run.parent)
    assert (done.code, done.err) == (0, "")
    assert "lstm:forget_bias=0" in (run.parent / "runs/cells/report.html").read_text("utf-8")


def test_compare_trains_each_cell_and_says_which_is_best(elman, place, tmp_path):
    words = (
        "compare",
        place / "text.txt",
        "--cells",
        f"rnn,gru,{place / 'own.py'}:Own",
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
    alike = elman(*words[: -len(SMALL) - 1], "--out=same", "--by=size", *SMALL, cwd=tmp_path)
    assert alike.code == 0
    hidden = {json.loads((tmp_path / "same" / name / "config.json").read_text())["task"]["hidden"] for name in runs}
    assert hidden == {8}


def test_a_sample_may_be_painted_and_held(elman, place):
    plain = elman("sample", "--seed=1", "--length=80", cwd=place)
    painted = elman("sample", "--seed=1", "--length=80", "--paint=1.c.3", cwd=place)
    assert (painted.code, plain.code) == (0, 0)
    assert re.sub(r"\x1b\[[\d;]*m", "", painted.out) == plain.out
    assert "\x1b[97;48;2;" in painted.out
    held = elman("sample", "--seed=1", "--length=80", "--hold=1.c.3=9", "--hold=1.c.4=-9", cwd=place)
    assert held.code == 0
    assert held.out != plain.out
    assert "step by step" in held.err
