"""Windows over a stream: every step once, rows that continue in the next window, and gradients truncated at k2."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn
from torch.testing import assert_close

import models
from elman.data.windows import IGNORED, Windows

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=200, suppress_health_check=busy)
counts = st.integers(1, 12)
backs = st.none() | st.integers(1, 40)
lengths = st.integers(2, 120)


def numbered(length, rows, window, bptt=None):
    """Windows over the tokens 0, 1, 2, ...: a token is its own position. And the batches of an epoch."""
    windows = Windows.of_tokens(np.arange(length, dtype=np.uint8), rows, window, bptt)
    return windows, [windows.batch(0, index) for index in range(len(windows))]


def counted(batch):
    """Of each row, the inputs whose target is counted."""
    return [row[kept].tolist() for row, kept in zip(batch["input"], batch["target"] != IGNORED, strict=True)]


@some
@given(lengths, counts, counts, backs)
def test_an_epoch_counts_every_step_of_the_stream_exactly_once(length, rows, window, back):
    _, batches = numbered(length, rows, window, back)
    assert sorted(step for batch in batches for row in counted(batch) for step in row) == list(range(length - 1))


@some
@given(lengths, counts, counts, backs)
def test_a_target_is_the_token_after_its_input(length, rows, window, back):
    for batch in numbered(length, rows, window, back)[1]:
        kept = batch["target"] != IGNORED
        assert torch.equal(batch["target"][kept], batch["input"][kept] + 1)


@some
@given(lengths, counts, counts, backs)
def test_a_row_goes_on_in_each_window_where_it_stopped(length, rows, window, back):
    windows, batches = numbered(length, rows, window, back)
    read = [[step for batch in batches for step in counted(batch)[row]] for row in range(windows.batch_size)]
    assert [step for row in read for step in row] == list(range(length - 1))
    assert max(map(len, read)) - min(map(len, read)) <= 1


@some
@given(lengths, counts, counts, backs)
def test_a_window_reads_its_steps_after_the_context_that_the_gradient_goes_back_over(length, rows, window, back):
    windows, batches = numbered(length, rows, window, back)
    begin = 0
    for batch in batches:
        context = min(begin, max(0, windows.bptt - windows.seq_len))
        end = min(begin + windows.seq_len, windows.row_length)
        for row, start in zip(batch["input"].tolist(), batches[0]["input"][:, 0].tolist(), strict=True):
            expected = range(start + begin - context, start + end)
            assert row[:-1] == list(expected)[:-1]
            assert row[-1] == min(expected[-1], length - 1)  # the last step of a shorter row is past its end
        assert (batch["target"][:, :context] == IGNORED).all()  # counted in an earlier window
        begin = end


@some
@given(lengths, counts, counts, backs)
def test_batches_have_the_documented_shapes(length, rows, window, back):
    windows, batches = numbered(length, rows, window, back)
    for batch in batches:
        assert set(batch) == {"input", "target", "cuts", "carry"}
        assert {batch[name].dtype for name in ("input", "target")} == {torch.int64}
        assert batch["input"].shape == batch["target"].shape
        assert len(batch["input"]) == windows.batch_size
        assert batch["input"].shape[1] <= windows.seq_len + max(0, windows.bptt - windows.seq_len)
        assert type(batch["cuts"]) is tuple
        assert {*map(type, batch["cuts"]), type(batch["carry"])} <= {int}
    assert len(batches) * windows.seq_len >= windows.row_length > (len(batches) - 1) * windows.seq_len
    assert windows.steps == length - 1


@some
@given(lengths, counts, counts, backs)
def test_after_carry_steps_the_state_is_that_of_the_next_windows_first(length, rows, window, back):
    batches = numbered(length, rows, window, back)[1]
    for batch, after in pairwise(batches):
        assert torch.equal(batch["input"][:, 0] + batch["carry"], after["input"][:, 0])
    assert all(0 <= batch["carry"] <= batch["input"].shape[1] for batch in batches)


@some
@given(lengths, counts, counts, backs)
def test_cuts_leave_no_stretch_longer_than_the_gradient_goes_back(length, rows, window, back):
    windows, batches = numbered(length, rows, window, back)
    for batch in batches:
        steps = batch["input"].shape[1]
        if windows.bptt >= windows.seq_len:
            assert len(batch["cuts"]) == 0
        else:
            pieces = [end - begin for begin, end in pairwise([0, *batch["cuts"], steps])]
            assert pieces[:-1] == [windows.bptt] * (len(pieces) - 1)
            assert 0 < pieces[-1] <= windows.bptt


@some
@given(lengths, counts, counts, backs)
def test_every_epoch_reads_the_same(length, rows, window, back):
    windows, batches = numbered(length, rows, window, back)
    again = windows.batch(7, len(windows) - 1)
    assert all(np.array_equal(again[name], value) for name, value in batches[-1].items())


@some
@given(lengths, counts, counts)
def test_a_short_text_has_fewer_rows_before_it_has_shorter_windows(length, rows, window):
    windows, _ = numbered(length, rows, window)
    assert 1 <= windows.batch_size <= rows
    if windows.batch_size < rows:
        assert windows.batch_size == 1 or windows.batch_size * window <= length - 1
        assert (windows.batch_size + 1) * window > length - 1
    assert windows.seq_len == min(window, windows.row_length)
    if windows.seq_len < window:
        assert windows.batch_size == 1
    assert windows.bptt == windows.seq_len  # when not given


# any stream, and parts of it


def stream(length, features):
    """Frames, each with its number, and the steps that are the first of a sequence."""
    frames = np.arange(length * features, dtype=np.uint8 if features == 2 else np.float32).reshape(length, features)
    return {"frame": frames, "time": np.arange(length, dtype=np.uint16)}, np.arange(length) % 7 == 0


@some
@given(lengths, counts, counts, backs, st.integers(1, 3))
def test_a_stream_of_any_shape_is_read_like_one_of_tokens(length, rows, window, back, features):
    fields, reset = stream(length, features)
    windows = Windows(fields, rows, window, back, reset)
    steps = []
    for index in range(len(windows)):
        batch = windows.batch(0, index)
        time, mask = batch["time"], batch["mask"]
        assert (time.dtype, mask.dtype, batch["reset"].dtype) == (torch.int64, torch.bool, torch.bool)
        assert batch["frame"].dtype == (torch.uint8 if features == 2 else torch.float32)
        assert batch["frame"].shape == (*time.shape, features)
        assert np.array_equal(batch["frame"], fields["frame"][time.numpy()])
        assert np.array_equal(batch["reset"], reset[time.numpy()])
        steps += time[mask].tolist()
    assert sorted(steps) == list(range(length))
    assert windows.steps == length


@some
@given(lengths, counts, counts, backs, st.integers(1, 5))
def test_the_shards_of_a_batch_are_its_rows(length, rows, window, back, world):
    fields, reset = stream(length, 2)
    for windows in (Windows(fields, rows, window, back, reset), numbered(length, rows, window, back)[0]):
        shards = [windows.shard(rank, world) for rank in range(world)]
        assert {len(shard) for shard in shards} == {len(windows)}
        for index in range(len(windows)):
            whole, parts = windows.batch(0, index), [shard.batch(0, index) for shard in shards]
            for name, value in whole.items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(torch.cat([part[name] for part in parts]), value)
                else:
                    assert all(part[name] == value for part in parts)
            sizes = [len(part["time" if "time" in part else "input"]) for part in parts]
            assert max(sizes) - min(sizes) <= 1


def test_a_stream_names_its_content_and_stays_where_it_is():
    ids = np.arange(100, dtype=np.uint8)
    windows = Windows.of_tokens(ids, 4, 5, key="0" * 32)
    assert windows.key == "0" * 32
    assert (windows.ids is ids) or windows.ids.base is ids
    assert all(np.shares_memory(values, ids) for values in windows.fields.values())
    assert (windows.workers, str(windows)) == (0, "batches of 4 x 5 steps, 5 an epoch")
    assert str(Windows.of_tokens(ids, 4, 5, 7)) == "batches of 4 x 5 steps, back-propagation through 7, 5 an epoch"


# truncated gradients, by hand

VOCABULARY, EMBEDDING, HIDDEN = 5, 3, 4
WINDOW = 3
# 3 rows of 13, 13 and 12 steps: 4 whole windows and one of a single step, that the last row does not have
ROWS, LENGTH = 3, 39
BACKS = [1, 2, 3, 4, 5, 7, 10, 50]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # the loss is taken in float32


def language_model(layers=1, **options):
    torch.manual_seed(0)
    options = {"layers": layers, "backend": "loop", "reset_probability": 0.0} | options
    model = models.language_model(VOCABULARY, EMBEDDING, HIDDEN, "rnn", **options).double()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.7)  # a gradient that lives for some steps, so that one too many is seen
    return model


def text(length=LENGTH):
    return np.random.default_rng(0).integers(0, VOCABULARY, length).astype(np.uint8)


def epoch(model, windows):
    """What the training loop does, without updating: of each window the loss, its gradient and its counts."""
    state, seen = None, []
    for index in range(len(windows)):
        if index == 0:
            state = None
        loss = model.loss(windows.batch(0, index), state)
        state = loss.state
        seen.append((loss.mean.detach(), gradient(loss.mean, model), loss))
    return seen


def gradient(loss, model):
    # what is learned at the start is no part of a graph that begins later: its gradient is 0
    given = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    return dict(zip(dict(model.named_parameters()), given, strict=True))


def unrolled(model, tokens, detached=()):
    """The nats of each step of one row, the recurrence written out, the state cut off before the steps `detached`."""
    weight = dict(model.named_parameters())
    cells = len(model.recurrent.cells)
    learned = [weight.get(f"recurrent.learned.{layer}") for layer in range(cells)]
    state = [torch.zeros(HIDDEN, dtype=torch.float64) if start is None else start for start in learned]
    nats = []
    for time, (token, following) in enumerate(pairwise(tokens)):
        if time in detached:
            state = [value.detach() for value in state]
        x = weight["embedding.weight"][int(token)]
        for layer in range(cells):
            w, u, b = (weight[f"recurrent.cells.{layer}.{name}"] for name in ("W", "U_h", "b"))
            x = state[layer] = torch.tanh(w @ x + u @ state[layer] + b)
        logits = weight["head.weight"] @ x + weight["head.bias"]
        nats.append(logits.exp().sum().log() - logits[int(following)])
    return nats


def by_hand(model, ids, window, back, index, rows=ROWS):
    """The mean nats of window `index`, and its truncated gradient. Rows and windows are cut by hand as well."""
    begin, end, first = index * window, (index + 1) * window, 0
    nats = []
    for row in range(rows):
        size = (len(ids) - 1) // rows + (row < (len(ids) - 1) % rows)
        tokens, first = ids[first : first + size + 1], first + size
        if back < window:
            detached = range(begin, end, back)
        else:
            detached = [max(0, begin - (back - window))]
        # before step 0 nothing was carried: where the state it begins with is learned, it gets its gradient
        nats += unrolled(model, tokens, [time for time in detached if time > 0])[begin:end]
    loss = sum(nats) / len(nats)
    return loss.detach(), gradient(loss, model)


def unbroken(model, ids, rows=ROWS):
    """The nats of every step of an epoch, each row run in one piece."""
    windows = Windows.of_tokens(ids, rows, WINDOW)
    starts, sizes = windows.starts.tolist(), windows.lengths.tolist()
    return [unrolled(model, ids[start : start + size + 1]) for start, size in zip(starts, sizes, strict=True)]


@pytest.mark.parametrize(("layers", "learn_initial_state"), [(1, False), (2, True)])
@pytest.mark.parametrize("back", BACKS)
def test_the_gradient_of_each_window_is_the_one_truncated_by_hand(back, layers, learn_initial_state):
    model, ids = language_model(layers, learn_initial_state=learn_initial_state), text()
    seen = epoch(model, Windows.of_tokens(ids, ROWS, WINDOW, back))
    assert len(seen) == 5
    for index, (loss, found, _) in enumerate(seen):
        expected_loss, expected = by_hand(model, ids, WINDOW, back, index)
        assert_close(loss.double(), expected_loss, **CLOSE)
        assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("back", [4, 5, 7])
def test_the_gradient_goes_back_neither_a_step_more_nor_a_step_less(back):
    model, ids = language_model(), text()
    _, found, _ = epoch(model, Windows.of_tokens(ids, ROWS, WINDOW, back))[3]
    # the same comparison as above sees a single step: the one before it is about the smallest there is
    for other in (back - 1, back + 1):
        _, expected = by_hand(model, ids, WINDOW, other, 3)
        assert max(float((found[name] - expected[name]).abs().max()) for name in found) > 30 * CLOSE["atol"]


@pytest.mark.parametrize("back", [1, 2])
def test_a_cut_inside_the_window_shortens_the_gradient(back):
    model, ids = language_model(), text()
    _, found, _ = epoch(model, Windows.of_tokens(ids, ROWS, WINDOW, back))[2]
    _, whole = by_hand(model, ids, WINDOW, WINDOW, 2)
    assert float((found["recurrent.cells.0.U_h"] - whole["recurrent.cells.0.U_h"]).abs().max()) > 30 * CLOSE["atol"]


@pytest.mark.parametrize("back", BACKS)
def test_the_loss_is_that_of_one_unbroken_run(back):
    model, ids = language_model(2), text()
    rows = unbroken(model, ids)
    for index, (loss, _, _) in enumerate(epoch(model, Windows.of_tokens(ids, ROWS, WINDOW, back))):
        nats = [nat for row in rows for nat in row[index * WINDOW : (index + 1) * WINDOW]]
        assert_close(loss.double(), torch.stack(nats).mean().detach(), **CLOSE)


@pytest.mark.parametrize("back", BACKS)
def test_the_sums_of_an_epoch_count_every_step_once(back):
    model, ids = language_model(), text()
    sums = [sums for _, _, sums in epoch(model, Windows.of_tokens(ids, ROWS, WINDOW, back))]
    assert sum(int(each.count) for each in sums) == LENGTH - 1
    nats = torch.stack([nat for row in unbroken(model, ids) for nat in row]).sum().detach()
    assert_close(sum(each.sums["loss"].double() for each in sums), nats, **CLOSE)


def test_with_no_truncation_the_windows_gradients_add_up_to_that_of_the_whole_epoch():
    model, ids = language_model(2, learn_initial_state=True), text()
    seen = epoch(model, Windows.of_tokens(ids, ROWS, WINDOW, 50))
    whole = gradient(torch.stack([nat for row in unbroken(model, ids) for nat in row]).sum(), model)
    for name, expected in whole.items():
        added = sum(int(loss.count) * found[name] for _, found, loss in seen)
        assert_close(added, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("carry", range(7))
def test_the_state_that_is_carried_is_that_after_carry_steps(carry):
    model, tokens = language_model(2), torch.from_numpy(text(14).astype(np.int64)).reshape(2, 7)
    before = tuple((torch.rand(2, HIDDEN, dtype=torch.float64),) for _ in range(2))
    batch = {"input": tokens[:, :-1], "target": tokens[:, 1:], "cuts": (2,), "carry": carry}
    carried = model.loss(batch, before).state
    expected = model.recurrent(model.embedding(tokens[:, :carry]), before)[1] if carry else before
    assert_close(carried, expected)


def test_a_state_that_is_carried_belongs_to_no_graph():
    model, windows = language_model(2), Windows.of_tokens(text(), ROWS, WINDOW, 5)
    state = None
    for index in range(len(windows)):
        state = model.loss(windows.batch(0, index), state).state
        if index:
            assert not any(value.requires_grad for layer in state for value in layer)


@settings(some, max_examples=12)
@given(st.integers(2, 40), st.integers(1, 4), st.integers(1, 6), st.integers(1, 12))
def test_gradients_are_truncated_as_by_hand_for_any_sizes(length, rows, window, back):
    model, ids = language_model(), text(length)
    windows = Windows.of_tokens(ids, rows, window, back)
    for index, (loss, found, _) in enumerate(epoch(model, windows)):
        expected_loss, expected = by_hand(model, ids, windows.seq_len, back, index, windows.batch_size)
        assert_close(loss.double(), expected_loss, **CLOSE)
        assert_close(found, expected, **CLOSE)
