"""Attention and pooling against the equations of their papers in NumPy, one row and one query at a time."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.autograd import gradcheck

from elman.cells.tap import record
from elman.nets.attention import ATTENTION
from elman.nets.embedding import SPREAD, lookup
from elman.nets.pooling import POOLING
from elman.recurrent.layer import Recurrent

some = settings(deadline=None, derandomize=True, database=None, max_examples=25)
lengths = st.lists(st.integers(0, 5), min_size=1, max_size=4)
KINDS = sorted(ATTENTION)
POOLS = sorted(POOLING)
Q, SIZE = 4, 3


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def weights(module):
    return {name.removesuffix(".weight"): value.detach().numpy() for name, value in module.named_parameters()}


def additive(p, query, place):
    """Bahdanau, Cho & Bengio 2015: a(s, h) = v^T tanh(W s + U h)."""
    return p["v"][0] @ np.tanh(p["W"] @ query + p["W.bias"] + p["U"] @ place)


def general(p, query, place):
    """Luong, Pham & Manning 2015: h_t^T W h_s."""
    return query @ p["W"] @ place


def dot(p, query, place):
    return query @ place


def scaled(p, query, place):
    """Vaswani et al. 2017: q . k / sqrt(d); k of the place at mean 0 and variance 1."""
    normal = (place - place.mean()) / np.sqrt(place.var() + 1e-5)
    return (p["W"] @ query + p["W.bias"]) @ (p["U"] @ normal) / np.sqrt(SIZE)


SCORES = {"additive": additive, "general": general, "dot": dot, "scaled": scaled}


def made(kind, seed=0, places=5, sizes=(5, 2, 0), dtype=torch.float64, queries=3):
    """The attention, a query (B, T, Q), a memory (B, S, M) with rubbish behind its lengths, and the lengths."""
    torch.manual_seed(seed)
    memory_size = Q if kind == "dot" else 6
    module = ATTENTION[kind](Q, memory_size, SIZE).to(dtype)
    query, memory = torch.randn(len(sizes), queries, Q, dtype=dtype), 3 * torch.randn(len(sizes), places, memory_size)
    return module, query, memory.to(dtype), torch.tensor(sizes)


@pytest.mark.parametrize("kind", KINDS)
@some
@given(sizes=lengths, seed=st.integers(0, 99))
def test_attention_is_that_of_the_paper(kind, sizes, seed):
    module, query, memory, length = made(kind, seed, sizes=sizes)
    read, shares = module(query, module.keys(memory), memory, length)
    for b, size in enumerate(sizes):
        for t in range(query.shape[1]):
            expected = np.zeros(memory.shape[1])
            if size:
                places = memory[b, :size].numpy()
                expected[:size] = softmax(np.array([SCORES[kind](weights(module), query[b, t].numpy(), m)
                                                    for m in places]))  # fmt: skip
            np.testing.assert_allclose(shares[b, t].detach(), expected, atol=1e-12)
            np.testing.assert_allclose(read[b, t].detach(), expected @ memory[b].numpy(), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_past_the_memory_has_no_part_in_it(kind):
    module, query, memory, length = made(kind)
    before = module(query, module.keys(memory), memory, length)
    longer = torch.cat((memory, torch.full_like(memory, 1e3)), 1)
    longer[1, 2:] = -1e3
    after = module(query, module.keys(longer), longer, length)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1][..., : memory.shape[1]], before[1])
    assert not after[1][..., memory.shape[1] :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_attention_is_right_also_for_a_memory_of_length_0(kind):
    module, query, memory, length = made(kind)
    inputs = [query.requires_grad_(), memory.requires_grad_(), *(w.requires_grad_() for w in module.parameters())]
    assert gradcheck(lambda query, memory, *_: module(query, module.keys(memory), memory, length), inputs)
    read, _ = module(query, module.keys(memory), memory, length)
    read.square().sum().backward()
    assert torch.isfinite(memory.grad).all()
    assert not memory.grad[2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_far_apart_overflow_in_no_row(kind):
    module, query, memory, length = made(kind, dtype=torch.float32)
    query, memory = (100 * query).requires_grad_(), (100 * memory).requires_grad_()
    read, shares = module(query, module.keys(memory), memory, length)
    read.sum().backward()
    assert all(torch.isfinite(value).all() for value in (read, shares, query.grad, memory.grad))
    torch.testing.assert_close(shares.sum(-1)[:2], torch.ones(2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_the_weights_sum_to_1_all_the_same(kind):
    module, query, memory, _ = made(kind, places=300, sizes=(300,), dtype=torch.bfloat16)
    _, shares = module(query, module.keys(memory), memory, torch.tensor([300]))
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_are_recorded(kind):
    module, query, memory, length = made(kind)
    with record() as seen:
        _, shares = module(query, module.keys(memory), memory, length)
        module(query[:, :1], module.keys(memory), memory, length)
    assert torch.equal(seen["attention"][:, :3], shares)
    torch.testing.assert_close(seen["attention"].sum(-1), torch.tensor([1.0, 1.0, 0.0]).double()[:, None].expand(3, 4))


def test_dot_takes_sizes_that_are_alike():
    with pytest.raises(ValueError, match="4 and 6"):
        ATTENTION["dot"](4, 6, 3)


def pool(kind, p, y, directions):
    """One row, (T, D H), without padding."""
    if not len(y):
        return np.zeros(y.shape[1])
    if kind == "last":
        half = y.shape[1] // directions
        return np.concatenate([y[-1, :half], y[0, half:]])
    if kind == "mean":
        return sum(y) / len(y)
    if kind == "max":
        return np.array([max(column) for column in y.T])
    shares = softmax(np.array([p["v"][0] @ np.tanh(p["W"] @ h + p["W.bias"]) for h in y]))  # Yang et al. 2016
    return sum(share * h for share, h in zip(shares, y, strict=True))


def outputs(sizes, directions, dtype=torch.float64, steps=5):
    """As `Recurrent` gives them: 0 past the length."""
    y = torch.randn(len(sizes), steps, 3 * directions, dtype=dtype) - 2  # so that a 0 would be the largest
    past = torch.arange(steps) >= torch.tensor(sizes)[:, None]
    return y.masked_fill(past[..., None], 0.0)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", POOLS)
@some
@given(sizes=lengths, seed=st.integers(0, 99))
def test_pooling_is_that_of_its_description(kind, directions, sizes, seed):
    torch.manual_seed(seed)
    module, y = POOLING[kind](3 * directions, directions).double(), outputs(sizes, directions)
    found = module(y, torch.tensor(sizes))
    for b, size in enumerate(sizes):
        expected = pool(kind, weights(module), y[b, :size].numpy(), directions)
        np.testing.assert_allclose(found[b].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", POOLS)
def test_the_gradient_of_pooling_is_right_also_for_a_row_of_length_0(kind, directions):
    torch.manual_seed(0)
    module, sizes = POOLING[kind](3 * directions, directions).double(), (5, 0, 2)
    y = outputs(sizes, directions).requires_grad_()
    assert gradcheck(lambda y, *_: module(y, torch.tensor(sizes)), [y, *module.parameters()])
    module(y, torch.tensor(sizes)).square().sum().backward()
    assert torch.isfinite(y.grad).all()


def test_the_last_of_both_directions_are_their_last_states():
    torch.manual_seed(0)
    layer, x, length = Recurrent(2, 3, "gru", bidirectional=True, backend="loop"), torch.randn(3, 6, 2), [6, 1, 4]
    y, (forward, backward) = layer(x, lengths=torch.tensor(length))
    found = POOLING["last"](6, 2)(y, torch.tensor(length))
    torch.testing.assert_close(found, torch.cat((forward[0], backward[0]), -1))


def test_the_attention_of_pooling_is_recorded_and_sums_to_1():
    torch.manual_seed(0)
    with record() as seen:
        POOLING["attention"](3, 1).double()(outputs((5, 2, 0), 1), torch.tensor((5, 2, 0)))
    assert seen["attention"].shape == (3, 5)
    torch.testing.assert_close(seen["attention"].sum(-1), torch.tensor([1.0, 1.0, 0.0]).double())
    assert not seen["attention"][1, 2:].any()


def test_vectors_of_tokens_begin_near_0():
    torch.manual_seed(0)
    table = lookup(500, 40).weight.detach()
    assert table.shape == (500, 40)
    assert abs(float(table.std()) - SPREAD) < 0.05 * SPREAD
    assert abs(float(table.mean())) < 0.05 * SPREAD
