"""Sampling: the filters against a slow reference, draws against the distribution, and the input of each step."""

import copy

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import nn
from torch.testing import assert_close

from elman.cells.shipped import shipped
from elman.decode import sampling as sampling_module
from elman.decode.sampling import Sampling, sample
from elman.options import check
from elman.tasks.lm import LMModel
from elman.tokenizers.byte import ByteTokenizer
from elman.tokenizers.char import CharTokenizer
from elman.training.trained_model import Stream, _decoded
from fitting import fitting
from models import RecordingStepper, language_model

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


def reference(logits, sampling):
    """The probability of each token that is kept, by filters written out for one row."""
    logits = {token: logit / sampling.temperature for token, logit in enumerate(logits)}
    if sampling.top_k is not None:
        best_first = sorted(logits, key=lambda token: -logits[token])
        logits = {token: logits[token] for token in best_first[: sampling.top_k]}
    total = sum(np.exp(logit) for logit in logits.values())
    probabilities = {token: float(np.exp(logit) / total) for token, logit in logits.items()}
    most_probable_first = sorted(probabilities, key=lambda token: -probabilities[token])
    if sampling.top_p is not None:
        kept, reached = [], 0.0
        for token in most_probable_first:
            if reached >= sampling.top_p:
                break
            kept.append(token)
            reached += probabilities[token]
            assume(abs(reached - sampling.top_p) > CLOSE)
        most_probable_first = kept
    least = sampling.min_p * probabilities[most_probable_first[0]]
    assume(not any(abs(probabilities[token] - least) < CLOSE * least for token in most_probable_first))
    return {token: probabilities[token] for token in most_probable_first if probabilities[token] >= least}


@some
@given(logits_of_a_row, filters)
def test_the_filters_keep_what_a_slow_reference_keeps(logits, sampling):
    expected = reference(logits, sampling)
    found = sampling.probabilities(torch.tensor([logits]))[0].double().numpy()
    kept = np.flatnonzero(found)
    # of tokens that are equally likely any may be the last that is kept
    assert sorted(logits[token] for token in kept) == sorted(logits[token] for token in expected)
    ratios = np.exp((np.array(logits)[kept] - max(logits)) / sampling.temperature)
    np.testing.assert_allclose(found[kept] / found.max(), ratios, rtol=1e-4)
    assert found.min() >= 0
    assert found.sum() < 1 + 1e-5


@some
@given(st.lists(st.lists(st.integers(-8, 8), min_size=5, max_size=5), min_size=1, max_size=4), filters)
def test_each_row_is_filtered_by_itself(rows, sampling):
    logits = torch.tensor(rows, dtype=torch.float32)
    together = sampling.probabilities(logits)
    assert_close(together, torch.cat([sampling.probabilities(row[None]) for row in logits]))


@some
@given(logits_of_a_row)
def test_without_filters_it_is_the_softmax(logits):
    assert_close(Sampling().probabilities(torch.tensor([logits])), torch.tensor([logits]).softmax(-1))


@some
@given(logits_of_a_row, filters)
def test_the_most_probable_token_is_always_kept(logits, sampling):
    kept = sampling.probabilities(torch.tensor([logits]))[0].nonzero().flatten().tolist()
    assert max(logits) in [logits[token] for token in kept]


@pytest.mark.parametrize(
    ("sampling", "kept"),
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
def test_filters_by_example(sampling, kept):
    probabilities = torch.tensor([[8, 4, 2.001, 1.999]]) / 16
    found = Sampling(**sampling).probabilities(probabilities.log())[0]
    assert (found > 0).int().tolist() == kept


def test_a_temperature_makes_the_likely_likelier_or_all_more_even():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    cold, plain, hot = (Sampling(temperature=t).probabilities(logits)[0] for t in (0.1, 1.0, 100.0))
    assert cold[0] > 0.99 > plain[0] > hot[0] > 1 / 3
    assert_close(hot, torch.full((3,), 1 / 3), rtol=0.02, atol=0)
    assert_close((cold[0] / cold[1]).log(), torch.tensor(10.0))


@some
@given(st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=4, max_size=4), min_size=1, max_size=3), filters)
def test_greedy_is_the_most_probable_token_whatever_the_filters(rows, sampling):
    logits = torch.tensor(rows, dtype=torch.float32)
    greedy = Sampling(True, sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p).probabilities(logits)
    assert greedy.tolist() == [[float(token == np.argmax(row)) for token in range(4)] for row in rows]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_distribution_is_float32_whatever_the_model_computes_in(dtype):
    for sampling in (Sampling(), Sampling(greedy=True), Sampling(top_k=1)):
        assert sampling.probabilities(torch.zeros(2, 3, dtype=dtype)).dtype == torch.float32


