"""Search: beams against an enumeration of all outputs, greedy search by hand, and properties of any output."""

import itertools
import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn
from torch.testing import assert_close

from elman.decode.logits_mask import exclude, repeated_ngrams
from elman.decode.sampling import Sampling, sample
from elman.decode.search import Hypothesis, Search, draw, search
from elman.errors import UserError
from elman.options import check
from elman.recurrent.layer import Recurrent
from elman.recurrent.token_stepper import TokenStepper
from models import RecordingStepper, language_model

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=busy)
few = settings(some, max_examples=25)

END = 0
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # of sums of log-probabilities in float32
seeds = st.integers(0, 2**31)


class Tables(TokenStepper):
    """A stepper of random logits given the last two tokens. Each row has a table of its own, carried in its state,
    so that a row with the state of another has other logits."""

    device = torch.device("cpu")

    def begin(self, batch):
        table = batch["table"]  # (rows, V, V, V)
        return {"table": table, "last": (table.new_full((len(table),), END, dtype=torch.int64), None)}

    def step(self, token, state):
        table, (last, _) = state["table"], state["last"]
        return table[torch.arange(len(table)), last, token], {"table": table, "last": (token, None)}


class Layers(TokenStepper):
    """A stepper of a recurrent layer whose first state is the one after the row's own input."""

    device = torch.device("cpu")

    def __init__(self, tokens, cell="lstm", layers=2):
        super().__init__()
        self.recurrent = Recurrent(tokens, 5, cell, layers)
        self.head = nn.Linear(5, tokens)
        for parameter in (*self.recurrent.parameters(), *self.head.parameters()):
            nn.init.normal_(parameter, std=1.5)
        self.embedding = torch.eye(tokens)

    def begin(self, batch):
        return self.recurrent(self.embedding[batch["input"]])[1]

    def step(self, token, state):
        y, state = self.recurrent(self.embedding[token][:, None], state)
        return self.head(y[:, 0]), state


def tables(seed, tokens, batch_size=1, scale=2.0):
    numbers = np.random.default_rng(seed).normal(0, scale, (batch_size, tokens, tokens, tokens))
    return {"table": torch.tensor(numbers, dtype=torch.float32)}


def row_of(batch, row):
    return {name: value[row : row + 1] for name, value in batch.items()}


def log_softmax(logits):
    return logits - math.log(sum(math.exp(each) for each in logits))


def log_probabilities_of(stepper, batch, tokens):
    """The log-probabilities of each next token (len + 1, V) of one row, read from its beginning."""
    state, rows = stepper.begin(batch), []
    with torch.no_grad():
        for token in (END, *tokens):
            logits, state = stepper.step(torch.tensor([token]), state)
            rows.append(log_softmax(logits[0].double().numpy()))
    return np.array(rows)


def score_of(stepper, batch, tokens, ended):
    """Added up along the tokens."""
    log_probabilities, path = log_probabilities_of(stepper, batch, tokens), [*tokens, END] if ended else tokens
    return sum(log_probabilities[step, token] for step, token in enumerate(path))


def everything(stepper, batch, vocabulary, options, limit):
    """All outputs there are of one row, best first: (normed, tokens, score, ended)."""
    outputs = []
    others = [token for token in range(vocabulary) if token != END]
    for length in range(limit + 1):
        for tokens in itertools.product(others, repeat=length):
            ended = length < limit
            if ended and length < options.min_length:
                continue
            score = score_of(stepper, batch, tokens, ended)
            outputs.append((score / (length + ended) ** options.length_norm, list(tokens), score, ended))
    return sorted(outputs, key=lambda output: -output[0])


def greedy(stepper, batch, limit, min_length=0, no_repeat_ngram=0):
    """The most probable token each time, computed from the full sequence before it."""
    tokens = []
    for _ in range(limit):
        log_probabilities = log_probabilities_of(stepper, batch, tokens)[-1].copy()
        if len(tokens) < min_length:
            log_probabilities[END] = -np.inf
        if no_repeat_ngram:
            again = [token for token in range(len(log_probabilities)) if repeated([*tokens, token], no_repeat_ngram)]
            if len(again) < np.isfinite(log_probabilities).sum():
                log_probabilities[again] = -np.inf
        token = int(log_probabilities.argmax())
        if token == END:
            return tokens, True
        tokens.append(token)
    return tokens, False


