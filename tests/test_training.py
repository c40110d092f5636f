"""The training loop: it learns, says what it does, and can be stopped anywhere and go on as if it had not been."""

import itertools
import json
import math
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.testing import assert_close

import elman
from elman.cells.tap import hold
from elman.data.windows import Windows
from elman.decode.sampling import Sampling
from elman.errors import UserError
from elman.tasks.lm import LM, LMOptions
from elman.training import loop
from elman.training.api import load, train
from elman.training.device import Precision
from elman.training.evaluate import evaluate
from elman.training.reporter import Silent
from elman.training.run import random_states, set_random_states
from elman.training.schedule import FLOOR, Stretch

GREEDY = Sampling(greedy=True)
FLOAT = Precision(torch.float32, "in a test")
CPU = torch.device("cpu")
SIZES = {"hidden": 8, "embedding": 8, "batch_size": 4, "seq_len": 8, "valid": 0.25}
TINY = SIZES | {"steps": 20, "eval_every": 6, "precision": "float32", "device": "cpu", "preview": False}
SAVED = ("model.safetensors", *(f"resume/{name}.safetensors" for name in ("model", "optimizer", "state")))
OWN = """
import random
import numpy as np
import torch
import elman
from elman.cells.tap import hold

class Own(elman.Cell):
    gates = ("z", "n")
    start = {"z": 1.0, "p_n": 0.5}

    def step(self, x, h):
        z = torch.sigmoid(x.z + self.recur("z", of=h).z)
        n = torch.tanh(x.n + self.recur("n", of=z * h).n + self.p_n * h)
        return ((1 - z) * h + z * n,)

class Noisy(elman.Cell):  # `roll` cannot be traced
    gates = ("n",)

    def step(self, x, h):
        noise = random.random() + np.random.random() + torch.rand(())
        return (torch.tanh(x.n + torch.roll(h, 1, -1) + 0.1 * noise),)
"""


def prose(length, seed=0):
    words = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs", "run", "by")
    draw = random.Random(seed)
    return " ".join(draw.choice(words) for _ in range(length))[:length]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(prose(400))
    return path


