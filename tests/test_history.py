"""The loss by length of history, against a loop over rows and tokens."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from elman.errors import UserError
from elman.inspect import history
from elman.inspect.history import loss_by_history, positions
from models import language_model

VOCABULARY = 7
TEXT = np.random.default_rng(0).integers(0, VOCABULARY, 60).astype(np.uint8)


def make(cell="lstm", **options):
    torch.manual_seed(0)
    model = language_model(VOCABULARY, 4, 6, cell, layers=2, backend="loop", **options).eval()
    for parameter in model.parameters():  # so that every token changes the state much
        parameter.data.normal_(0, 0.7, generator=torch.Generator().manual_seed(parameter.numel()))
    return model


@torch.no_grad()
def one_by_one(model, read, target):
    """The loss of a token after those that are read from the initial state."""
    state, y = None, torch.zeros(1, 1, 6)
    for token in read.tolist():
        y, state = model.recurrent(model.embedding(torch.tensor([[token]])), state)
    return float(F.cross_entropy(model.head(y[:, -1]), torch.tensor([int(target)])))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("learned", [False, True])
def test_the_loss_is_that_of_reading_the_history_token_by_token(cell, learned, monkeypatch):
    monkeypatch.setattr(history, "BATCH", 4)
    monkeypatch.setattr(history, "STEPS", 3)
    model = make(cell, learn_initial_state=learned)
    kept = (1, 2, 5, 8, None)
    found = loss_by_history(model, TEXT, kept, 30, seed=1)
    where = positions(len(TEXT), 8, 30, seed=1)
    expected = [
        [one_by_one(model, TEXT[0 if k is None else at - k : at], TEXT[at]) for at in where.tolist()] for k in kept
    ]
    assert found.shape == (5, 30)
    assert_close(found, np.array(expected), rtol=1e-4, atol=1e-5, check_dtype=False)
    assert np.abs(np.diff(found, axis=0)).mean(1).min() > 1e-3  # the history matters


def test_a_model_of_the_last_token_alone_does_not_need_the_history():
    model = make("rnn")
    for cell in model.recurrent.cells:
        for matrix in cell.matrices().values():
            matrix.data.zero_()
    found = loss_by_history(model, TEXT, (1, 2, 16, None))
    assert_close(found, np.broadcast_to(found[0], found.shape).copy(), rtol=1e-4, atol=1e-6)
    assert len(np.unique(found[0].round(4))) > VOCABULARY


def test_positions_are_distinct_and_have_enough_history():
    where = positions(1000, 100, 50, seed=3)
    assert where.tolist() == sorted(set(where.tolist()))
    assert len(where) == 50
    assert 100 <= where.min() <= where.max() < 1000
    assert where.tolist() == positions(1000, 100, 50, seed=3).tolist() != positions(1000, 100, 50, seed=4).tolist()
    assert positions(20, 8, 12).tolist() == positions(20, 8, 2000).tolist() == list(range(8, 20))
    assert positions(9, 8).tolist() == [8]


def test_every_k_is_measured_at_the_same_positions():
    model = make()
    both, one = loss_by_history(model, TEXT, (9, 3), 20), loss_by_history(model, TEXT, (9,), 20)
    assert_close(both[0], one[0])
    assert both.shape == (2, 20)


def test_dropout_is_off_and_the_model_keeps_its_mode():
    model = make(dropout=0.5).train()
    found = loss_by_history(model, TEXT, (4, None))
    assert model.training
    assert model.recurrent.training
    assert_close(found, loss_by_history(model.eval(), TEXT, (4, None)))
    assert not model.training
    with pytest.raises(IndexError):
        loss_by_history(model.train(), TEXT + 200, (4,))
    assert model.training


def test_an_invalid_history_is_an_error():
    with pytest.raises(UserError, match="has 60 tokens: predicting one from 60 takes at least 61"):
        loss_by_history(make(), TEXT, (1, 60))
    assert loss_by_history(make(), TEXT, (1, 59)).shape == (2, 1)
    for wrong in ((), (0, 1), (-3,)):
        with pytest.raises(UserError, match="1 or more"):
            loss_by_history(make(), TEXT, wrong)