def repeated(tokens, run):
    """Whether the last run of tokens stands there before."""
    runs = [tuple(tokens[at : at + run]) for at in range(len(tokens) - run + 1)]
    return len(runs) > 0 and runs[-1] in runs[:-1]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# against all outputs


@few
@given(
    seeds, st.integers(2, 4), st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0]), st.integers(0, 4),
    st.integers(1, 200),
)  # fmt: skip
def test_a_beam_as_wide_as_all_outputs_finds_the_best_of_them(seed, vocabulary, limit, norm, shortest, best):
    options = Search(vocabulary**limit, min(best, vocabulary**limit), norm, min(shortest, limit), limit)
    batch = tables(seed, vocabulary, batch_size=2)
    found = search(Tables(), batch, 2, END, END, options, 99)
    for row, hypotheses in enumerate(found):
        outputs = everything(Tables(), row_of(batch, row), vocabulary, options, limit)
        assert_close(
            [each.normed for each in hypotheses], [normed for normed, *_ in outputs[: options.n_best]], **CLOSE
        )
        scores = {(tuple(tokens), ended): score for _, tokens, score, ended in outputs}
        for each in hypotheses:
            assert_close(each.score, scores[tuple(each.tokens), each.ended], **CLOSE)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_the_best_of_all_outputs_of_recurrent_layers_is_found(cell, norm):
    torch.manual_seed(3)
    stepper, batch = Layers(3, cell), {"input": torch.tensor([[0, 1], [2, 2], [1, 0]])}
    options = Search(81, 5, norm)
    for row, hypotheses in enumerate(search(stepper, batch, 3, END, END, options, 4)):
        expected = everything(stepper, row_of(batch, row), 3, options, 4)[:5]
        assert [each.tokens for each in hypotheses] == [tokens for _, tokens, _, _ in expected]
        assert [each.ended for each in hypotheses] == [ended for *_, ended in expected]
        assert_close([each.normed for each in hypotheses], [normed for normed, *_ in expected], **CLOSE)


def test_the_log_probabilities_of_all_outputs_are_1_together():
    batch = tables(1, 3, scale=1.0)
    [hypotheses] = search(Tables(), batch, 1, END, END, Search(3**4, 3**4), 4)
    assert sum(math.exp(each.score) for each in hypotheses) == pytest.approx(1.0, rel=1e-4)


def beams(stepper, batch, vocabulary, options, limit):
    """Beam search for one row, without stopping early: a hypothesis that ends leaves its slot empty."""
    kept, found = [(0.0, [])], []
    for length in range(1, limit + 1):
        grown = []
        for score, tokens in kept:
            log_probabilities = log_probabilities_of(stepper, batch, tokens)[-1]
            for token in range(vocabulary):
                if token != END or len(tokens) >= options.min_length:
                    grown.append((score + log_probabilities[token], [*tokens, token]))
        best_first = sorted(grown, key=lambda each: -each[0])[: options.beam - len(found)]
        kept = [each for each in best_first if each[1][-1] != END]
        found += [
            (score / length**options.length_norm, tokens[:-1]) for score, tokens in best_first if tokens[-1] == END
        ]
    found += [(score / limit**options.length_norm, tokens) for score, tokens in kept]
    return sorted(found, key=lambda each: -each[0])[: options.n_best]


