"""Sampling: the filters against a slow reference, the draw against the distribution, and what each step is given."""

import copy

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import nn
from torch.testing import assert_close

from elman.cells.registry import shipped
from elman.decode import sampling
from elman.decode.sampling import Sampling, sample
from elman.options import check
from elman.tasks.lm import LM
from elman.tokenizers.byte import ByteTokenizer
from elman.tokenizers.char import CharTokenizer
from elman.training.trained_model import Stream, _written

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=200, suppress_health_check=busy)
BELOW_1 = float(np.nextafter(np.float32(1), np.float32(0)))
CLOSE = 1e-5  # of a border, where float32 may fall on either side

# in steps of 1/8, so that two logits are equal or clearly not
logits_of_a_row = st.lists(st.integers(-48, 48).map(lambda number: number / 8), min_size=1, max_size=12)
filters = st.builds(
    Sampling,
    temperature=st.sampled_from([1.0, 0.5, 0.7, 2.0, 10.0]),
    top_k=st.none() | st.integers(1, 14),
    top_p=st.none() | st.floats(0.01, 1.0),
    min_p=st.just(0.0) | st.floats(0.0, 0.99),
)


def reference(logits, how):
    """The tokens that are kept and their chances, the filters written out for one row: {token: chance}."""
    logits = {token: logit / how.temperature for token, logit in enumerate(logits)}
    if how.top_k is not None:
        best_first = sorted(logits, key=lambda token: -logits[token])
        logits = {token: logits[token] for token in best_first[: how.top_k]}
    total = sum(np.exp(logit) for logit in logits.values())
    chances = {token: float(np.exp(logit) / total) for token, logit in logits.items()}
    likeliest_first = sorted(chances, key=lambda token: -chances[token])
    if how.top_p is not None:
        kept, reached = [], 0.0
        for token in likeliest_first:
            if reached >= how.top_p:
                break
            kept.append(token)
            reached += chances[token]
            assume(abs(reached - how.top_p) > CLOSE)
        likeliest_first = kept
    least = how.min_p * chances[likeliest_first[0]]
    assume(not any(abs(chances[token] - least) < CLOSE * least for token in likeliest_first))
    return {token: chances[token] for token in likeliest_first if chances[token] >= least}


@some
@given(logits_of_a_row, filters)
def test_the_filters_keep_what_a_slow_reference_keeps(logits, how):
    expected = reference(logits, how)
    found = how.probabilities(torch.tensor([logits]))[0].double().numpy()
    kept = np.flatnonzero(found)
    # of tokens that are equally likely any may be the last that is kept
    assert sorted(logits[token] for token in kept) == sorted(logits[token] for token in expected)
    ratios = np.exp((np.array(logits)[kept] - max(logits)) / how.temperature)
    np.testing.assert_allclose(found[kept] / found.max(), ratios, rtol=1e-4)
    assert found.min() >= 0
    assert found.sum() < 1 + 1e-5


@some
@given(st.lists(st.lists(st.integers(-8, 8), min_size=5, max_size=5), min_size=1, max_size=4), filters)
def test_each_row_is_filtered_by_itself(rows, how):
    logits = torch.tensor(rows, dtype=torch.float32)
    together = how.probabilities(logits)
    assert_close(together, torch.cat([how.probabilities(row[None]) for row in logits]))


@some
@given(logits_of_a_row)
def test_without_filters_it_is_the_softmax(logits):
    assert_close(Sampling().probabilities(torch.tensor([logits])), torch.tensor([logits]).softmax(-1))


@some
@given(logits_of_a_row, filters)
def test_the_likeliest_token_is_always_kept(logits, how):
    kept = how.probabilities(torch.tensor([logits]))[0].nonzero().flatten().tolist()
    assert max(logits) in [logits[token] for token in kept]


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({}, [1, 1, 1, 1]),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"top_k": 3}, [1, 1, 1, 0]),
        ({"top_k": 4}, [1, 1, 1, 1]),
        ({"top_k": 5}, [1, 1, 1, 1]),
        ({"top_p": 0.01}, [1, 0, 0, 0]),
        ({"top_p": 0.49}, [1, 0, 0, 0]),
        ({"top_p": 0.51}, [1, 1, 0, 0]),
        ({"top_p": 0.74}, [1, 1, 0, 0]),
        ({"top_p": 0.76}, [1, 1, 1, 0]),
        ({"top_p": 1.0}, [1, 1, 1, 1]),
        ({"min_p": 0.49}, [1, 1, 0, 0]),
        ({"min_p": 0.51}, [1, 0, 0, 0]),
        ({"min_p": 0.24}, [1, 1, 1, 1]),
        # in this order: of the two that are left, the first has 2/3, so that 0.6 is reached
        ({"top_k": 2, "top_p": 0.6}, [1, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.6}, [1, 1, 0, 0]),
        # the temperature comes first: of 4/6.5, 1/6.5 ... the first alone has more than 0.6
        ({"temperature": 0.5, "top_p": 0.6}, [1, 0, 0, 0]),
        ({"temperature": 0.5, "min_p": 0.3}, [1, 0, 0, 0]),
        ({"temperature": 2.0, "min_p": 0.51}, [1, 1, 0, 0]),
    ],
)
def test_filters_by_example(how, kept):
    chances = torch.tensor([[8, 4, 2.001, 1.999]]) / 16
    found = Sampling(**how).probabilities(chances.log())[0]
    assert (found > 0).int().tolist() == kept


