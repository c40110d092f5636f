"""The log, the summary, the reports and the previews of a training."""

import pytest
import torch

from elman.cells.tap import hold
from elman.tasks.lm import LMModel
from elman.training.run import Run
from models import language_model
from runs import RecordingReporter, assert_same, read_log, summary
from trainings import Clock, fit


@pytest.fixture
def losses(monkeypatch):
    """The losses of training batches, and whether each had a state."""
    found, real = [], LMModel.loss

    def record(self, batch, state=None, *context):
        loss = real(self, batch, state, *context)
        if self.training:
            found.append((float(loss.sums["loss"].detach()), int(loss.count), state is not None))
        return loss

    monkeypatch.setattr(LMModel, "loss", record)
    return found


def test_the_log_has_a_line_for_every_validation_with_the_documented_fields(prose, tmp_path):
    recorder = RecordingReporter()
    fit(prose, tmp_path / "run", steps=20, eval_every=6, reporter=recorder)
    lines = read_log(tmp_path / "run")
    fields = {"step", "epoch", "loss", "val_loss", "units_per_s", "grad_norm", "lr", "seconds"}
    assert all(fields <= line.keys() for line in lines)
    assert [line["step"] for line in lines if line["val_loss"] is not None] == [6, 12, 18, 20]
    assert [line["step"] for line in lines if line.get("end")] == [20]
    assert lines[0]["grad_norm"] > 0
    assert [status.line() for status in recorder.statuses] == lines[:-1]


def test_the_logged_loss_is_the_mean_since_the_line_before(prose, tmp_path, losses):
    fit(prose, tmp_path / "run", steps=12, eval_every=5)
    for line, part in zip(read_log(tmp_path / "run"), (losses[:5], losses[5:10]), strict=False):
        assert line["loss"] == pytest.approx(sum(n for n, *_ in part) / sum(c for _, c, _ in part), rel=1e-5)


def test_the_state_is_carried_through_an_epoch_and_into_no_other(prose, tmp_path, losses):
    fit(prose, tmp_path / "run", steps=None, epochs=3)
    carried = [has_state for *_, has_state in losses]
    batches = len(carried) // 3
    assert batches > 1
    assert carried == [False, *[True] * (batches - 1)] * 3


def test_the_summary_has_the_final_values(prose, tmp_path):
    model, final = fit(prose, tmp_path / "run", cell="gru"), summary(tmp_path / "run")
    assert final["parameters"] == sum(weight.numel() for weight in model.model.parameters())
    assert final["backend"].startswith("fused")
    assert final["device"] == "cpu"
    assert final["units"] == 2 * 299  # two epochs over three quarters of 400 characters
    assert final["unit"] == "token"
    assert final["units_per_s"] > 0
    assert final["train_seconds"] > 0


def test_what_computes_and_why_is_logged(prose, tmp_path):
    recorder = RecordingReporter()
    fit(prose, tmp_path / "run", cell="mgu", reporter=recorder, batch_size=64)
    lines = "\n".join(recorder.lines)
    for word in ("mgu", "fused", "float32", "cpu", "parameters", "small", str(tmp_path / "run")):
        assert word in lines


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_rows_are_reset_in_training_only(probability):
    torch.manual_seed(0)
    model = language_model(5, 4, 6, reset_probability=probability)
    ids = torch.randint(0, 5, (3, 9))
    batch = {"input": ids[:, :8], "target": ids[:, 1:], "cuts": (), "carry": 8}
    state = model.loss(batch).state
    reset, carried = (model.eval().loss(batch, before).mean for before in (None, state))
    assert reset != carried
    assert model.train().loss(batch, state).mean == (reset if probability else carried)
    assert model.eval().loss(batch, state).mean == carried


def test_a_unit_is_held_while_sampling_and_that_this_is_slow_is_logged(prose, tmp_path):
    model, lines = fit(prose, tmp_path / "run", cell="lstm"), []
    free = model.sample("a", 100, seed=0, log=lines.append)
    assert lines == []
    with hold({"1.h.0": 30.0}):
        held = model.sample("a", 100, seed=0, log=lines.append)
    assert ["step by step" in line for line in lines] == [True]
    assert held != free == model.sample("a", 100, seed=0)


def test_previews_are_shown_from_time_to_time_and_change_nothing(prose, tmp_path):
    recorder = RecordingReporter()
    fit(prose, tmp_path / "shown", preview=True, dropout=0.3, reporter=recorder)
    fit(prose, tmp_path / "silent", dropout=0.3)
    assert recorder.previews
    assert all(set(preview) <= set(prose.read_text()) for preview in recorder.previews)
    assert_same(tmp_path / "shown", tmp_path / "silent", "with previews")


def test_the_last_line_has_every_field_where_the_last_update_was_already_logged(prose, tmp_path, monkeypatch):
    Clock(monkeypatch, tick=1)  # a line every update
    fit(prose, tmp_path / "run", steps=3)
    *_, before, last = read_log(tmp_path / "run")
    assert last.keys() == before.keys() | {"end"}
    assert last["step"] == before["step"] == 3
    assert last["loss"] is None
    assert len(Run.open(tmp_path / "run").read_log()) == 4