def test_tokens_with_a_logit_of_minus_infinity_are_not_drawn():
    logits = torch.tensor([[0.0, -torch.inf, 1.0]])
    for options in ({}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.999}, {"min_p": 0.01}):
        assert Sampling(**options).probabilities(logits)[0, 1] == 0


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": 1.0}])
def test_a_filter_that_would_leave_nothing_is_refused(wrong):
    with pytest.raises(Exception, match=f"`{next(iter(wrong))}` "):
        check(Sampling(**wrong))


# the draw

weights = st.sampled_from([0.0, 1e-30, 1e-9, 1e-7]) | st.floats(0.0, 1.0)
distributions = st.lists(weights, min_size=1, max_size=40).filter(lambda parts: max(parts) > 1e-9)
uniforms = st.sampled_from([0.0, BELOW_1, 0.5, 1e-45]) | st.floats(0, 1, exclude_max=True, width=32)


@some
@given(distributions, st.lists(uniforms, min_size=1, max_size=6), st.floats(0.01, 1.0))
def test_a_token_of_probability_0_is_never_chosen(parts, numbers, mass):
    # a filter leaves a part of the distribution, so that its sum is not 1
    probabilities = torch.tensor(np.array(parts) / sum(parts) * mass, dtype=torch.float32).expand(len(numbers), -1)
    chosen = Sampling().choose(probabilities, torch.tensor(numbers)[:, None])
    assert chosen.shape == (len(numbers),)
    assert chosen.dtype == torch.int64
    for number, token in zip(numbers, chosen.tolist(), strict=True):
        assert probabilities[0, token] > 0
        cumulative = np.cumsum(probabilities[0].double().numpy())
        position = number * cumulative[-1]
        before = cumulative[token - 1] if token else 0.0
        assert before - CLOSE < position < cumulative[token] + CLOSE


def test_the_extreme_numbers_choose_the_first_and_last_token_with_a_probability_above_0():
    probabilities = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]).expand(2, -1)
    assert Sampling().choose(probabilities, torch.tensor([[0.0], [BELOW_1]])).tolist() == [1, 3]