@some
@given(
    seeds, st.integers(2, 6), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 0.6, 1.0]), st.integers(0, 2)
)
def test_a_narrow_beam_keeps_what_a_plain_one_keeps(seed, vocabulary, beam, best, norm, shortest):
    batch, options = tables(seed, vocabulary, batch_size=2, scale=1.0), Search(beam, min(best, beam), norm, shortest)
    for row, hypotheses in enumerate(search(Tables(), batch, 2, END, END, options, 6)):
        expected = beams(Tables(), row_of(batch, row), vocabulary, options, 6)
        assert [each.tokens for each in hypotheses] == [tokens for _, tokens in expected]
        assert_close([each.normed for each in hypotheses], [normed for normed, _ in expected], **CLOSE)


def test_a_wider_beam_finds_an_output_whose_first_token_is_not_the_most_probable():
    # 1 is more probable than 2, but its continuations are not
    table = torch.full((1, 4, 4, 4), -20.0)
    table[0, END, END] = torch.tensor([-20.0, 0.6, 0.4, -20.0]).clamp(min=1e-9).log()
    table[0, END, 1] = torch.tensor([0.34, 0.33, 0.33, 1e-9]).log()
    table[0, END, 2] = torch.tensor([0.98, 0.01, 0.01, 1e-9]).log()
    narrow, wide = (search(Tables(), {"table": table}, 1, END, END, Search(beam), 5)[0][0] for beam in (1, 2))
    assert (narrow.tokens[:1], wide.tokens) == ([1], [2])
    assert wide.score == pytest.approx(math.log(0.4 * 0.98), rel=1e-3)


@pytest.mark.parametrize(("norm", "tokens"), [(0.0, []), (0.2, [])] + [(norm, [1, 2, 2]) for norm in (0.22, 1.0)])
def test_the_norm_decides_between_short_and_long(norm, tokens):
    table = torch.full((1, 3, 3, 3), 1e-9)
    table[0, END, END] = torch.tensor([0.55, 0.45, 1e-9])  # the end at once, or after four steps
    table[0, END, 1, 2] = table[0, 1, 2, 2] = table[0, 2, 2, END] = 1.0
    [[best]] = search(Tables(), {"table": table.log()}, 1, END, END, Search(3, 1, norm), 6)
    assert best.tokens == tokens  # log 0.45 / 4 ** norm passes log 0.55 where the norm is 0.209
    assert best.ended


# one token at a time


@some
@given(seeds, st.integers(1, 6), st.integers(1, 8), st.integers(0, 4), st.integers(0, 3))
def test_a_beam_of_one_is_greedy_search(seed, vocabulary, limit, shortest, no_repeat):
    shortest = min(shortest, limit)
    batch = tables(seed, vocabulary, batch_size=3)
    options = Search(min_length=shortest, max_length=limit)
    found = search(Tables(), batch, 3, END, END, options, 99, no_repeat)
    # greedy samples are the same
    sampling = Sampling(greedy=True, no_repeat_ngram=no_repeat)
    assert draw(Tables(), batch, 3, END, END, options, sampling, seeded(), 99) == found
    for row, [best] in enumerate(found):
        assert (best.tokens, best.ended) == greedy(Tables(), row_of(batch, row), limit, shortest, no_repeat)


def test_of_equal_tokens_a_beam_of_one_takes_the_first():
    for vocabulary in (4, 9, 40, 100):
        table = torch.zeros(1, vocabulary, vocabulary, vocabulary)
        table[..., END] = -1
        [[best]] = search(Tables(), {"table": table}, 1, END, END, Search(), 4)
        assert best.tokens == [1, 1, 1, 1]


# what must hold of any output


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_are_added_up_in_float32_whatever_the_model_computes_in(dtype):
    batch = {"table": tables(8, 5, scale=0.3)["table"].to(dtype)}
    for found in (
        search(Tables(), batch, 1, END, END, Search(3), 20),
        draw(Tables(), batch, 1, END, END, Search(), Sampling(), seeded(), 20),
    ):
        [[best]] = found
        assert_close(best.score, score_of(Tables(), batch, best.tokens, best.ended), **CLOSE)


