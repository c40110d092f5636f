"""Dropout: how much is dropped, what is left, and its gradient."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from elman.recurrent.dropout import dropout

some = settings(deadline=None, derandomize=True, database=None, max_examples=60)
CELLS = 100_000


@pytest.mark.parametrize("p", [1e-9, 0.003, 0.1, 0.25, 0.5, 0.9, 0.999999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_fraction_p_is_dropped_and_the_mean_stays(p, dtype):
    torch.manual_seed(0)
    y = dropout(torch.ones(4, CELLS // 4, dtype=dtype), p, True).double()
    dropped = (y == 0).double().mean().item()
    deviation = (p * (1 - p) / CELLS) ** 0.5
    assert abs(dropped - p) < 5 * deviation + 1 / 65536
    kept = y[y != 0]
    assert len(kept) == 0 or (kept == kept[0]).all()
    assert y.mean().item() == pytest.approx(1, abs=5 * deviation / (1 - p) + 0.01 * (p < 0.9) + (p > 0.99))


def test_which_are_dropped_is_independent():
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(CELLS), 0.5, True) == 0).double()
    for lag in (1, 2, 3, 4, 5, 8, 16):  # four elements use one random number
        agreement = (dropped[lag:] == dropped[:-lag]).double().mean().item()
        assert abs(agreement - 0.5) < 5 * 0.5 / CELLS**0.5
    for offset in range(4):
        assert abs(dropped[offset::4].mean().item() - 0.5) < 5 * 0.5 / (CELLS / 4) ** 0.5


@some
@given(st.lists(st.integers(0, 7), min_size=0, max_size=3), st.floats(0.01, 0.99), st.booleans())
def test_the_gradient_is_dropped_alike_in_every_shape(shape, p, across):
    x = torch.randn(shape).requires_grad_()
    y = dropout(x.mT if across and x.dim() > 1 else x, p, True)
    y = y.mT if across and x.dim() > 1 else y
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert_close(gradient * x, y)
    assert set(gradient.unique().tolist()) <= {0.0, gradient.max().item() if gradient.numel() else 0.0}


def test_nothing_is_dropped_outside_training_or_with_p_0():
    x = torch.randn(5, 3)
    assert dropout(x, 0.5, False) is x
    assert_close(dropout(x, 0.0, True), x)


def test_the_seed_decides():
    x, draws = torch.ones(1000), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(x, 0.5, True))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
