"""Attention and pooling against the equations of their papers in NumPy, one row and one query at a time."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.autograd import gradcheck

from elman.cells.tap import record
from elman.nets.attention import ATTENTION
from elman.nets.embedding import STD, embedding
from elman.nets.pooling import POOLING
from elman.recurrent.layer import Recurrent

some = settings(deadline=None, derandomize=True, database=None, max_examples=25)
lengths = st.lists(st.integers(0, 5), min_size=1, max_size=4)
KINDS = sorted(ATTENTION)
POOLS = sorted(POOLING)
Q, SIZE = 4, 3


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def weights(module):
    return {name.removesuffix(".weight"): value.detach().numpy() for name, value in module.named_parameters()}


def additive(p, query, position):
    """Bahdanau, Cho & Bengio 2015: a(s, h) = v^T tanh(W s + U h)."""
    return p["v"][0] @ np.tanh(p["W"] @ query + p["W.bias"] + p["U"] @ position)


def general(p, query, position):
    """Luong, Pham & Manning 2015: h_t^T W h_s."""
    return query @ p["W"] @ position


def dot(p, query, position):
    return query @ position


def scaled(p, query, position):
    """Vaswani et al. 2017: q . k / sqrt(d); k of the position at mean 0 and variance 1."""
    normal = (position - position.mean()) / np.sqrt(position.var() + 1e-5)
    return (p["W"] @ query + p["W.bias"]) @ (p["U"] @ normal) / np.sqrt(SIZE)


SCORES = {"additive": additive, "general": general, "dot": dot, "scaled": scaled}


def made(kind, seed=0, positions=5, sizes=(5, 2, 0), dtype=torch.float64, queries=3):
    """The attention, a query (B, T, Q), a memory (B, S, M) with arbitrary values past its lengths, and the lengths."""
    torch.manual_seed(seed)
    memory_size = Q if kind == "dot" else 6
    module = ATTENTION[kind](Q, memory_size, SIZE).to(dtype)
    query, memory = (
        torch.randn(len(sizes), queries, Q, dtype=dtype),
        3 * torch.randn(len(sizes), positions, memory_size),
    )
    return module, query, memory.to(dtype), torch.tensor(sizes)


@pytest.mark.parametrize("kind", KINDS)
@some
@given(sizes=lengths, seed=st.integers(0, 99))
def test_attention_equals_the_equations_of_the_paper(kind, sizes, seed):
    module, query, memory, length = made(kind, seed, sizes=sizes)
    context, weights_ = module(query, module.keys(memory), memory, length)
    for b, size in enumerate(sizes):
        for t in range(query.shape[1]):
            expected = np.zeros(memory.shape[1])
            if size:
                positions = memory[b, :size].numpy()
                expected[:size] = softmax(np.array([SCORES[kind](weights(module), query[b, t].numpy(), m)
                                                    for m in positions]))  # fmt: skip
            np.testing.assert_allclose(weights_[b, t].detach(), expected, atol=1e-12)
            np.testing.assert_allclose(context[b, t].detach(), expected @ memory[b].numpy(), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_past_the_length_of_the_memory_have_no_weight(kind):
    module, query, memory, length = made(kind)
    before = module(query, module.keys(memory), memory, length)
    longer = torch.cat((memory, torch.full_like(memory, 1e3)), 1)
    longer[1, 2:] = -1e3
    after = module(query, module.keys(longer), longer, length)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1][..., : memory.shape[1]], before[1])
    assert not after[1][..., memory.shape[1] :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_attention_is_correct_even_for_a_memory_of_length_0(kind):
    module, query, memory, length = made(kind)
    inputs = [query.requires_grad_(), memory.requires_grad_(), *(w.requires_grad_() for w in module.parameters())]
    assert gradcheck(lambda query, memory, *_: module(query, module.keys(memory), memory, length), inputs)
    context, _ = module(query, module.keys(memory), memory, length)
    context.square().sum().backward()
    assert torch.isfinite(memory.grad).all()
    assert not memory.grad[2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_large_scores_do_not_overflow(kind):
    module, query, memory, length = made(kind, dtype=torch.float32)
    query, memory = (100 * query).requires_grad_(), (100 * memory).requires_grad_()
    context, weights_ = module(query, module.keys(memory), memory, length)
    context.sum().backward()
    assert all(torch.isfinite(value).all() for value in (context, weights_, query.grad, memory.grad))
    torch.testing.assert_close(weights_.sum(-1)[:2], torch.ones(2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_sum_to_1_in_bfloat16(kind):
    module, query, memory, _ = made(kind, positions=300, sizes=(300,), dtype=torch.bfloat16)
    _, weights_ = module(query, module.keys(memory), memory, torch.tensor([300]))
    assert weights_.dtype == torch.float32
    torch.testing.assert_close(weights_.sum(-1), torch.ones(1, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_attention_weights_are_recorded(kind):
    module, query, memory, length = made(kind)
    with record() as recorded:
        _, weights_ = module(query, module.keys(memory), memory, length)
        module(query[:, :1], module.keys(memory), memory, length)
    assert torch.equal(recorded["attention"][:, :3], weights_)
    torch.testing.assert_close(
        recorded["attention"].sum(-1), torch.tensor([1.0, 1.0, 0.0]).double()[:, None].expand(3, 4)
    )


def test_dot_requires_equal_sizes():
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
    weights = softmax(np.array([p["v"][0] @ np.tanh(p["W"] @ h + p["W.bias"]) for h in y]))  # Yang et al. 2016
    return sum(weight * h for weight, h in zip(weights, y, strict=True))


def outputs(sizes, directions, dtype=torch.float64, steps=5):
    """As `Recurrent` gives them: 0 past the length."""
    y = torch.randn(len(sizes), steps, 3 * directions, dtype=dtype) - 2  # so that a 0 would be the largest
    padding = torch.arange(steps) >= torch.tensor(sizes)[:, None]
    return y.masked_fill(padding[..., None], 0.0)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", POOLS)
@some
@given(sizes=lengths, seed=st.integers(0, 99))
def test_pooling_equals_its_definition(kind, directions, sizes, seed):
    torch.manual_seed(seed)
    module, y = POOLING[kind](3 * directions, directions).double(), outputs(sizes, directions)
    found = module(y, torch.tensor(sizes))
    for b, size in enumerate(sizes):
        expected = pool(kind, weights(module), y[b, :size].numpy(), directions)
        np.testing.assert_allclose(found[b].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", POOLS)
def test_gradient_of_pooling_is_correct_even_for_a_row_of_length_0(kind, directions):
    torch.manual_seed(0)
    module, sizes = POOLING[kind](3 * directions, directions).double(), (5, 0, 2)
    y = outputs(sizes, directions).requires_grad_()
    assert gradcheck(lambda y, *_: module(y, torch.tensor(sizes)), [y, *module.parameters()])
    module(y, torch.tensor(sizes)).square().sum().backward()
    assert torch.isfinite(y.grad).all()


def test_last_pooling_gives_the_final_state_of_each_direction():
    torch.manual_seed(0)
    layer, x, length = Recurrent(2, 3, "gru", bidirectional=True, backend="loop"), torch.randn(3, 6, 2), [6, 1, 4]
    y, (forward, backward) = layer(x, lengths=torch.tensor(length))
    found = POOLING["last"](6, 2)(y, torch.tensor(length))
    torch.testing.assert_close(found, torch.cat((forward[0], backward[0]), -1))


def test_attention_pooling_records_weights_that_sum_to_1():
    torch.manual_seed(0)
    with record() as recorded:
        POOLING["attention"](3, 1).double()(outputs((5, 2, 0), 1), torch.tensor((5, 2, 0)))
    assert recorded["attention"].shape == (3, 5)
    torch.testing.assert_close(recorded["attention"].sum(-1), torch.tensor([1.0, 1.0, 0.0]).double())
    assert not recorded["attention"][1, 2:].any()


def test_embeddings_are_initialised_near_0():
    torch.manual_seed(0)
    table = embedding(500, 40).weight.detach()
    assert table.shape == (500, 40)
    assert abs(float(table.std()) - STD) < 0.05 * STD
    assert abs(float(table.mean())) < 0.05 * STD