def test_a_temperature_makes_the_likely_likelier_or_all_more_even():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    cold, plain, hot = (Sampling(temperature=t).probabilities(logits)[0] for t in (0.1, 1.0, 100.0))
    assert cold[0] > 0.99 > plain[0] > hot[0] > 1 / 3
    assert_close(hot, torch.full((3,), 1 / 3), rtol=0.02, atol=0)
    assert_close((cold[0] / cold[1]).log(), torch.tensor(10.0))


@some
@given(st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=4, max_size=4), min_size=1, max_size=3), filters)
def test_greedy_is_the_likeliest_token_whatever_the_filters(rows, how):
    logits = torch.tensor(rows, dtype=torch.float32)
    greedy = Sampling(True, how.temperature, how.top_k, how.top_p, how.min_p).probabilities(logits)
    assert greedy.tolist() == [[float(token == np.argmax(row)) for token in range(4)] for row in rows]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_distribution_is_float32_whatever_the_model_computes_in(dtype):
    for how in (Sampling(), Sampling(greedy=True), Sampling(top_k=1)):
        assert how.probabilities(torch.zeros(2, 3, dtype=dtype)).dtype == torch.float32


def test_tokens_that_cannot_be_are_not_drawn():
    logits = torch.tensor([[0.0, -torch.inf, 1.0]])
    for how in (Sampling(), Sampling(temperature=0.5), Sampling(top_k=3), Sampling(top_p=0.999), Sampling(min_p=0.01)):
        assert how.probabilities(logits)[0, 1] == 0


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": 1.0}])
def test_a_filter_that_would_leave_nothing_is_refused(wrong):
    with pytest.raises(Exception, match=f"--{next(iter(wrong)).replace('_', '-')} "):
        check(Sampling(**wrong))


# the draw

shares = st.sampled_from([0.0, 1e-30, 1e-9, 1e-7]) | st.floats(0.0, 1.0)
distributions = st.lists(shares, min_size=1, max_size=40).filter(lambda parts: max(parts) > 1e-9)
uniforms = st.sampled_from([0.0, BELOW_1, 0.5, 1e-45]) | st.floats(0, 1, exclude_max=True, width=32)


@some
@given(distributions, st.lists(uniforms, min_size=1, max_size=6), st.floats(0.01, 1.0))
def test_a_token_without_a_chance_is_never_chosen(parts, numbers, mass):
    # a filter leaves a part of the distribution, so that its sum is not 1
    chances = torch.tensor(np.array(parts) / sum(parts) * mass, dtype=torch.float32).expand(len(numbers), -1)
    chosen = Sampling().choose(chances, torch.tensor(numbers)[:, None])
    assert chosen.shape == (len(numbers),)
    assert chosen.dtype == torch.int64
    for number, token in zip(numbers, chosen.tolist(), strict=True):
        assert chances[0, token] > 0
        cumulated = np.cumsum(chances[0].double().numpy())
        place = number * cumulated[-1]
        before = cumulated[token - 1] if token else 0.0
        assert before - CLOSE < place < cumulated[token] + CLOSE


def test_the_edges_choose_the_first_and_the_last_token_that_has_a_chance():
    chances = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]).expand(2, -1)
    assert Sampling().choose(chances, torch.tensor([[0.0], [BELOW_1]])).tolist() == [1, 3]