def fit(text, out, **options):
    """A small training. Python's and NumPy's random states, which a cell of one's own may use, begin alike."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    return train("lm", text, out=out, **(TINY | options))


@contextmanager
def at_each_update(action):
    """Calls `action(number, optimizer)` after every update in this process, the first being 1."""
    numbers = itertools.count(1)
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: action(next(numbers), optimizer))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def before_each_update(action):
    """Calls `action(gradients)` when they are as the optimizer takes them."""
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: action([w.grad.clone() for w in optimizer.param_groups[0]["params"]])
    )
    try:
        yield
    finally:
        handle.remove()


def interrupt_after(update, number=signal.SIGINT):
    """Ctrl-C while that update is made."""
    return at_each_update(lambda count, _: signal.raise_signal(number) if count == update else None)


class Listener(Silent):
    """Keeps what training tells."""

    def __init__(self):
        self.told, self.statuses, self.samples = [], [], []

    def log(self, line):
        self.told.append(line)

    def status(self, status):
        self.statuses.append(status)

    def sample(self, text):
        self.samples.append(text)


class Clock:
    """Time that passes only when it is looked at, each time by `tick` seconds."""

    def __init__(self, monkeypatch, tick):
        looked = itertools.count()
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: tick * next(looked)))


def summary(run):
    return json.loads((run / "summary.json").read_text())


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def left(run):
    """All that must be the same whether a training was stopped or not."""
    files = {name: (run / name).read_bytes() for name in SAVED}
    files["random"] = json.loads((run / "resume" / "training.json").read_bytes())["random"]
    files["looks"] = [(line["step"], line["val_loss"]) for line in log(run) if line["val_loss"] is not None]
    same = ("val_loss", "val_bits", "tokens", "steps", "epochs", "best_step", "parameters")
    return files | {key: summary(run)[key] for key in same}


def assert_same(run, unbroken, what, killed=False):
    ours, theirs = left(run), left(unbroken)
    if killed:  # a line of the log may be lost with the process; none is wrong
        assert set(ours.pop("looks")) <= set(theirs.pop("looks")), what
        ours["random"], theirs["random"] = (found.pop("random")["torch"] for found in (ours, theirs))
    assert [name for name in theirs if ours[name] != theirs[name]] == [], what


def unigram(text):
    """The nats a character of a model that knows only how frequent each is."""
    return -sum(n / len(text) * math.log(n / len(text)) for n in Counter(text).values())


def windows(text, **sizes):
    """The task, fresh, and the data that `fit` would train on."""
    options, data = LM.prepare([str(text)], LMOptions(**(SIZES | sizes)))
    torch.manual_seed(0)
    return LM.new(options, data), data


# it learns


def test_a_text_of_one_batch_is_learned_by_heart(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be, or not to be, that is the question: whether")
    model = train("lm", text, out=tmp_path / "run", steps=200, hidden=32, valid=0, precision="float32", preview=False)
    source = model.task.source(model.config, "train", None, None)
    loss = evaluate(model.task, source, CPU, FLOAT)["loss"]
    assert len(source) == 1
    assert loss < 0.05 * unigram(text.read_text())


def test_hello_is_reproduced(tmp_path):
    (tmp_path / "hello").write_text("hello")
    model = train("lm", tmp_path / "hello", out=tmp_path / "run", steps=200, preview=False)
    assert model.sample("h", 4, how=GREEDY) == "ello"
    assert summary(tmp_path / "run")["val_loss"] is None


def test_a_longer_text_is_learned_far_below_its_unigrams_on_what_was_not_trained_on(tmp_path):
    (tmp_path / "text.txt").write_text("abcdefghij" * 200)
    model = train(
        "lm",
        tmp_path / "text.txt",
        out=tmp_path / "run",
        steps=150,
        hidden=16,
        batch_size=8,
        seq_len=16,
        lr=0.02,
        preview=False,
    )
    assert summary(tmp_path / "run")["val_loss"] < 0.2 * math.log(10)
    assert model.sample("c", 12, how=GREEDY) == "defghijabcde"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_both_precisions_train_and_keep_the_weights_in_float32(text, tmp_path, precision):
    model = fit(text, tmp_path / "run", precision=precision)
    assert summary(tmp_path / "run")["precision"].startswith(precision)
    assert {weight.dtype for weight in model.task.parameters()} == {torch.float32}
    assert summary(tmp_path / "run")["val_loss"] < math.log(len(set(text.read_text())))


def test_bfloat16_computes_something_else_but_not_much_else(text, tmp_path):
    losses = [
        fit(text, tmp_path / name, precision=name) and summary(tmp_path / name)["val_loss"]
        for name in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_equal_seeds_give_equal_runs_and_others_do_not(text, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(text, tmp_path / name, seed=seed, dropout=0.3)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


# the gradient


def first_gradients(text, out, **options):
    """Those of the first update, as the optimizer gets them, and the norm that was logged for it."""
    taken, listener = [], Listener()
    with before_each_update(taken.append):
        fit(text, out, steps=2, eval_every=1, reporter=listener, **options)
    return taken[0], listener.statuses[0].grad_norm


def test_an_update_is_that_of_adamw(text, tmp_path):
    """Loshchilov & Hutter 2019, with moments over some 10 and 100 updates."""
    seen = []

    def look(_, optimizer):
        group = optimizer.param_groups[0]
        seen[-1] |= {"after": [w.detach().clone() for w in group["params"]], "lr": group["lr"]}

    with before_each_update(lambda gradients: seen.append({"g": gradients})), at_each_update(look):
        fit(text, tmp_path / "run", steps=5, weight_decay=0.5)
    for number in range(len(seen[0]["g"])):
        mean, square = 0.0, 0.0
        for time_, (before, now) in enumerate(itertools.pairwise([{"g": None, "after": None}, *seen]), 1):
            g, rate = now["g"][number], now["lr"]
            mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
            if before["after"] is not None:
                step = mean / (1 - 0.9**time_) / ((square / (1 - 0.99**time_)).sqrt() + 1e-8)
                expected = before["after"][number] * (1 - rate * 0.5) - rate * step
                assert_close(now["after"][number], expected, rtol=1e-4, atol=1e-6)


def test_clipping_by_norm_shortens_the_gradient_and_logs_the_norm_before(text, tmp_path):
    raw, norm = first_gradients(text, tmp_path / "raw", clip=1e9)
    clipped, logged = first_gradients(text, tmp_path / "clipped", clip=0.01)
    assert norm == pytest.approx(float(torch.nn.utils.get_total_norm(raw)), rel=1e-5)
    assert norm > 0.1
    assert logged == norm
    assert_close(clipped, [gradient * 0.01 / norm for gradient in raw], rtol=1e-4, atol=1e-9)


def test_clipping_begins_where_the_task_says_if_nothing_is_said(text, tmp_path, monkeypatch):
    asked, norm = first_gradients(text, tmp_path / "asked", clip=0.01)
    monkeypatch.setattr(LM, "clip", 0.01)
    usual, logged = first_gradients(text, tmp_path / "usual")
    assert logged == norm
    assert_close(usual, asked, rtol=0, atol=0)


def test_clipping_by_value_bounds_every_value_and_logs_the_norm_before(text, tmp_path):
    raw, norm = first_gradients(text, tmp_path / "raw", clip=1e9)
    clipped, logged = first_gradients(text, tmp_path / "clipped", clip=0.01, clip_by="value")
    assert logged == norm
    assert max(float(gradient.abs().max()) for gradient in raw) > 0.02
    assert_close(clipped, [gradient.clamp(-0.01, 0.01) for gradient in raw])


def test_accumulated_batches_give_the_mean_of_their_gradients_with_the_state_carried(text, tmp_path):
    taken, _ = first_gradients(text, tmp_path / "run", accumulate=3, clip=1e9)
    task, data = windows(text)
    state, losses = None, []
    for index in range(3):
        loss, state, _ = task.loss(data.train.batch(0, index), state)
        losses.append(loss)
    assert_close(taken, list(torch.autograd.grad(sum(losses) / 3, list(task.parameters()))))


def test_accumulation_counts_updates_not_batches(text, tmp_path):
    fit(text, tmp_path / "run", accumulate=3, steps=4)
    assert summary(tmp_path / "run")["steps"] == 4
    assert summary(tmp_path / "run")["tokens"] > 2 * 4 * 4 * 8


def test_weight_decay_pulls_the_weights_to_zero_and_may_be_none(text, tmp_path):
    decays = []
    for name, decay in (("none", 0.0), ("strong", 10.0)):
        with at_each_update(lambda _, optimizer: decays.append(optimizer.param_groups[0]["weight_decay"])):
            fit(text, tmp_path / name, weight_decay=decay)
    size = {
        name: sum(float(w.detach().square().sum()) for w in load(tmp_path / name, weights="last").task.parameters())
        for name in ("none", "strong")
    }
    assert set(decays) == {0.0, 10.0}
    assert size["strong"] < 0.5 * size["none"]


@pytest.mark.filterwarnings("ignore")  # torch's own, about its own
def test_a_task_can_be_wrapped_for_training_in_several_processes(text, tmp_path):
    task, data = windows(text, layers=2)
    alone = []
    state = None
    for index in range(2):
        loss, state, _ = task(data.train.batch(0, index), state)
        alone.append((loss.detach(), torch.autograd.grad(loss, list(task.parameters()))))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped, state = torch.nn.parallel.DistributedDataParallel(task), None
        for index, (loss, gradients) in enumerate(alone):
            task.zero_grad()
            ours, state, counts = wrapped(data.train.batch(0, index), state)
            ours.backward()
            assert_close(ours, loss)
            assert_close([weight.grad for weight in task.parameters()], list(gradients))
            assert int(counts["tokens"]) == 32
    finally:
        torch.distributed.destroy_process_group()


# the loss on what was not trained on


def test_validation_carries_the_state_however_it_is_cut(tmp_path):
    (tmp_path / "text.txt").write_text(prose(1000))
    model = fit(tmp_path / "text.txt", tmp_path / "run", steps=60, lr=0.02)
    ids = model.task.source(model.config, "valid", None, None).ids
    pieces, one = Windows.of_tokens(ids, 1, 5), Windows.of_tokens(ids, 1, 50)
    carried = evaluate(model.task, pieces, CPU, FLOAT)
    assert carried["loss"] == pytest.approx(evaluate(model.task, one, CPU, FLOAT)["loss"], rel=1e-5)
    assert carried["tokens"] == len(ids) - 1
    reset = evaluate(model.task, pieces, CPU, FLOAT, reset=True)
    alone = [
        evaluate(model.task, Windows.of_tokens(ids[at : at + 6], 1, 5), CPU, FLOAT) for at in range(0, len(ids) - 1, 5)
    ]
    assert reset["nats"] == pytest.approx(sum(sums["nats"] for sums in alone), rel=1e-5)
    assert reset["loss"] > 1.01 * carried["loss"]


def test_validation_leaves_training_as_it_was(text):
    task, data = windows(text, dropout=0.5)
    task.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    losses = [evaluate(task, data.train, CPU, FLOAT)["loss"] for _ in range(2)]
    assert losses[0] == losses[1]
    assert task.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.grad is None for weight in task.parameters())


def test_the_summary_is_of_the_best_weights_on_the_whole_validation_part(tmp_path):
    (tmp_path / "text.txt").write_text(prose(2000))
    listener, run = Listener(), tmp_path / "run"
    fit(tmp_path / "text.txt", run, valid=0.6, eval_every=2, reporter=listener)
    assert any("validation" in line and "first" in line for line in listener.told)  # a part of it, while training
    model = load(run)
    source = model.task.source(model.config, "valid", None, None)
    figures, sums = summary(run), evaluate(model.task, source, CPU, FLOAT)
    assert figures["val_loss"] == pytest.approx(sums["loss"], rel=1e-6)
    assert sums["tokens"] == 1199
    assert figures["val_bits"] == pytest.approx(figures["val_loss"] / math.log(2), rel=1e-9)


def test_looks_take_a_small_part_of_a_training(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(prose(2000))
    looked, real = [], loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *a, **k: looked.append(real(*a, **k)) or looked[-1])
    fit(tmp_path / "text.txt", tmp_path / "run", valid=0.6, steps=40, eval_every=None)
    assert 10 < len(looked) < 30
    *while_training, _, _ = looked  # after it come the last look and the summary
    assert sum(sums["tokens"] for sums in while_training) < 0.5 * summary(tmp_path / "run")["tokens"]


class Looks:
    """Stands for the validation loss: gives chosen numbers, and keeps the weights that it was given."""

    def __init__(self, monkeypatch, losses):
        self.losses, self.weights = list(losses), []
        monkeypatch.setattr(loop, "evaluate", self)

    def __call__(self, task, *_, **__):
        self.weights.append({name: value.clone() for name, value in task.state_dict().items()})
        loss = self.losses[min(len(self.weights), len(self.losses)) - 1]
        return {"loss": loss, "nats": loss, "tokens": 1.0}


def test_the_best_weights_are_kept_and_so_are_the_last(text, tmp_path, monkeypatch):
    looks = Looks(monkeypatch, [5.0, 3.0, 4.0, 3.5, 3.2, 9.0])
    model = fit(text, tmp_path / "run", steps=10, eval_every=2)
    assert summary(tmp_path / "run")["best_step"] == 4
    assert_close(dict(load(tmp_path / "run").task.state_dict()), looks.weights[1], rtol=0, atol=0)
    assert_close(dict(load(tmp_path / "run", weights="last").task.state_dict()), looks.weights[4], rtol=0, atol=0)
    assert_close(dict(model.task.state_dict()), looks.weights[1], rtol=0, atol=0)  # what `train` returns
    assert [line["val_loss"] for line in log(tmp_path / "run")] == [5.0, 3.0, 4.0, 3.5, 3.2]


def test_an_equal_loss_is_no_better_one(text, tmp_path, monkeypatch):
    Looks(monkeypatch, [2.0])
    fit(text, tmp_path / "run", steps=6, eval_every=2)
    assert summary(tmp_path / "run")["best_step"] == 2


def test_patience_ends_a_training_that_no_longer_improves(text, tmp_path, monkeypatch):
    Looks(monkeypatch, [5.0, 6.0, 4.0, 4.5, 4.2, 1.0])
    fit(text, tmp_path / "run", steps=1000, eval_every=3, patience=2)
    figures = summary(tmp_path / "run")
    assert figures["steps"] == 15  # worse at 6, better at 9, worse at 12 and 15
    assert figures["best_step"] in (9, 15)  # it looks once more at its end
    with pytest.raises(UserError, match="finished"):
        train("lm", resume=tmp_path / "run")


def test_patience_that_has_run_out_begins_again_with_more_training(text, tmp_path, monkeypatch):
    Looks(monkeypatch, [1.0, 2.0])
    fit(text, tmp_path / "run", steps=1000, eval_every=3, patience=2)
    before = summary(tmp_path / "run")["steps"]
    train("lm", resume=tmp_path / "run", steps=1000)
    assert summary(tmp_path / "run")["steps"] == before + 6
    assert summary(tmp_path / "run")["best_step"] == 3


def test_without_a_validation_part_the_last_weights_are_the_best(text, tmp_path):
    fit(text, tmp_path / "run", valid=0)
    best, last = (dict(load(tmp_path / "run", weights=which).task.state_dict()) for which in ("best", "last"))
    assert_close(best, last, rtol=0, atol=0)
    assert summary(tmp_path / "run")["val_loss"] is None
    assert summary(tmp_path / "run")["val_bits"] is None


# how long, and how fast

stretches = st.builds(
    Stretch, st.just("steps"), st.integers(1, 5000).map(float), st.integers(0, 100).map(float), st.just(0)
).map(lambda stretch: Stretch("steps", stretch.amount, stretch.start, int(stretch.start)))


def factors(stretch, warmup):
    steps = range(int(stretch.start), int(stretch.start + stretch.amount))
    return [stretch.rate(stretch.progress(0, 0, step), step, warmup) for step in steps]


@settings(deadline=None, derandomize=True, database=None)
@given(stretches, st.integers(0, 300))
def test_the_rate_rises_and_then_falls_to_2_percent(stretch, warmup):
    rates = factors(stretch, warmup)
    assert all(0 < rate <= 1 for rate in rates)
    top = rates.index(max(rates))
    assert top <= math.ceil(0.1 * stretch.amount)
    assert top <= max(warmup - 1, 0)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[top:]))
    assert stretch.rate(1.0, int(stretch.start + stretch.amount), warmup) == pytest.approx(FLOOR) == 0.02


@pytest.mark.parametrize(
    ("stretch", "reached", "share"),
    [
        (Stretch("for", 60.0), (30.0, 9.0, 9), 0.5),
        (Stretch("epochs", 4.0), (99.0, 1.0, 9), 0.25),
        (Stretch("steps", 10.0), (99.0, 9.0, 9), 0.9),
        (Stretch("for", 60.0, start=30.0), (45.0, 9.0, 9), 0.25),
        (Stretch("epochs", 4.0, start=3.0), (99.0, 5.0, 9), 0.5),
        (Stretch("steps", 10.0, start=20.0, start_step=20), (99.0, 9.0, 40), 1.0),
    ],
)
def test_progress_is_measured_in_what_was_asked_for(stretch, reached, share):
    assert stretch.progress(*reached) == pytest.approx(share)


def rates(action):
    """The learning rates of the updates that an action makes."""
    found = []
    with at_each_update(lambda _, optimizer: found.append(optimizer.param_groups[0]["lr"])):
        action()
    return found


def test_the_updates_use_the_schedule(text, tmp_path):
    used = rates(lambda: fit(text, tmp_path / "run", steps=50, lr=0.01, warmup=4))
    assert len(used) == 50
    assert used[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01], rel=0.02)
    assert used[-1] == pytest.approx(0.0002, rel=0.1)
    assert all(a > b for a, b in itertools.pairwise(used[3:]))


def test_more_steps_on_a_finished_run_are_exactly_those_with_a_warm_up_of_their_own(text, tmp_path):
    fit(text, tmp_path / "run", steps=20, lr=0.01, warmup=3)
    used = rates(lambda: train("lm", resume=tmp_path / "run", steps=40))
    assert len(used) == 40
    assert summary(tmp_path / "run")["steps"] == 60
    assert used[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01], rel=0.02)
    assert used[-1] == pytest.approx(0.0002, rel=0.1)


def test_more_epochs_on_a_finished_run_are_exactly_those(text, tmp_path):
    fit(text, tmp_path / "run", steps=None, epochs=2)
    before = summary(tmp_path / "run")
    train("lm", resume=tmp_path / "run", epochs=3)
    assert before["epochs"] == 2
    assert summary(tmp_path / "run")["epochs"] == 5
    assert summary(tmp_path / "run")["steps"] == before["steps"] / 2 * 5


def test_more_epochs_from_the_middle_of_one_are_as_many(text, tmp_path):
    _, data = windows(text)
    fit(text, tmp_path / "run", steps=len(data.train) + 3)
    train("lm", resume=tmp_path / "run", epochs=1)
    assert summary(tmp_path / "run")["steps"] == 2 * len(data.train) + 3


def test_a_finished_run_does_not_go_on_without_a_word_how_far(text, tmp_path):
    fit(text, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"finished.*--steps"):
        train("lm", resume=tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_epochs_are_passes_over_the_training_part(text, tmp_path):
    _, data = windows(text)
    fit(text, tmp_path / "run", steps=None, epochs=3)
    assert summary(tmp_path / "run")["steps"] == 3 * len(data.train)
    assert summary(tmp_path / "run")["tokens"] == 3 * (len(data.train.ids) - 1)


def test_a_span_of_time_is_trained_for_and_gone_on_with(text, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=0.2)
    run = tmp_path / "run"
    first = rates(lambda: fit(text, run, steps=None, for_="100s", lr=0.01))
    assert 100 <= summary(run)["train_seconds"] < 102
    assert first[-1] < 0.03 * max(first)
    second = rates(lambda: train("lm", resume=run, for_="50s"))
    assert 150 <= summary(run)["train_seconds"] < 154
    assert second[0] < 0.5 * max(second) > 10 * second[-1]


def test_an_interrupted_span_of_time_is_trained_to_its_end(text, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=1)
    with interrupt_after(4), pytest.raises(loop.Interrupted):
        fit(text, tmp_path / "run", steps=None, for_="100s")
    train("lm", resume=tmp_path / "run")
    assert 100 <= summary(tmp_path / "run")["train_seconds"] < 120


def test_two_lengths_at_once_are_refused_and_nothing_is_made(text, tmp_path):
    with pytest.raises(UserError, match=r"`for` and `steps`"):
        fit(text, tmp_path / "run", for_="5m")
    assert not (tmp_path / "run").exists()


# what it says


def test_the_log_has_a_line_of_json_for_every_look_with_the_documented_fields(text, tmp_path):
    listener = Listener()
    fit(text, tmp_path / "run", steps=20, eval_every=6, reporter=listener)
    lines = log(tmp_path / "run")
    fields = {"step", "epoch", "loss", "val_loss", "bits", "tokens_per_s", "grad_norm", "lr", "seconds"}
    assert all(fields <= line.keys() for line in lines)
    assert [line["step"] for line in lines if line["val_loss"] is not None] == [6, 12, 18, 20]
    assert [line["step"] for line in lines if line.get("end")] == [20]
    for line in lines:
        assert line["bits"] == pytest.approx(line["loss"] / math.log(2))
    assert lines[0]["grad_norm"] > 0
    assert [status.line() for status in listener.statuses] == lines[:-1]


def test_the_logged_loss_is_the_mean_since_the_line_before(text, tmp_path):
    losses, real = [], LM.loss

    def spy(self, batch, state=None):
        result = real(self, batch, state)
        if self.training:
            losses.append((float(result[2]["nats"]), int(result[2]["tokens"])))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LM, "loss", spy)
        fit(text, tmp_path / "run", steps=12, eval_every=5)
    first, second = (line["loss"] for line in log(tmp_path / "run")[:2])
    assert first == pytest.approx(sum(n for n, _ in losses[:5]) / sum(t for _, t in losses[:5]), rel=1e-5)
    assert second == pytest.approx(sum(n for n, _ in losses[5:10]) / sum(t for _, t in losses[5:10]), rel=1e-5)


def test_a_state_is_carried_through_an_epoch_and_into_no_other(text, tmp_path):
    begun, plain = [], LM.loss

    def spy(self, batch, state=None):
        if self.training:
            begun.append(state is None)
        return plain(self, batch, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LM, "loss", spy)
        fit(text, tmp_path / "run", steps=None, epochs=3)
    size = len(begun) // 3
    assert size > 1
    assert begun == [True, *[False] * (size - 1)] * 3


def test_the_summary_has_the_final_figures(text, tmp_path):
    model, figures = fit(text, tmp_path / "run", cell="gru"), summary(tmp_path / "run")
    assert figures["parameters"] == sum(weight.numel() for weight in model.task.parameters())
    assert figures["backend"] == "fused"
    assert figures["device"] == "cpu"
    assert figures["tokens"] == 2 * 299  # two epochs over three quarters of 400 characters
    assert figures["tokens_per_s"] > 0
    assert figures["train_seconds"] > 0


def test_it_is_told_what_runs_and_why(text, tmp_path):
    listener = Listener()
    fit(text, tmp_path / "run", cell="mgu", reporter=listener, batch_size=64)
    told = "\n".join(listener.told)
    for word in ("mgu", "fused", "float32", "cpu", "parameters", "small", str(tmp_path / "run")):
        assert word in told


@pytest.mark.parametrize("fresh", [0.0, 1.0])
def test_rows_begin_anew_in_training_only(fresh):
    torch.manual_seed(0)
    model = LM(5, 4, 6, fresh=fresh)
    ids = torch.randint(0, 5, (3, 9))
    batch = {"input": ids[:, :8], "target": ids[:, 1:], "cuts": torch.tensor([0]), "carry": torch.tensor(8)}
    _, state, _ = model.loss(batch)
    anew, carried = (model.eval().loss(batch, before)[0] for before in (None, state))
    assert anew != carried
    assert model.train().loss(batch, state)[0] == (anew if fresh else carried)
    assert model.eval().loss(batch, state)[0] == carried


def test_a_held_unit_is_held_while_writing_and_it_is_told_that_this_is_slow(text, tmp_path):
    model, told = fit(text, tmp_path / "run", cell="lstm"), []
    free = model.sample("a", 100, seed=0, log=told.append)
    assert told == []
    with hold({"1.h.0": 30.0}):
        held = model.sample("a", 100, seed=0, log=told.append)
    assert ["step by step" in line for line in told] == [True]
    assert held != free == model.sample("a", 100, seed=0)


def test_samples_are_shown_now_and_then_and_change_nothing(text, tmp_path):
    listener = Listener()
    fit(text, tmp_path / "shown", preview=True, dropout=0.3, reporter=listener)
    fit(text, tmp_path / "silent", dropout=0.3)
    assert listener.samples
    assert all(set(sample) <= set(text.read_text()) for sample in listener.samples)
    assert_same(tmp_path / "shown", tmp_path / "silent", "with samples")


# it goes on as if it had not been stopped

CASES = {
    "lstm of two layers with dropout": {"layers": 2, "dropout": 0.3},
    "further back than the window": {"bptt": 13},
    "less far back than the window": {"bptt": 3, "cell": "gru", "valid": 0},
    "two batches an update": {"accumulate": 2},
    "a cell of one's own": {"cell": "own.py:Own", "layers": 2, "residual": True},
    "a cell of one's own that cannot be traced and draws random numbers": {"cell": "own.py:Noisy"},
    "a learned state, byte by byte": {"learned_state": True, "tokens": "byte", "cell": "rnn"},
    "bfloat16 without validation": {"precision": "bfloat16", "valid": 0},
    "clipped by value, looking often": {"clip_by": "value", "clip": 0.01, "eval_every": 2},
    "by epochs": {"steps": None, "epochs": 2, "eval_every": None},
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_that_was_stopped_ends_as_an_unbroken_one_bit_for_bit(text, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    options = CASES[case]
    fit(text, tmp_path / "unbroken", **options)
    figures = summary(tmp_path / "unbroken")
    last, epoch = figures["steps"], round(figures["steps"] / figures["epochs"])
    assert last > epoch + 2  # or the end of an epoch is no stop in the middle
    for number, stops in enumerate([[1], [5], [6], [epoch], [3, epoch - 1], [1, 1, 1], [last - 1], [last]]):
        run = tmp_path / f"stopped-{number}"
        for stop in stops:
            begun = run.exists()
            with interrupt_after(stop), pytest.raises(loop.Interrupted, match=f"--resume {run}") as raised:
                train("lm", resume=run) if begun else fit(text, run, **options)
            assert raised.value.code == 130
            random.seed(number)  # what other programs leave must not matter
            np.random.seed(number)  # noqa: NPY002
            torch.manual_seed(number)
        train("lm", resume=run)
        assert_same(run, tmp_path / "unbroken", f"stopped after {stops} updates of {last}")


def test_the_last_window_may_be_shorter_than_the_gradient_goes_back(text, tmp_path):
    _, data = windows(text, bptt=7)
    assert data.train.longest % 8 in range(1, 7)
    fit(text, tmp_path / "run", bptt=7, valid=0)


def test_the_command_that_goes_on_can_be_typed_as_it_is_told(text, tmp_path):
    with interrupt_after(2), pytest.raises(loop.Interrupted) as raised:
        fit(text, tmp_path / "my run")
    command = str(raised.value).partition("go on with: ")[2]
    assert shlex.split(command) == ["elman", "train", "lm", "--resume", str(tmp_path / "my run")]


def test_every_random_state_comes_back_also_through_json():
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    random.gauss(0, 1)
    np.random.standard_normal()  # noqa: NPY002 - both keep a second number for the next time

    def draw():
        numbers = [random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.random()]  # noqa: NPY002
        return numbers + torch.rand(3).tolist() + torch.randn(3).tolist()

    states = json.loads(json.dumps(random_states()))
    first = draw()
    draw()
    set_random_states(states)
    assert draw() == first


def test_a_run_that_was_interrupted_before_its_first_look_can_be_used(text, tmp_path):
    with interrupt_after(3), pytest.raises(loop.Interrupted):
        fit(text, tmp_path / "run")
    best, last = (dict(load(tmp_path / "run", weights=which).task.state_dict()) for which in ("best", "last"))
    assert_close(best, last, rtol=0, atol=0)
    assert set(load(tmp_path / "run").sample("the", 20, seed=0)) <= set(text.read_text())


def test_sigterm_saves_as_ctrl_c_does(text, tmp_path):
    with interrupt_after(3, signal.SIGTERM), pytest.raises(loop.Interrupted) as raised:
        fit(text, tmp_path / "run")
    assert raised.value.code == 143
    fit(text, tmp_path / "unbroken")
    train("lm", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "after SIGTERM")


def test_a_second_ctrl_c_stops_at_once_and_leaves_what_was_saved(text, tmp_path):
    def twice(number, _):
        if number == 8:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with at_each_update(twice), pytest.raises(KeyboardInterrupt):
        fit(text, tmp_path / "run")
    fit(text, tmp_path / "unbroken")
    train("lm", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "after two Ctrl-C")


def test_signals_are_given_back_when_training_ends(text, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit(text, tmp_path / "whole", steps=2)
    with interrupt_after(1), pytest.raises(loop.Interrupted):
        fit(text, tmp_path / "stopped")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_thread_can_train_too(text, tmp_path):
    thread = threading.Thread(target=fit, args=(text, tmp_path / "run"))
    thread.start()
    thread.join()
    fit(text, tmp_path / "here")
    assert_same(tmp_path / "run", tmp_path / "here", "in a thread")


def test_an_interrupted_run_may_be_given_more_steps(text, tmp_path):
    with interrupt_after(7), pytest.raises(loop.Interrupted):
        fit(text, tmp_path / "run")
    train("lm", resume=tmp_path / "run", steps=30)
    assert summary(tmp_path / "run")["steps"] == 37


class Killed(BaseException):
    """The process is gone: nothing that follows may have an effect."""


class Mortal:
    """Ends the process, as far as files are concerned, at its n-th operation on them, which is half done."""

    WATCHED = ("fsync", "replace", "rename", "rmdir")

    def __init__(self, patch, last):
        self.left, self.dead, self.did = last, False, []
        for name in (*self.WATCHED, "unlink", "mkdir"):
            patch.setattr(os, name, self._watch(name, getattr(os, name)))

    def _watch(self, name, real):
        def call(*arguments, **options):
            if not self.dead and name in self.WATCHED:
                self.left -= 1
                self.dead = self.left == 0
                if self.dead and name == "fsync":
                    os.truncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            if self.dead:
                raise Killed
            self.did.append(name)
            return real(*arguments, **options)

        return call


def killed_at(operation, action):
    """Whether the action needs so many operations on files; it gets no further."""
    with pytest.MonkeyPatch.context() as patch:
        Mortal(patch, operation)
        try:
            action()
        except Killed:
            return True
    return False


def start_or_go_on(text, run, **options):
    """What a user types again after a crash."""
    if (run / "config.json").exists():
        return train("lm", resume=run)
    shutil.rmtree(run, ignore_errors=True)  # nothing is in it
    return fit(text, run, **options)


def test_a_training_killed_at_any_operation_on_files_goes_on_as_if_it_had_not_been(text, tmp_path):
    options = {"steps": 5, "eval_every": 2, "dropout": 0.3}
    fit(text, tmp_path / "unbroken", **options)
    for operation in itertools.count(1):
        run = tmp_path / f"killed-{operation}"
        if not killed_at(operation, lambda run=run: fit(text, run, **options)):
            break
        if (run / "model.safetensors").exists():
            load(run)
            load(run, weights="last")
        start_or_go_on(text, run, **options)
        assert_same(run, tmp_path / "unbroken", f"killed at operation {operation}", killed=True)
    assert operation > 50


def test_a_training_killed_before_its_summary_gets_it_when_it_goes_on(text, tmp_path):
    fit(text, tmp_path / "unbroken")
    for where, name in ((loop, "_summary"), (loop.Run, "log"), (loop.Run, "save_summary")):
        run, real = tmp_path / f"killed-in-{name}", getattr(where, name)

        def kill_at_the_end(*arguments, name=name, real=real):
            if name != "log" or "end" in arguments[1]:
                raise Killed
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, kill_at_the_end)
            with pytest.raises(Killed):
                fit(text, run)
        train("lm", resume=run)
        assert_same(run, tmp_path / "unbroken", f"killed in {name}", killed=True)


def test_more_training_killed_before_its_summary_gets_it_when_it_goes_on(text, tmp_path):
    def kill(*_):
        raise Killed

    fit(text, tmp_path / "run", steps=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "save_summary", kill)
        with pytest.raises(Killed):
            train("lm", resume=tmp_path / "run", steps=4)
    train("lm", resume=tmp_path / "run")
    assert summary(tmp_path / "run")["steps"] == 9


def test_a_training_with_a_cell_of_ones_own_killed_before_anything_was_saved_begins_alike(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    options = {"steps": 5, "cell": "own.py:Own", "layers": 2, "seed": 5}
    fit(text, tmp_path / "unbroken", **options)
    for operation in (3, 4, 8, 13):
        run = tmp_path / f"killed-{operation}"
        assert killed_at(operation, lambda run=run: fit(text, run, **options))
        start_or_go_on(text, run, **options)
        assert_same(run, tmp_path / "unbroken", f"killed at operation {operation}")


def test_a_training_killed_again_while_it_goes_on_loses_nothing(text, tmp_path):
    options = {"steps": 5, "eval_every": 2, "dropout": 0.3}
    fit(text, tmp_path / "unbroken", **options)
    for operation in range(30, 60, 5):
        run = tmp_path / f"killed-{operation}"
        assert killed_at(operation, lambda run=run: fit(text, run, **options))
        for again in (1, 3, 8):
            killed_at(again, lambda run=run: train("lm", resume=run))
        start_or_go_on(text, run, **options)
        assert_same(run, tmp_path / "unbroken", f"killed at operation {operation} and again", killed=True)


def test_no_step_is_logged_twice_when_a_killed_training_goes_on(text, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=1)  # a line every update

    def kill(number, _):
        if number == 10:
            raise Killed

    with at_each_update(kill), pytest.raises(Killed):
        fit(text, tmp_path / "run")
    assert [line["step"] for line in log(tmp_path / "run")] == list(range(1, 10))  # saved was the sixth
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 10, "lo')  # and this line it did not finish
    train("lm", resume=tmp_path / "run")
    lines = log(tmp_path / "run")
    assert [line["step"] for line in lines if not line.get("end")] == list(range(1, 21))
    assert [line["step"] for line in lines if line.get("end")] == [20]


@pytest.mark.slow
def test_a_command_killed_at_a_random_moment_goes_on_as_if_it_had_not_been(text, tmp_path):
    command = [sys.executable, "-m", "elman", "train", "lm"]
    options = [
        "--layers=2",
        "--dropout=0.3",
        "--hidden=16",
        "--batch-size=4",
        "--seq-len=8",
        "--steps=400",
        "--eval-every=7",
    ]

    def start(*words):
        words = [*command, *map(str, words)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    begun = time.monotonic()
    unbroken = start(text, *options, "--out", tmp_path / "unbroken")
    said = unbroken.communicate()[0]
    assert unbroken.returncode == 0, said
    whole = time.monotonic() - begun
    draw, found = random.Random(0), Counter()
    for number in range(20):
        run = tmp_path / f"killed-{number}"
        process = start(text, *options, "--out", run)
        time.sleep(draw.uniform(0, whole))
        process.kill()
        process.communicate()
        again = (run / "config.json").exists()
        found["in training" if again else "before"] += 1
        if not again:
            shutil.rmtree(run, ignore_errors=True)
        if (run / "summary.json").exists():
            found["after"] += 1
        else:
            process = start("--resume", run) if again else start(text, *options, "--out", run)
            said = process.communicate()[0]
            assert process.returncode == 0, said
        assert_same(run, tmp_path / "unbroken", f"killed for the {number + 1}. time", killed=True)
    assert found["in training"] - found["after"] >= 3, found


# a loss that is not finite


def poison(update):
    """Puts a NaN into a weight after that update."""
    return at_each_update(
        lambda count, optimizer: (
            optimizer.param_groups[0]["params"][0].data[0, 0].fill_(math.nan) if count == update else None
        )
    )


def assert_finite(run):
    for which in ("best", "last"):
        model = load(run, weights=which)
        assert all(bool(weight.isfinite().all()) for weight in model.task.parameters()), which
        model.sample("the", 5, seed=0)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_at_which_step(text, tmp_path):
    fit(text, tmp_path / "unbroken", eval_every=4)
    with poison(9), pytest.raises(loop.Diverged, match=r"step 10\b.*step 8\b.*--lr") as raised:
        fit(text, tmp_path / "run", eval_every=4)
    assert raised.value.code == 1
    assert_finite(tmp_path / "run")
    train("lm", resume=tmp_path / "run")  # nothing of it was saved
    assert_same(tmp_path / "run", tmp_path / "unbroken", "after a NaN")


def test_a_gradient_that_is_not_finite_stops_the_run_too(text, tmp_path, monkeypatch):
    real, count = LM.loss, itertools.count(1)

    def overflow(self, batch, state=None):
        loss, state, counts = real(self, batch, state)
        # sqrt has the value 0 at 0, and no slope there
        return loss + ((loss - loss.detach()).sqrt() if self.training and next(count) == 5 else 0.0), state, counts

    monkeypatch.setattr(LM, "loss", overflow)
    with pytest.raises(loop.Diverged, match=r"step 5\b"):
        fit(text, tmp_path / "run", eval_every=2)
    assert_finite(tmp_path / "run")


@pytest.mark.parametrize("lr", [1e20, 1e39])
def test_a_rate_far_too_high_stops_the_run_and_keeps_finite_weights(text, tmp_path, rate):
    with pytest.raises(loop.Diverged, match="not finite"):
        fit(text, tmp_path / "run", lr=rate, warmup=0, eval_every=10)
    assert_finite(tmp_path / "run")


@pytest.mark.parametrize("update", [2, 4])
def test_a_look_at_weights_that_are_not_finite_keeps_those_before(text, tmp_path, update):
    with poison(update), pytest.raises(loop.Diverged):
        fit(text, tmp_path / "run", eval_every=2)
    assert_finite(tmp_path / "run")


def test_it_is_told_which_weights_are_kept_also_without_a_validation_part(text, tmp_path):
    with poison(4), pytest.raises(loop.Diverged, match=r"step 4\b.*weights of step 2\b"):
        fit(text, tmp_path / "run", eval_every=2, valid=0)
    assert_finite(tmp_path / "run")


def test_a_validation_loss_that_is_not_finite_is_never_the_best(text, tmp_path, monkeypatch):
    Looks(monkeypatch, [math.nan, 3.0, math.nan, 4.0])
    fit(text, tmp_path / "run", steps=10, eval_every=2)
    assert summary(tmp_path / "run")["best_step"] == 4


def test_a_diverged_run_goes_on_at_a_lower_rate(text, tmp_path):
    with poison(9), pytest.raises(loop.Diverged):
        fit(text, tmp_path / "run", eval_every=4, lr=0.01)
    used = rates(lambda: train("lm", resume=tmp_path / "run", lr=0.001))
    assert len(used) == 12
    assert max(used) <= 0.001


# from Python


def test_training_can_be_asked_for_more_than_once_from_the_package_itself(text, tmp_path):
    for name in "ab":
        assert elman.train("lm", text, out=tmp_path / name, **TINY).path == tmp_path / name
        assert elman.load(tmp_path / name).path == tmp_path / name


def test_a_class_is_a_cell_too(text, tmp_path):
    class Mine(elman.Cell):
        gates = ("n",)

        def step(self, x, h):
            return (torch.tanh(x.n + self.recur("n", of=h).n),)

    with interrupt_after(5), pytest.raises(loop.Interrupted):
        fit(text, tmp_path / "run", cell=Mine)
    fit(text, tmp_path / "unbroken", cell=Mine)
    train("lm", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "with a class as cell")


def test_wrong_options_are_all_told_at_once_and_nothing_is_made(text, tmp_path):
    with pytest.raises(UserError) as raised:
        fit(text, tmp_path / "run", hidden=0, lr=-1.0, rows=-3, dropout=1.0, clip=math.nan, clip_by="norn")
    for word in ("--hidden 0", "--lr -1.0", "--batch-size -3", "--dropout 1.0", "--clip nan", "'norm'"):
        assert word in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("lm", {"hiden": 8}, ("hiden", "'hidden'")),
        ("ml", {}, ("'ml'", "'lm'")),
        ("lm", {"cell": "lsmt"}, ("'lsmt'", "'lstm'")),
        ("lm", {"device": "cuda:99"}, ("cuda:99", "cpu")),
        ("lm", {"backend": "native", "cell": "mut1"}, ("native", "mut1", "auto")),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right_and_nothing_is_made(text, tmp_path, kind, options, words):
    with pytest.raises(UserError) as raised:
        train(kind, text, out=tmp_path / "run", **(TINY | options))
    assert all(word in str(raised.value) for word in words)
    assert not (tmp_path / "run").exists()


def test_sizes_that_are_not_given_are_chosen_from_the_text_and_the_time(tmp_path):
    chosen = []
    for length, seconds in ((400, 30.0), (400, 3000.0), (50_000, 30.0), (50_000, 90.0)):
        (tmp_path / "text.txt").write_text(prose(length))
        options, _ = LM.prepare([str(tmp_path / "text.txt")], LMOptions(), seconds)
        chosen.append(options.hidden)
        assert None not in (options.embedding, options.dropout)
    assert chosen[0] == chosen[1] < chosen[2] <= chosen[3]
    given_, _ = LM.prepare([str(tmp_path / "text.txt")], LMOptions(hidden=7, embedding=3, dropout=0.25), 90.0)
    assert (given_.hidden, given_.embedding, given_.dropout) == (7, 3, 0.25)
