"""The updates of the loop: gradients, clipping, accumulation, weight decay, precision, and that models learn."""

import gc
import itertools
import math
from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from elman.decode.sampling import Sampling
from elman.tasks.lm import LM
from elman.training.api import load, train
from elman.training.evaluate import evaluate
from runs import RecordingReporter, at_each_update, source, summary
from trainings import FLOAT, before_each_update, fit, untrained

GREEDY = Sampling(greedy=True)


def unigram_entropy(text):
    return -sum(n / len(text) * math.log(n / len(text)) for n in Counter(text).values())


def test_a_text_of_one_batch_is_overfitted(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be, or not to be, that is the question: whether")
    model = train("lm", text, out=tmp_path / "run", steps=200, hidden=32, valid=0, precision="float32", preview=False)
    split = source(model, "train")
    assert len(split) == 1
    assert evaluate(model.model, split, FLOAT).loss < 0.05 * unigram_entropy(text.read_text())


def test_hello_is_reproduced(tmp_path):
    (tmp_path / "hello").write_text("hello")
    model = train("lm", tmp_path / "hello", out=tmp_path / "run", steps=200, preview=False)
    assert model.sample("h", 4, sampling=GREEDY) == "ello"
    assert summary(tmp_path / "run")["val_loss"] is None


def test_a_longer_text_is_learned_far_below_its_unigram_entropy_on_the_validation_split(tmp_path):
    (tmp_path / "text.txt").write_text("abcdefghij" * 200)
    options = {"steps": 150, "hidden": 16, "batch_size": 8, "seq_len": 16, "lr": 0.02, "preview": False}
    model = train("lm", tmp_path / "text.txt", out=tmp_path / "run", **options)
    assert summary(tmp_path / "run")["val_loss"] < 0.2 * math.log(10)
    assert model.sample("c", 12, sampling=GREEDY) == "defghijabcde"


def test_both_precisions_train_with_weights_in_float32_and_differ_a_little(prose, tmp_path):
    losses = []
    for name in ("float32", "bfloat16"):
        model = fit(prose, tmp_path / name, precision=name)
        assert summary(tmp_path / name)["precision"].startswith(name)
        assert {weight.dtype for weight in model.model.parameters()} == {torch.float32}
        losses.append(summary(tmp_path / name)["val_loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert max(losses) < math.log(len(set(prose.read_text())))


def test_equal_seeds_give_equal_runs_and_others_do_not(prose, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(prose, tmp_path / name, seed=seed, dropout=0.3)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def first_gradients(text, out, **options):
    """The gradients of the first update, as the optimizer takes them, and the norm that was logged for it."""
    taken, recorder = [], RecordingReporter()
    with before_each_update(taken.append):
        fit(text, out, steps=2, eval_every=1, reporter=recorder, **options)
    return taken[0], recorder.statuses[0].grad_norm


def test_an_update_is_that_of_adamw(prose, tmp_path):
    """Loshchilov & Hutter 2019, with moments over some 10 and 100 updates."""
    updates = []

    def record(_, optimizer):
        group = optimizer.param_groups[0]
        updates[-1] |= {"after": [w.detach().clone() for w in group["params"]], "lr": group["lr"]}

    with before_each_update(lambda gradients: updates.append({"g": gradients})), at_each_update(record):
        fit(prose, tmp_path / "run", steps=5, weight_decay=0.5)
    for number in range(len(updates[0]["g"])):
        mean, square = 0.0, 0.0
        for time, (before, now) in enumerate(itertools.pairwise([{"g": None, "after": None}, *updates]), 1):
            g, lr = now["g"][number], now["lr"]
            mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
            if before["after"] is not None:
                step = mean / (1 - 0.9**time) / ((square / (1 - 0.99**time)).sqrt() + 1e-8)
                expected = before["after"][number] * (1 - lr * 0.5) - lr * step
                assert_close(now["after"][number], expected, rtol=1e-4, atol=1e-6)


def test_clipping_by_norm_scales_the_gradient_and_logs_the_norm_before(prose, tmp_path):
    raw, norm = first_gradients(prose, tmp_path / "raw", clip=1e9)
    clipped, logged = first_gradients(prose, tmp_path / "clipped", clip=0.01)
    assert norm == pytest.approx(float(torch.nn.utils.get_total_norm(raw)), rel=1e-5)
    assert norm > 0.1
    assert logged == norm
    assert_close(clipped, [gradient * 0.01 / norm for gradient in raw], rtol=1e-4, atol=1e-9)


def test_clip_is_that_of_the_task_if_not_given(prose, tmp_path, monkeypatch):
    given, norm = first_gradients(prose, tmp_path / "given", clip=0.01)
    monkeypatch.setattr(LM, "clip", 0.01)
    default, logged = first_gradients(prose, tmp_path / "default")
    assert logged == norm
    assert_close(default, given, rtol=0, atol=0)


def test_clipping_by_value_bounds_every_value_and_logs_the_norm_before(prose, tmp_path):
    raw, norm = first_gradients(prose, tmp_path / "raw", clip=1e9)
    clipped, logged = first_gradients(prose, tmp_path / "clipped", clip=0.01, clip_by="value")
    assert logged == norm
    assert max(float(gradient.abs().max()) for gradient in raw) > 0.02
    assert_close(clipped, [gradient.clamp(-0.01, 0.01) for gradient in raw])


def test_accumulated_batches_give_the_mean_of_their_gradients_with_the_state_carried(prose, tmp_path):
    taken, _ = first_gradients(prose, tmp_path / "run", accumulate=3, clip=1e9)
    model, data = untrained(prose)
    state, losses = None, []
    for index in range(3):
        loss = model.loss(data.train.batch(0, index), state)
        state = loss.state
        losses.append(loss.mean)
    assert_close(taken, list(torch.autograd.grad(sum(losses) / 3, list(model.parameters()))))


def test_accumulation_counts_updates_not_batches(prose, tmp_path):
    fit(prose, tmp_path / "run", accumulate=3, steps=4)
    assert summary(tmp_path / "run")["steps"] == 4
    assert summary(tmp_path / "run")["units"] > 2 * 4 * 4 * 8


def test_weight_decay_reduces_the_weights_and_may_be_0(prose, tmp_path):
    used = []
    for name, weight_decay in (("none", 0.0), ("strong", 10.0)):
        with at_each_update(lambda _, optimizer: used.append(optimizer.param_groups[0]["weight_decay"])):
            fit(prose, tmp_path / name, weight_decay=weight_decay)
    size = {
        name: sum(float(w.detach().square().sum()) for w in load(tmp_path / name, weights="last").model.parameters())
        for name in ("none", "strong")
    }
    assert set(used) == {0.0, 10.0}
    assert size["strong"] < 0.5 * size["none"]


@pytest.mark.filterwarnings("ignore")  # torch's own, about its own
def test_a_model_can_be_wrapped_for_training_in_several_processes(prose, tmp_path):
    model, data = untrained(prose, layers=2)
    alone, state = [], None
    for index in range(2):
        loss = model(data.train.batch(0, index), state)
        state = loss.state
        alone.append((loss.mean.detach(), torch.autograd.grad(loss.mean, list(model.parameters()))))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped, state = torch.nn.parallel.DistributedDataParallel(model), None
        for index, (mean, gradients) in enumerate(alone):
            model.zero_grad()
            loss = wrapped(data.train.batch(0, index), state)
            state = loss.state
            loss.mean.backward()
            assert_close(loss.mean, mean)
            assert_close([weight.grad for weight in model.parameters()], list(gradients))
            assert int(loss.count) == 32
    finally:
        # the wrapper must not be the last that holds the group: it would wait for the group's threads with the GIL
        wrapped = loss = state = None
        gc.collect()
        torch.distributed.destroy_process_group()