def test_each_row_has_its_own_chances_and_its_own_number():
    chances = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.5, 0.0]])
    assert Sampling().choose(chances, torch.tensor([[0.4], [0.4], [0.6]])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("kept", [1.0, 0.3])
def test_tokens_are_chosen_as_often_as_their_chances_say(kept):
    parts = np.array([0.4, 0.0, 0.25, 0.15, 0.1, 0.05, 0.04, 0.01])
    draws = 200_000
    chances = torch.tensor(parts * kept, dtype=torch.float32).expand(draws, -1)
    numbers = torch.rand(draws, 1, generator=torch.Generator().manual_seed(0))
    seen = np.bincount(Sampling().choose(chances, numbers).numpy(), minlength=len(parts))
    expected = parts[parts > 0] * draws
    assert seen[parts == 0].sum() == 0
    # chi-square of 6 degrees of freedom: larger once in a million
    assert ((seen[parts > 0] - expected) ** 2 / expected).sum() < 38


# a model that is sampled from

VOCABULARY, HIDDEN = 7, 6


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    task = LM(VOCABULARY, 4, HIDDEN, "rnn", 2).eval()
    for weight in task.parameters():
        nn.init.normal_(weight)
    nn.init.normal_(task.head.bias, std=0.3)  # what it chooses hangs on the state
    return task


class Watched:
    """A stepper that keeps what it was given, and whether it made a graph."""

    def __init__(self, task):
        self.stepper, self.device = task.stepper(), task.stepper().device
        self.given, self.begun, self.graphs = [], [], []

    def begin(self, batch):
        self.begun.append(batch["input"].clone())
        return self.stepper.begin(batch)

    def step(self, token, state):
        self.given.append(token.clone())
        logits, state = self.stepper.step(token, state)
        self.graphs.append(logits.requires_grad)
        return logits, state


class Noting(Sampling):
    """Sampling that keeps the uniform numbers it was given."""

    numbers: list
    plain = False  # or they are drawn inside a kernel

    def choose(self, chances, uniform):
        self.numbers.append(uniform.flatten().tolist())
        return super().choose(chances, uniform)


def noting(**options):
    how = Noting(**options)
    object.__setattr__(how, "numbers", [])
    return how


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(task, prompt, length, how, seed=0, num_samples=1):
    """The tokens of each row."""
    tokens = list(sample(task.stepper(), prompt, length, how, seeded(seed), batch_size))
    assert len(tokens) == length
    assert all(each.shape == (batch_size,) for each in tokens)
    return torch.stack(tokens, 1).tolist() if tokens else [[] for _ in range(batch_size)]


def logits_after(task, vectors):
    """The logits after all of these input vectors, read again from the first."""
    with torch.no_grad():
        y, _ = task.recurrent(torch.stack(vectors)[None])
        return task.head(y[:, -1])


def by_hand(task, prompt, how, numbers):
    """One row of tokens, everything so far read again for each: the numbers are where the draws fall."""
    weight, tokens = task.lookup.weight.detach(), []
    vectors = [weight[token] for token in prompt]
    for number in numbers:
        chances = how.probabilities(logits_after(task, vectors))[0]
        chances = chances / chances.sum()
        tokens.append(int(np.searchsorted(chances.double().cumsum(0).numpy(), number, side="right")))
        vectors.append(weight[tokens[-1]] if how.feed == "sample" else (chances[:, None] * weight).sum(0))
    return tokens


def test_greedy_tokens_are_those_of_reading_the_whole_text_again_each_time(model):
    followers = {}
    for prompt in [*([token] for token in range(VOCABULARY)), [1, 2, 3, 0, 6], [4, 4, 4]]:
        text = list(prompt)
        for _ in range(8):
            with torch.no_grad():
                y, _ = model.recurrent(model.lookup(torch.tensor([text])))
            text.append(int(model.head(y[0, -1]).argmax()))
            followers.setdefault(text[-2], set()).add(text[-1])
        assert drawn(model, prompt, 8, Sampling(greedy=True)) == [text[len(prompt) :]]
    # what follows a token depends on the state, so that one that was not carried would be seen
    assert max(map(len, followers.values())) > 1


@pytest.mark.parametrize("feed", ["sample", "softmax"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "top_k": 4, "top_p": 0.9, "min_p": 0.02}])
def test_every_row_is_drawn_as_one_alone_with_numbers_of_its_own(model, feed, options):
    how = noting(feed=feed, **options)
    rows = drawn(model, [2, 5], 15, how, num_samples=3)
    numbers = np.array(how.numbers).T
    assert numbers.shape == (3, 15)
    for row, its_own in zip(rows, numbers, strict=True):
        assert row == by_hand(model, [2, 5], Sampling(feed=feed, **options), its_own)
    assert len({tuple(row) for row in rows}) > 1