def test_each_row_has_its_own_probabilities_and_its_own_number():
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.5, 0.0]])
    assert Sampling().choose(probabilities, torch.tensor([[0.4], [0.4], [0.6]])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("kept", [1.0, 0.3])
def test_the_frequencies_of_tokens_are_their_probabilities(kept):
    parts = np.array([0.4, 0.0, 0.25, 0.15, 0.1, 0.05, 0.04, 0.01])
    draws = 200_000
    probabilities = torch.tensor(parts * kept, dtype=torch.float32).expand(draws, -1)
    numbers = torch.rand(draws, 1, generator=torch.Generator().manual_seed(0))
    counts = np.bincount(Sampling().choose(probabilities, numbers).numpy(), minlength=len(parts))
    expected = parts[parts > 0] * draws
    assert counts[parts == 0].sum() == 0
    # chi-square of 6 degrees of freedom: larger once in a million
    assert ((counts[parts > 0] - expected) ** 2 / expected).sum() < 38


# samples of a model

VOCABULARY, HIDDEN = 7, 6


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    model = language_model(VOCABULARY, 4, HIDDEN, "rnn", layers=2).eval()
    for weight in model.parameters():
        nn.init.normal_(weight)
    nn.init.normal_(model.head.bias, std=0.3)  # small, so that the next token depends on the state
    return model


class RecordingSampling(Sampling):
    """Sampling that records its uniform numbers."""

    numbers: list
    unfiltered = False  # otherwise a kernel draws

    def choose(self, probabilities, uniform):
        self.numbers.append(uniform.flatten().tolist())
        return super().choose(probabilities, uniform)


def recording(**options):
    sampling = RecordingSampling(**options)
    object.__setattr__(sampling, "numbers", [])
    return sampling


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(model, prompt, length, sampling, seed=0, num_samples=1):
    """The tokens of each row."""
    tokens = list(sample(model.stepper(), prompt, length, sampling, seeded(seed), num_samples))
    assert len(tokens) == length
    assert all(each.shape == (num_samples,) for each in tokens)
    return torch.stack(tokens, 1).tolist() if tokens else [[] for _ in range(num_samples)]


def logits_after(model, vectors):
    """The logits after all of these input vectors, computed from the first."""
    with torch.no_grad():
        y, _ = model.recurrent(torch.stack(vectors)[None])
        return model.head(y[:, -1])


def by_hand(model, prompt, sampling, numbers):
    """One row of tokens, each computed from the whole sequence before it, selected by uniform numbers."""
    weight, tokens = model.embedding.weight.detach(), []
    vectors = [weight[token] for token in prompt]
    for number in numbers:
        probabilities = sampling.probabilities(logits_after(model, vectors))[0]
        probabilities = probabilities / probabilities.sum()
        tokens.append(int(np.searchsorted(probabilities.double().cumsum(0).numpy(), number, side="right")))
        vectors.append(weight[tokens[-1]] if sampling.feed == "sample" else (probabilities[:, None] * weight).sum(0))
    return tokens


def test_greedy_tokens_are_those_of_the_full_sequence_each_time(model):
    followers = {}
    for prompt in [*([token] for token in range(VOCABULARY)), [1, 2, 3, 0, 6], [4, 4, 4]]:
        text = list(prompt)
        for _ in range(8):
            with torch.no_grad():
                y, _ = model.recurrent(model.embedding(torch.tensor([text])))
            text.append(int(model.head(y[0, -1]).argmax()))
            followers.setdefault(text[-2], set()).add(text[-1])
        assert drawn(model, prompt, 8, Sampling(greedy=True)) == [text[len(prompt) :]]
    # what follows a token depends on the state: a state that is not carried changes the tokens
    assert max(map(len, followers.values())) > 1


@pytest.mark.parametrize("feed", ["sample", "softmax"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "top_k": 4, "top_p": 0.9, "min_p": 0.02}])
def test_every_row_is_drawn_as_one_alone_with_numbers_of_its_own(model, feed, options):
    sampling = recording(feed=feed, **options)
    rows = drawn(model, [2, 5], 15, sampling, num_samples=3)
    numbers = np.array(sampling.numbers).T
    assert numbers.shape == (3, 15)
    for row, its_own in zip(rows, numbers, strict=True):
        assert row == by_hand(model, [2, 5], Sampling(feed=feed, **options), its_own)
    assert len({tuple(row) for row in rows}) > 1


def test_a_distribution_that_is_fed_is_the_filtered_one_normalised(model):
    stepper, sampling = RecordingStepper(model.stepper()), Sampling(top_p=0.6, feed="softmax")
    tokens = list(sample(stepper, [2, 5], 6, sampling, seeded()))
    vectors = [model.embedding.weight[token].detach() for token in (2, 5)]
    assert [x.tolist() for x in stepper.inputs[:2]] == [[2], [5]]
    for x, chosen in zip(stepper.inputs[2:], tokens, strict=False):
        probabilities = sampling.probabilities(logits_after(model, vectors))
        assert_close(x, probabilities / probabilities.sum())
        assert x[0, int(chosen)] > 0
        vectors.append((x[0][:, None] * model.embedding.weight.detach()).sum(0))


def test_the_step_with_a_distribution_takes_the_mean_of_the_embeddings(model):
    stepper = model.stepper()
    weights = torch.rand(2, VOCABULARY, generator=seeded())
    weights /= weights.sum(-1, keepdim=True)
    with torch.no_grad():
        logits, state = stepper.step(weights, stepper.begin({"input": torch.zeros(2, 1)}))
        expected, after = model.recurrent((weights @ model.embedding.weight)[:, None])
        assert_close(logits, model.head(expected[:, 0]))
        assert_close(state, after)
        one = nn.functional.one_hot(torch.tensor([3, 1]), VOCABULARY).float()
        assert_close(stepper.step(one, state), stepper.step(torch.tensor([3, 1]), state))


