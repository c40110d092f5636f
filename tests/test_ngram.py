"""N-gram models against modified Kneser-Ney written again with dicts, and what they draw against what they say."""

import itertools
import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from elman.errors import UserError
from elman.inspect.ngram import FALLBACK, NGram, discounts

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=100, suppress_health_check=busy)


def skewed(seed, length, vocabulary):
    """Tokenizer of which few are frequent, so that there are counts of 1, 2, 3 and 4."""
    return (vocabulary * np.random.default_rng(seed).random(length) ** 3).astype(np.uint8)


texts = st.builds(skewed, st.integers(0, 10**6), st.integers(0, 300), st.integers(1, 6))


def counted(text, n, highest):
    """Of each n-gram (tuple): how often it stands in the text; below the highest order, after how many tokens."""
    seen = Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
    if highest:
        return seen
    longer = {tuple(text[i : i + n + 1]) for i in range(len(text) - n)}
    return Counter(gram[1:] for gram in longer)


def given_up(counts):
    """The discount of a count, as a function, from all counts of an order."""
    n1, n2, n3, n4 = (sum(count == i for count in counts.values()) for i in (1, 2, 3, 4))
    d1, d2, d3 = FALLBACK
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        d = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        if min(d) > 0:
            d1, d2, d3 = d
    return lambda count: 0.0 if count == 0 else d1 if count == 1 else d2 if count == 2 else d3


class Oracle:
    """The paper's recursion, a chance at a time."""

    def __init__(self, text, vocabulary):
        self.text, self.vocabulary, self.tables = text.tolist(), vocabulary, {}

    def table(self, n, highest):
        if (n, highest) not in self.tables:
            counts = counted(self.text, n, highest)
            self.tables[n, highest] = counts, given_up(counts)
        return self.tables[n, highest]

    def chance(self, token, context, highest=True):
        counts, discount = self.table(len(context) + 1, highest)
        below = self.chance(token, context[1:], False) if context else 1 / self.vocabulary
        following = [counts[(*context, other)] for other in range(self.vocabulary)]
        if not sum(following):
            return below
        gamma = sum(discount(count) for count in following) / sum(following)
        here = counts[(*context, token)]
        return max(here - discount(here), 0) / sum(following) + gamma * below

    def nats(self, order, ids):
        ids = ids.tolist()
        return [
            [-math.log(self.chance(ids[t], tuple(ids[max(0, t - n + 1) : t]))) for t in range(len(ids))]
            for n in range(1, order + 1)
        ]


@some
@given(texts, texts, st.integers(1, 4))
def test_nats_are_those_of_the_formula(text, other, order):
    vocabulary = max([0, *text.tolist(), *other.tolist()]) + 2  # one token is never seen
    other = other[:40]
    found = NGram(text, order, vocabulary).nats(other)
    np.testing.assert_allclose(found, np.reshape(Oracle(text, vocabulary).nats(order, other), found.shape), atol=1e-10)


def test_the_formula_is_met_with_counts_of_counts_of_which_none_is_0():
    text, other = skewed(0, 3000, 9), skewed(1, 60, 9)
    assert all(discounts(np.array([*counted(text.tolist(), n, False).values()])) != FALLBACK for n in (3, 4))
    np.testing.assert_allclose(NGram(text, 5, 9).nats(other), Oracle(text, 9).nats(5, other), atol=1e-10)


@some
@given(texts, st.integers(1, 4))
def test_the_chances_of_all_tokens_add_up_to_1_after_every_context_seen_or_not(text, order):
    vocabulary = min(int(text.max(initial=0)) + 2, 4)
    model = NGram(text[text < vocabulary], order, vocabulary)
    for context in itertools.product(range(vocabulary), repeat=order - 1):
        chances = [np.exp(-model.nats(np.array([*context, token]))[:, -1]) for token in range(vocabulary)]
        np.testing.assert_allclose(np.sum(chances, 0), 1, atol=1e-12)
        assert np.min(chances) > 0


def test_order_1_is_the_counts_less_their_discount():
    text = np.array([0] * 6 + [1] * 3 + [2])
    left = (1.5 + 1.5 + 0.5) / 10 / 4  # the fallback discounts, divided among 4 tokens
    chances = np.array([4.5 / 10, 1.5 / 10, 0.5 / 10, 0]) + left
    np.testing.assert_allclose(NGram(text, 3, 4).nats(np.arange(4))[0], -np.log(chances))