@some
@given(seeds, st.integers(2, 7), st.integers(1, 6), st.sampled_from([0.0, 0.6, 1.0]), st.integers(0, 3), st.booleans())
def test_outputs_are_different_in_order_and_scored_as_the_model_scores_them(seed, vocabulary, beam, norm, shortest, by):
    batch, options = tables(seed, vocabulary, batch_size=2), Search(beam, beam, norm, shortest)
    sampling = Sampling(temperature=1.5, top_k=3)
    found = (
        draw(Tables(), batch, 2, END, END, options, sampling, seeded(seed), 7)
        if by else search(Tables(), batch, 2, END, END, options, 7)
    )  # fmt: skip
    for row, hypotheses in enumerate(found):
        assert len(hypotheses) == beam or not by
        assert 1 <= len(hypotheses) <= beam
        assert [each.normed for each in hypotheses] == sorted((each.normed for each in hypotheses), reverse=True)
        assert by or len({(tuple(each.tokens), each.ended) for each in hypotheses}) == len(hypotheses)
        for each in hypotheses:
            length = len(each.tokens) + each.ended
            assert END not in each.tokens
            assert each.ended or length == 7
            assert shortest <= len(each.tokens) <= 7
            assert length <= 7
            score = score_of(Tables(), row_of(batch, row), each.tokens, each.ended)
            assert_close(each.score, score, **CLOSE)
            assert_close(each.normed, score / length**norm, **CLOSE)


@some
@given(seeds, st.integers(2, 6), st.integers(1, 6), st.integers(0, 3))
def test_every_row_is_searched_as_one_alone(seed, vocabulary, beam, no_repeat):
    batch, options = tables(seed, vocabulary, batch_size=4), Search(beam, beam)
    together = search(Tables(), batch, 4, END, END, options, 8, no_repeat)
    alone = [search(Tables(), row_of(batch, row), 1, END, END, options, 8, no_repeat)[0] for row in range(4)]
    assert together == alone


def test_rows_of_a_language_model_are_searched_as_each_alone():
    torch.manual_seed(5)
    model = language_model(6, 4, 7, "gru", layers=2).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    batch = {"input": torch.tensor([[1, 2], [3, 3], [5, 4]])}
    for each in (Layers(6), model.stepper()):
        together = search(each, batch, 3, END, END, Search(4, 4), 9)
        for row in range(3):
            [alone] = search(each, row_of(batch, row), 1, END, END, Search(4, 4), 9)
            assert [one.tokens for one in alone] == [one.tokens for one in together[row]]
            assert_close([one.score for one in alone], [one.score for one in together[row]])


class AfterEnd(Tables):
    """Tables whose logits have some value once a row had the end token as input; records the inputs."""

    def __init__(self, value):
        super().__init__()
        self.value, self.inputs = value, []

    def begin(self, inputs):
        return super().begin(inputs) | {"over": torch.zeros(len(inputs["table"]), dtype=torch.bool), "first": None}

    def step(self, x, state):
        self.inputs.append(x.tolist())
        logits, after = super().step(x, state)
        over = state["over"] | ((x == END) & (len(self.inputs) > 1))
        return logits.masked_fill(over[:, None], self.value), after | {"over": over, "first": None}


@some
@given(seeds, st.integers(2, 5), st.integers(1, 4), st.sampled_from([math.nan, math.inf, -math.inf, 50.0]))
def test_logits_after_the_end_change_nothing(seed, vocabulary, beam, value):
    batch, options = tables(seed, vocabulary, batch_size=3), Search(beam, beam)
    assert search(AfterEnd(value), batch, 3, END, END, options, 9) == search(Tables(), batch, 3, END, END, options, 9)
    one, other = (draw(stepper, batch, 3, END, END, options, Sampling(), seeded(seed), 9)
                  for stepper in (AfterEnd(value), Tables()))  # fmt: skip
    assert one == other