def test_the_inputs_of_every_row_are_the_prompt_and_then_its_own_tokens(model):
    stepper = RecordingStepper(model.stepper())
    tokens = list(sample(stepper, [4, 0, 6], 5, Sampling(), seeded(), num_samples=2))
    assert [batch.tolist() for batch in stepper.prompts] == [[[4, 0, 6]] * 2]
    inputs = [each.tolist() for each in stepper.inputs]
    assert inputs == [[4, 4], [0, 0], [6, 6], *[each.tolist() for each in tokens[:-1]]]


def test_the_same_seed_draws_the_same_tokens_and_another_others(model):
    first, again, other = (drawn(model, [0], 40, Sampling(), seed) for seed in (5, 5, 6))
    assert first == again != other


def test_the_numbers_depend_on_nothing_but_the_generator_and_the_number_of_rows(model):
    torch.manual_seed(0)
    plain, filtered = recording(), recording(temperature=0.5, top_k=2)
    drawn(model, [0], 20, plain, num_samples=2)
    torch.manual_seed(1)
    drawn(model, [1, 2, 3], 20, filtered, num_samples=2)
    assert plain.numbers == filtered.numbers
    assert all(0 <= number < 1 for numbers in plain.numbers for number in numbers)


def test_every_block_draws_numbers_of_its_own(model, monkeypatch):
    monkeypatch.setattr(sampling_module, "BLOCK", 4)
    sampling = recording()
    [tokens] = drawn(model, [0], 18, sampling)
    numbers = [number for [number] in sampling.numbers]
    assert len(set(numbers)) == 18
    assert tokens == by_hand(model, [0], Sampling(), numbers)


CHOICES = [{}, {"temperature": 0.3}, {"temperature": 4.0}, {"greedy": True}]


CELLS = [name for name, kind in shipped().items() if kind.__module__.startswith("elman")]
FAST = ("gru", "lstm")  # each compiles six kernels


@pytest.mark.parametrize("cell", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in CELLS])
def test_a_block_generates_what_single_steps_generate(cell, monkeypatch):
    monkeypatch.setattr(sampling_module, "BLOCK", 16)
    torch.manual_seed(2)
    for rows, hidden, options in (
        (1, 6, {}),
        (3, 70, {"layers": 3, "residual": True}),
        (2, 1, {"learn_initial_state": True}),
    ):
        model = language_model(VOCABULARY, 5, hidden, fitting(cell, hidden), **options).eval()
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        for sampling in (Sampling(**chosen) for chosen in CHOICES):
            blocks, steps = RecordingStepper(model.stepper(), blocks=True), RecordingStepper(model.stepper())
            generated, expected = (list(sample(s, [3, 1], 37, sampling, seeded(), rows)) for s in (blocks, steps))
            assert len(blocks.inputs) == 1  # the prompt's first token: all else in blocks
            assert_close(torch.stack(generated), torch.stack(expected), rtol=0, atol=0)


def test_the_state_after_a_block_is_that_after_its_steps(model):
    stepper, numbers = model.stepper(), torch.rand(5, 2, generator=seeded())
    token = torch.tensor([1, 4])
    state = stepper.begin({"input": token[:, None]})
    drawn, after = stepper.block(token, state, numbers, 1.0, False)
    for each in (token, *drawn[:-1]):
        _, state = stepper.step(each, state)
    assert_close(after, state)


@pytest.mark.parametrize(
    "options", [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.1}, {"feed": "softmax"}, {"no_repeat_ngram": 2}]
)
def test_filters_are_applied_step_by_step(model, options):
    stepper = RecordingStepper(model.stepper(), blocks=True)
    list(sample(stepper, [1], 5, Sampling(**options), seeded()))
    assert len(stepper.inputs) == 5


def test_a_distribution_as_input_has_no_block(model):
    stepper = model.stepper()
    state = stepper.begin({"input": torch.zeros(1, 1)})
    assert stepper.block(torch.full((1, VOCABULARY), 1 / VOCABULARY), state, torch.rand(3, 1), 1.0, False) is None


@pytest.mark.parametrize(
    "change", [lambda model: setattr(model.recurrent, "backend", "loop"), LMModel.double, LMModel.bfloat16]
)
def test_there_is_no_block_where_there_is_no_kernel_for_it(model, change):
    model = copy.deepcopy(model)
    change(model)
    stepper, token = model.stepper(), torch.tensor([1])
    assert stepper.block(token, stepper.begin({"input": token[:, None]}), torch.rand(3, 1), 1.0, False) is None
    drawn(model, [1], 5, Sampling())