def test_what_was_seen_after_few_tokens_is_unlikely_after_others():
    # "Francisco": 2 is the most frequent, and only ever after 1
    text = np.array([1, 2, 1, 2, 1, 2, 1, 2, 0, 3, 0, 4, 3, 4, 0])
    one, two = NGram(text, 2, 6).nats(np.array([5, 2]))[:, 1], NGram(text, 2, 6).nats(np.array([5, 4]))[:, 1]
    assert one[0] < two[0]  # order 1: it is likelier
    assert one[1] > two[1]  # order 2, after a token never seen: it is not


def test_discounts_by_hand():
    assert discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])) == (0.5, 1.25, 1.0)
    assert discounts(np.array([1, 1, 2, 3, 5])) == FALLBACK  # none of 4
    assert discounts(np.array([], int)) == FALLBACK
    assert discounts(np.array([1, 2, 3, 4, 4, 4])) == FALLBACK  # 3 - 4 / 3 * 3 < 0


def test_a_higher_order_gives_what_a_lower_does_where_the_text_begins():
    model, other = NGram(skewed(0, 500, 4), 5, 4), skewed(1, 9, 4)
    nats = model.nats(other)
    for t in range(4):
        assert (nats[t:, t] == nats[t, t]).all()
    assert NGram(skewed(0, 500, 4), 2, 4).nats(other).tolist() == nats[:2].tolist()  # nor does the highest matter


def test_a_long_order_finds_what_it_has_read():
    text = np.random.default_rng(0).integers(0, 256, 3000).astype(np.uint8)
    nats = NGram(text, 12, 256).nats(text[1000:1200])
    assert nats[11, 11:].max() < 1.5 < 4 < nats[0].mean()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_tokens_of_any_type(dtype):
    text = np.random.default_rng(0).integers(0, 256, 400)
    expected = NGram(text, 3, 256).nats(text[:50])
    assert NGram(text.astype(dtype), 3, 256).nats(text[:50].astype(dtype)).tolist() == expected.tolist()


def test_texts_shorter_than_the_order():
    for length in range(4):
        model = NGram(np.zeros(length, int), 3, 2)
        assert model.nats(np.zeros(0, int)).shape == (3, 0)
        assert np.isfinite(model.nats(np.array([0, 1, 1, 0]))).all()
    np.testing.assert_allclose(NGram(np.zeros(0, int), 3, 8).nats(np.arange(8)), np.log(8))


def test_what_is_no_token_is_refused():
    for wrong in ([0, 4], [-1, 0]):
        with pytest.raises(UserError, match="from 0 to 3, not"):
            NGram(np.array(wrong), 2, 4)
    with pytest.raises(UserError, match="from 0 to 3, not 0 to 4"):
        NGram(np.array([0, 1]), 2, 4).nats(np.array([0, 4]))
    with pytest.raises(UserError, match="above 0"):
        NGram(np.array([0]), 0, 4)


# what is drawn


@pytest.mark.parametrize("prompt", [[], [0], [2, 0], [0, 1, 0, 2, 1], [3, 3]])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_what_is_drawn_is_as_frequent_as_the_model_says(order, prompt):
    vocabulary, rows = 4, 40_000  # the last token is never seen
    model = NGram(skewed(0, 60, 3), order, vocabulary)
    drawn = model.sample(3, np.random.default_rng(0), prompt, rows)
    assert drawn.shape == (rows, 3)
    seen = np.bincount(drawn @ np.array([16, 4, 1]), minlength=64)
    each = itertools.product(range(vocabulary), repeat=3)
    chances = np.array([np.exp(-model.nats(np.array([*prompt, *three]))[-1, -3:].sum()) for three in each])
    assert math.isclose(chances.sum(), 1)
    # chi-square of 63 degrees of freedom: larger once in a million
    assert ((seen - chances * rows) ** 2 / (chances * rows)).sum() < 127


def test_the_same_numbers_draw_the_same_and_rows_differ():
    model = NGram(skewed(0, 200, 5), 4, 5)
    one, again = (model.sample(30, np.random.default_rng(3), [1], 4) for _ in range(2))
    assert (one == again).all()
    assert len({tuple(row) for row in one.tolist()}) == 4


def test_a_text_that_repeats_is_gone_on_with():
    model = NGram(np.tile(np.arange(7), 500), 3, 7)
    drawn = model.sample(500, np.random.default_rng(0), [2, 3])[0]
    assert drawn[0] == 4
    assert (np.diff(drawn) % 7 == 1).mean() > 0.98