def test_a_distribution_that_is_fed_is_the_filtered_one_made_whole(model):
    watched, how = Watched(model), Sampling(top_p=0.6, feed="softmax")
    tokens = list(sample(watched, [2, 5], 6, how, seeded()))
    vectors = [model.lookup.weight[token].detach() for token in (2, 5)]
    assert [fed.tolist() for fed in watched.given[:2]] == [[2], [5]]
    for fed, chosen in zip(watched.given[2:], tokens, strict=False):
        chances = how.probabilities(logits_after(model, vectors))
        assert_close(fed, chances / chances.sum())
        assert fed[0, int(chosen)] > 0
        vectors.append((fed[0][:, None] * model.lookup.weight.detach()).sum(0))


def test_a_distribution_is_stepped_over_as_the_mean_of_the_tokens_vectors(model):
    stepper = model.stepper()
    weights = torch.rand(2, VOCABULARY, generator=seeded())
    weights /= weights.sum(-1, keepdim=True)
    with torch.no_grad():
        logits, state = stepper.step(weights, stepper.begin({"input": torch.zeros(2, 1)}))
        expected, after = model.recurrent((weights @ model.lookup.weight)[:, None])
        assert_close(logits, model.head(expected[:, 0]))
        assert_close(state, after)
        one = nn.functional.one_hot(torch.tensor([3, 1]), VOCABULARY).float()
        assert_close(stepper.step(one, state), stepper.step(torch.tensor([3, 1]), state))


def test_the_prompt_is_read_by_every_row_and_then_what_was_chosen(model):
    watched = Watched(model)
    tokens = list(sample(watched, [4, 0, 6], 5, Sampling(), seeded(), num_samples=2))
    assert [batch.tolist() for batch in watched.begun] == [[[4, 0, 6]] * 2]
    given = [each.tolist() for each in watched.given]
    assert given == [[4, 4], [0, 0], [6, 6], *[each.tolist() for each in tokens[:-1]]]


def test_the_same_seed_draws_the_same_tokens_and_another_others(model):
    first, again, other = (drawn(model, [0], 40, Sampling(), seed) for seed in (5, 5, 6))
    assert first == again != other


def test_the_numbers_depend_on_nothing_but_the_generator_and_the_rows(model):
    torch.manual_seed(0)
    plain, filtered = noting(), noting(temperature=0.5, top_k=2)
    drawn(model, [0], 20, plain, num_samples=2)
    torch.manual_seed(1)
    drawn(model, [1, 2, 3], 20, filtered, num_samples=2)
    assert plain.numbers == filtered.numbers
    assert all(0 <= number < 1 for numbers in plain.numbers for number in numbers)


def test_numbers_are_drawn_anew_when_they_are_used_up(model, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 4)
    how = noting()
    [tokens] = drawn(model, [0], 18, how)
    numbers = [number for [number] in how.numbers]
    assert len(set(numbers)) == 18
    assert tokens == by_hand(model, [0], Sampling(), numbers)


class Stepwise:
    """A stepper without blocks."""

    def __init__(self, stepper):
        self.begin, self.step, self.device = stepper.begin, stepper.step, stepper.device


CHOICES = [{}, {"temperature": 0.3}, {"temperature": 4.0}, {"greedy": True}]


@pytest.mark.parametrize("cell", [name for name, kind in shipped().items() if kind.__module__.startswith("elman")])
def test_a_block_writes_what_single_steps_write(cell, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 16)
    torch.manual_seed(2)
    for rows, hidden, options in (
        (1, 6, {}),
        (3, 70, {"layers": 3, "residual": True}),
        (2, 1, {"learned_state": True}),
    ):
        task = LM(VOCABULARY, 5, hidden, cell, **options).eval()
        for parameter in task.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        for how in (Sampling(**chosen) for chosen in CHOICES):
            watched, stepwise = Watched(task), Stepwise(task.stepper())
            watched.block = watched.stepper.block
            written, expected = (list(sample(s, [3, 1], 37, how, seeded(), rows)) for s in (watched, stepwise))
            assert len(watched.given) == 1  # the prompt's first token: all else in blocks
            assert_close(torch.stack(written), torch.stack(expected), rtol=0, atol=0)


def test_the_state_after_a_block_is_that_after_its_steps(model):
    stepper, numbers = model.stepper(), torch.rand(5, 2, generator=seeded())
    token = torch.tensor([1, 4])
    state = stepper.begin({"input": token[:, None]})
    drawn, after = stepper.block(token, state, numbers, Sampling())
    for each in (token, *drawn[:-1]):
        _, state = stepper.step(each, state)
    assert_close(after, state)