def test_a_longer_text_begins_as_a_shorter_one(model, monkeypatch):
    texts = drawn(model, [1], 70, Sampling(), num_samples=2)
    for length in (0, 1, 17, 69):
        assert drawn(model, [1], length, Sampling(), num_samples=2) == [text[:length] for text in texts]
    monkeypatch.setattr(sampling_module, "BLOCK", 7)
    assert drawn(model, [1], 70, Sampling(), num_samples=2) == texts


def test_nothing_is_computed_ahead_of_the_first_token_and_gradients_stay_enabled_outside(model):
    stepper = RecordingStepper(model.stepper())
    stream = sample(stepper, [1, 2], 10, Sampling(), seeded())
    assert stepper.inputs == []
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    assert len(list(stream)) == 9
    assert len(stepper.inputs) == 11
    assert not any(stepper.graphs)


# the end of a text


def decoded(texts, tokenizer, stop, end=None):
    """The pieces of each stream when these texts are drawn, and how many tokens were not drawn."""
    ids = [tokenizer.encode(text) for text in texts]
    tokens = iter([torch.tensor(column) for column in zip(*ids, strict=True)])
    pieces = list(_decoded(tokens, tokenizer, stop, end, len(texts), ""))
    return [list(row) for row in zip(*pieces, strict=True)], len(list(tokens))


LETTERS = CharTokenizer("abcxé漢\n")


def test_without_a_stop_every_token_is_decoded():
    for stop in (None, ""):
        assert decoded(["abc", "xxx"], LETTERS, stop) == ([["a", "b", "c"], ["x", "x", "x"]], 0)


def test_a_stop_may_span_several_pieces_and_is_part_of_the_text():
    assert decoded(["abcabc"], LETTERS, "ca") == ([["a", "b", "c", "a"]], 2)
    assert decoded(["aaab"], LETTERS, "aab") == ([["a", "a", "a", "b"]], 0)
    assert decoded(["abc"], LETTERS, "abcx") == ([["a", "b", "c"]], 0)
    assert decoded(["ab\n\nab"], LETTERS, "\n\n") == ([["a", "b", "\n", "\n"]], 2)


def test_streams_that_have_ended_are_empty_until_the_last_has_ended():
    rows, left = decoded(["axbbb", "bbxbb", "xbbbb"], LETTERS, "x")
    assert rows == [["a", "x", ""], ["b", "b", "x"], ["x", "", ""]]
    assert left == 2


def test_one_stream_that_never_ends_keeps_them_all_going():
    rows, left = decoded(["xab", "bbb"], LETTERS, "x")
    assert rows == [["x", "", ""], ["b", "b", "b"]]
    assert left == 0


def test_a_stop_in_bytes_is_found_in_the_characters_that_they_encode():
    rows, left = decoded(["é漢ab", "a漢éa"], ByteTokenizer(), "漢a")
    assert rows == [["", "é", "", "", "漢", "a", ""], ["a", "", "", "漢", "", "é", "a"]]
    assert left == 0
    assert decoded(["é漢ab"], ByteTokenizer(), "漢a") == ([["", "é", "", "", "漢", "a"]], 1)


@some
@given(st.lists(st.text("ab", max_size=3), max_size=12), st.text("ab", min_size=1, max_size=4))
def test_a_stream_ends_with_the_piece_that_completes_its_stop(pieces, stop):
    stream, text = Stream(pieces.__getitem__, stop, None), ""
    for number, piece in enumerate(pieces):
        assert stream.add(number) == piece
        text += piece
        assert stream.ended == (stop in text)
        if stream.ended:
            assert stream.add(0) == ""
            break


def test_a_text_ends_at_its_end_token_which_is_not_part_of_it():
    x = LETTERS.encode("x")[0]
    rows, left = decoded(["abxab", "abcab"], LETTERS, None, x)
    assert rows == [["a", "b", "", "", ""], ["a", "b", "c", "a", "b"]]
    assert left == 0
    assert decoded(["xab"], LETTERS, "a", x) == ([[""]], 2)