def test_the_input_of_a_row_that_has_ended_is_the_end_token():
    table = torch.full((2, 3, 3, 3), -50.0)
    table[0, :, :, END] = table[1, :, :, 1] = 50.0
    for sampling in (
        Sampling(),
        Sampling(greedy=True, no_repeat_ngram=1),
        Sampling(temperature=0.1, top_p=0.5, min_p=0.5),
    ):
        stepper = AfterEnd(0.0)
        draw(stepper, {"table": table}, 2, END, END, Search(), sampling, seeded(), 4)
        assert len(stepper.inputs) > 1
        assert all(row == END for row, _ in stepper.inputs)
    stepper = AfterEnd(0.0)
    found = search(stepper, {"table": table}, 2, END, END, Search(), 4)
    assert [row for row, _ in stepper.inputs] == [END] * 4
    assert [(best.tokens, best.ended) for [best] in found] == [([], True), ([1, 1, 1, 1], False)]


@pytest.mark.parametrize("beam", [1, 3])
def test_there_is_no_step_after_all_rows_have_ended(beam):
    table = torch.full((2, 4, 4, 4), -50.0)
    table[..., END] = 50.0
    for find in (search, lambda *given: draw(*given[:-1], Sampling(), seeded(), given[-1])):
        stepper = AfterEnd(0.0)
        [[first], [second]] = find(stepper, {"table": table}, 2, END, END, Search(beam), 1000)
        assert first == second == Hypothesis([], 0.0, 0.0, True)
        assert len(stepper.inputs) == 1


def test_where_there_are_fewer_outputs_than_slots_all_are_returned_and_no_step_is_wasted():
    table = torch.full((1, 4, 4, 4), -torch.inf)
    table[0, END, END, :3] = table[0, END, 1:3, END] = 0.0
    stepper = AfterEnd(0.0)
    [hypotheses] = search(stepper, {"table": table}, 1, END, END, Search(5, 5), 1000)
    assert sorted(each.tokens for each in hypotheses) == [[], [1], [2]]
    assert len(stepper.inputs) == 2


@few
@given(seeds, st.integers(2, 5), st.integers(2, 6), st.sampled_from([0.0, 0.5, 1.0]))
def test_stopping_early_loses_nothing(seed, vocabulary, beam, norm):
    batch = tables(seed, vocabulary, batch_size=2, scale=4.0)
    # with n_best equal to beam the search continues until all have ended
    full = search(Tables(), batch, 2, END, END, Search(beam, beam, norm), 12)
    for best in range(1, beam):
        early = search(Tables(), batch, 2, END, END, Search(beam, best, norm), 12)
        assert early == [row[:best] for row in full]


def test_the_search_ends_when_no_hypothesis_can_win():
    table = torch.zeros(1, 4, 4, 4)
    table[0, END, END, END] = 20.0  # then anything else has e**-20, and goes on for long
    table[..., END] -= 5.0
    stepper = AfterEnd(0.0)
    [[best]] = search(stepper, {"table": table}, 1, END, END, Search(4, 1, 0.0), 500)
    assert best.tokens == []
    assert len(stepper.inputs) < 3


# masks


@some
@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), max_size=3), st.integers(0, 7), st.integers(1, 4))
def test_a_token_is_masked_when_it_would_repeat_an_ngram(rows, length, run):
    generated = torch.tensor(rows, dtype=torch.int64).reshape(-1, 7)[:, :length]
    expected = [[repeated([*row[:length], token], run) for token in range(4)] for row in rows]
    assert repeated_ngrams(generated, run, 4).tolist() == expected


def test_a_mask_that_would_leave_no_token_is_ignored():
    logits = torch.tensor([[1.0, 2.0, -torch.inf], [1.0, 2.0, 3.0]])
    assert exclude(logits, torch.tensor([True, True, False])).tolist() == [
        logits[0].tolist(),
        [-math.inf, -math.inf, 3.0],
    ]