@pytest.mark.parametrize("how", [Sampling(top_k=3), Sampling(top_p=0.5), Sampling(min_p=0.1), Sampling(feed="softmax")])
def test_a_filter_is_left_to_single_steps(model, how):
    token = torch.tensor([1])
    stepper = model.stepper()
    assert stepper.block(token, stepper.begin({"input": token[:, None]}), torch.rand(3, 1), how) is None


@pytest.mark.parametrize("change", [lambda model: setattr(model.recurrent, "backend", "loop"), LM.double, LM.bfloat16])
def test_there_is_no_block_where_there_is_no_kernel_for_it(model, change):
    model = copy.deepcopy(model)
    change(model)
    stepper, token = model.stepper(), torch.tensor([1])
    assert stepper.block(token, stepper.begin({"input": token[:, None]}), torch.rand(3, 1), Sampling()) is None
    drawn(model, [1], 5, Sampling())


def test_a_longer_text_begins_as_a_shorter_one(model, monkeypatch):
    texts = drawn(model, [1], 70, Sampling(), num_samples=2)
    for length in (0, 1, 17, 69):
        assert drawn(model, [1], length, Sampling(), num_samples=2) == [text[:length] for text in texts]
    monkeypatch.setattr(sampling, "BLOCK", 7)
    assert drawn(model, [1], 70, Sampling(), num_samples=2) == texts


def test_nothing_is_computed_before_it_is_asked_for_and_no_trace_is_left_outside(model):
    watched = Watched(model)
    stream = sample(watched, [1, 2], 10, Sampling(), seeded())
    assert watched.given == []
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    assert len(list(stream)) == 9
    assert len(watched.given) == 11
    assert not any(watched.graphs)


# where a text ends


def written(texts, tokens, stop, end=None):
    """What each stream writes piece by piece, when these texts are drawn, and how many tokens were left undrawn."""
    ids = [tokens.encode(text) for text in texts]
    left = iter([torch.tensor(column) for column in zip(*ids, strict=True)])
    pieces = list(_written(left, tokens, stop, end, len(texts)))
    return [list(row) for row in zip(*pieces, strict=True)], len(list(left))


LETTERS = CharTokenizer("abcxé漢\n")


def test_without_a_stop_everything_that_is_drawn_is_written():
    for stop in (None, ""):
        assert written(["abc", "xxx"], LETTERS, stop) == ([["a", "b", "c"], ["x", "x", "x"]], 0)


def test_a_stop_may_come_in_several_pieces_and_is_written_itself():
    assert written(["abcabc"], LETTERS, "ca") == ([["a", "b", "c", "a"]], 2)
    assert written(["aaab"], LETTERS, "aab") == ([["a", "a", "a", "b"]], 0)
    assert written(["abc"], LETTERS, "abcx") == ([["a", "b", "c"]], 0)
    assert written(["ab\n\nab"], LETTERS, "\n\n") == ([["a", "b", "\n", "\n"]], 2)


def test_streams_that_have_ended_are_silent_until_the_last_has_too():
    rows, left = written(["axbbb", "bbxbb", "xbbbb"], LETTERS, "x")
    assert rows == [["a", "x", ""], ["b", "b", "x"], ["x", "", ""]]
    assert left == 2


def test_one_stream_that_never_ends_keeps_them_all_going():
    rows, left = written(["xab", "bbb"], LETTERS, "x")
    assert rows == [["x", "", ""], ["b", "b", "b"]]
    assert left == 0


def test_bytes_are_written_and_stopped_at_as_the_characters_they_make():
    rows, left = written(["é漢ab", "a漢éa"], ByteTokenizer(), "漢a")
    assert rows == [["", "é", "", "", "漢", "a", ""], ["a", "", "", "漢", "", "é", "a"]]
    assert left == 0
    assert written(["é漢ab"], ByteTokenizer(), "漢a") == ([["", "é", "", "", "漢", "a"]], 1)


@some
@given(st.lists(st.text("ab", max_size=3), max_size=12), st.text("ab", min_size=1, max_size=4))
def test_a_stop_is_noticed_with_the_first_piece_that_completes_it(pieces, stop):
    stream, text = Stream(pieces.__getitem__, stop, None), ""
    for number, piece in enumerate(pieces):
        assert stream.add(number) == piece
        text += piece
        assert stream.ended == (stop in text)
        if stream.ended:
            assert stream.add(0) == ""
            break


def test_a_text_ends_at_its_end_token_which_is_not_written():
    x = LETTERS.encode("x")[0]
    rows, left = written(["abxab", "abcab"], LETTERS, None, x)
    assert rows == [["a", "b", "", "", ""], ["a", "b", "c", "a", "b"]]
    assert left == 0
    assert written(["xab"], LETTERS, "a", x) == ([[""]], 2)