@some
@given(seeds, st.integers(3, 6), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_no_run_comes_twice(seed, vocabulary, beam, run, by):
    batch, options = tables(seed, vocabulary, batch_size=2), Search(beam, beam)
    batch["table"][..., END] -= 3.0  # long outputs
    found = (
        draw(Tables(), batch, 2, END, END, options, Sampling(no_repeat_ngram=run), seeded(seed), 15)
        if by else search(Tables(), batch, 2, END, END, options, 15, no_repeat_ngram=run)
    )  # fmt: skip
    for each in itertools.chain(*found):
        runs = Counter(tuple(each.tokens[at : at + run]) for at in range(len(each.tokens) - run + 1))
        assert max(runs.values(), default=1) == 1
    assert run > 1 or all(len(each.tokens) <= vocabulary - 1 for each in itertools.chain(*found))


def test_min_length_takes_precedence_over_no_repeat_ngram():
    batch = tables(0, 3, batch_size=2)
    for found in (
        search(Tables(), batch, 2, END, END, Search(3, 3, min_length=6), 9, no_repeat_ngram=1),
        draw(Tables(), batch, 2, END, END, Search(3, 3, min_length=6), Sampling(no_repeat_ngram=1), seeded(), 9),
    ):
        for each in itertools.chain(*found):
            assert sorted(each.tokens[:2]) == [1, 2]  # as long as it can be kept
            assert len(each.tokens) >= 6
            assert math.isfinite(each.score)


def test_min_length_is_ignored_where_the_model_allows_nothing_but_the_end():
    table = torch.full((1, 3, 3, 3), -torch.inf)
    table[..., END] = 0.0
    options = Search(2, 1, min_length=4)
    for found in (
        search(Tables(), {"table": table}, 1, END, END, options, 9),
        draw(Tables(), {"table": table}, 1, END, END, options, Sampling(), seeded(), 9),
    ):
        assert found == [[Hypothesis([], 0.0, 0.0, True)]]


# samples


def test_the_frequencies_of_samples_are_the_probabilities_of_the_model():
    batch, count = tables(4, 3, scale=1.0), 20_000
    [drawn] = draw(Tables(), batch, 1, END, END, Search(n_best=count), Sampling(), seeded(), 3)
    expected = {tuple(tokens): math.exp(score) for _, tokens, score, _ in
                everything(Tables(), batch, 3, Search(), 3)}  # fmt: skip
    counts = Counter(tuple(each.tokens) for each in drawn)
    assert set(counts) <= set(expected)
    deviation = sum((counts[tokens] - p * count) ** 2 / (p * count) for tokens, p in expected.items())
    assert deviation < 55  # chi-square of 14 degrees of freedom: larger once in a million


def test_the_same_seed_draws_the_same_and_another_others():
    batch, options = tables(2, 5, batch_size=3, scale=0.5), Search(n_best=4)
    first, again, other = (
        draw(Tables(), batch, 3, END, END, options, Sampling(), seeded(seed), 8) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len({tuple(each.tokens) for each in first[0]}) > 1


def test_a_filter_changes_the_samples_but_scores_stay_those_of_the_model():
    batch = tables(6, 5)
    [drawn] = draw(Tables(), batch, 1, END, END, Search(n_best=50), Sampling(top_k=1, temperature=3.0), seeded(), 6)
    tokens, ended = greedy(Tables(), batch, 6)
    score = score_of(Tables(), batch, tokens, ended)
    assert all((each.tokens, each.ended) == (tokens, ended) for each in drawn)
    assert_close(drawn[0].score, score, **CLOSE)


def test_with_feed_softmax_the_input_is_the_distribution():
    torch.manual_seed(0)
    stepper = RecordingStepper(language_model(5, 3, 4, "gru").eval().stepper())
    batch, sampling = {"input": torch.zeros(2, 1)}, Sampling(feed="softmax")
    draw(stepper, batch, 2, END, END, Search(min_length=3), sampling, seeded(), 5)
    assert len(stepper.inputs) > 3
    assert stepper.inputs[0].tolist() == [END, END]
    for x in stepper.inputs[1:]:
        assert x.shape == (2, 5)
        assert_close(x.sum(-1), torch.ones(2))


# streams


def streamed(stepper, prompt, length, options, seed=0):
    return torch.stack(list(sample(stepper, prompt, length, options, seeded(seed), 2)), 1).tolist()


class Prompted(Tables):
    """Streams of the first of these tables."""

    def __init__(self, batch):
        super().__init__()
        self.table = batch["table"][:1]

    def begin(self, batch):
        return super().begin({"table": self.table.expand(len(batch["input"]), -1, -1, -1)})


@few
@given(seeds, st.lists(st.integers(0, 8), min_size=1, max_size=6), st.integers(2, 3), st.booleans())
def test_a_stream_repeats_no_ngram_of_itself_or_its_prompt(seed, prompt, run, is_greedy):
    rows = streamed(Prompted(tables(seed, 9)), prompt, 70, Sampling(is_greedy, no_repeat_ngram=run), seed)
    for row in rows:
        text = prompt + row
        for at in range(len(prompt), len(text)):
            again = [token for token in range(9) if repeated([*text[:at], token], run)]
            assert text[at] not in again or len(again) == 9


def test_a_stream_continues_where_every_token_has_occurred():
    rows = streamed(Prompted(tables(0, 4)), [2], 10, Sampling(no_repeat_ngram=1))
    for row in rows:
        assert sorted(row[:3]) == [0, 1, 3]


def test_no_repeat_ngram_holds_for_a_language_model():
    torch.manual_seed(0)
    rows = streamed(language_model(5, 3, 4, "gru").eval().stepper(), [1], 5, Sampling(True, no_repeat_ngram=1))
    assert all(len(set(row[:4])) == 4 for row in rows)


# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Search(2, 3), "`n_best` 3 is more than `beam` 2: pass `beam` 3"),
        (Search(min_length=4, max_length=3), "`min_length` 4 is more than `max_length` 3"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        search(Tables(), tables(0, 3), 1, END, END, options, 9)


@pytest.mark.parametrize(
    "wrong", [{"beam": 0}, {"n_best": 0}, {"length_norm": -1.0}, {"min_length": -1}, {"max_length": 0}]
)
def test_options_out_of_bounds_are_refused(wrong):
    with pytest.raises(UserError, match=f"`{next(iter(wrong))}` "):
        check(Search(**wrong))


def test_a_max_length_that_is_given_takes_precedence_over_the_default():
    assert Search(max_length=3).limit(9) == 3
    assert Search(max_length=30).limit(9) == 30
    assert Search().limit(9) == 9
    assert Search(min_length=12).limit(9) == 13  # and the end token
    assert Search(min_length=3, max_length=3).limit(9) == 3


class Attentive(Tables):
    """Its attention weights at each step are one-hot at the token that was read."""

    def attention(self, state):
        return nn.functional.one_hot(state["last"][0], state["table"].shape[1]).float()


@few
@given(seeds, st.integers(1, 3), st.booleans())
def test_a_hypothesis_has_the_attention_of_its_own_steps(seed, beam, drawn):
    batch, options = tables(seed, 4, 2), Search(beam, beam)
    if drawn:
        found = draw(Attentive(), batch, 2, END, END, options, Sampling(), torch.Generator().manual_seed(seed), 5)
    else:
        found = search(Attentive(), batch, 2, END, END, options, 5)
    for each in itertools.chain(*found):
        tokens_read = [END, *each.tokens][: len(each.tokens) + each.ended]  # the last one of a truncated text is not
        assert each.attention.argmax(-1).tolist() == tokens_read


# attention


class Attending(Tables):
    """Tables whose attention weights at each step are those of the input token, over positions of its row."""

    def attention(self, state):
        token, _ = state["last"]
        return nn.functional.one_hot(token, state["table"].shape[1]).float()


@pytest.mark.parametrize("beam", [1, 4])
def test_the_attention_of_a_hypothesis_is_that_of_its_own_steps(beam):
    batch = tables(7, 6, batch_size=3, scale=1.0)
    for hypotheses in search(Attending(), batch, 3, END, END, Search(beam, beam), 8):
        for each in hypotheses:
            inputs = [END, *each.tokens][: len(each.tokens) + each.ended]
            assert each.attention is not None
            assert each.attention.argmax(-1).tolist() == inputs
