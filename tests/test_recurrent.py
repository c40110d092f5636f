"""The layer over time: against torch's own networks, against itself row by row and piece by piece, and recorded."""

from contextlib import contextmanager
from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from elman import Cell, Recurrent, UserError, hold, record, tap
from elman.cells.lstm import LSTM
from elman.cells.registry import stored
from elman.cells.shipped import shipped
from elman.recurrent.backend import Span
from elman.recurrent.fused import Fused
from elman.recurrent.native import Native
from elman.recurrent.state import detach, flatten, over, unflatten
from elman.recurrent.token_stepper import RecurrentTokenStepper
from fitting import fitting

I, H, B, T = 3, 4, 4, 6
UNSORTED, FULL, NONE = [0, 3, 6, 1], [T] * B, [0] * B
ALL = slice(None)
NOTHING = Span(torch.zeros(1, 1, I), (), ())
CELLS = [*shipped()]
DIFFERENT = ["lstm", "rhn", "slstm"]  # of different kinds of equation
# every cell has a kernel to compile, which takes a second or two
each_cell = pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=[] if cell in DIFFERENT else pytest.mark.slow) for cell in CELLS]
)
ONE_FAST = [pytest.param(cell, marks=[] if cell == "rhn" else pytest.mark.slow) for cell in CELLS]
TORCH = {"rnn": nn.RNN, "rnn:activation=relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
some = settings(deadline=None, derandomize=True, database=None)
row_lengths = st.lists(st.integers(0, T), min_size=B, max_size=B)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors are tiny: on a busy machine more threads only wait for each other, and take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def case(cell="lstm", sizes=(I, H), dtype=torch.float64, **options):
    """A layer, an input and a state. No two parameters are alike, so none can be lost or exchanged unseen; the state is
    above 0, as the slstm's normaliser must be."""
    torch.manual_seed(0)
    model = Recurrent(*sizes, fitting(cell, sizes[1]), **options).to(dtype)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(B, T, sizes[0], dtype=dtype, requires_grad=True)
    return model, x, over(model.initial(B), lambda zero: torch.rand_like(zero).requires_grad_())


def pull(y, state, leaves):
    """The gradients of the leaves when the output and the final state are weighted at random."""
    torch.manual_seed(1)
    total = sum((value * torch.randn(value.shape).to(value)).sum() for value in (y, *flatten(state).values()))
    return torch.autograd.grad(total, leaves, materialize_grads=True)


def agree(run, reference, model, x, state, **tolerance):
    """Outputs, final states, and every gradient."""
    assert_close(run, reference, **tolerance)
    leaves = [x, *flatten(state).values(), *model.parameters()]
    assert_close(pull(*run, leaves), pull(*reference, leaves), **tolerance)


def alone(model, x, state, lengths, reset=None):
    """Every row by itself and without padding; at each reset a new call. Forwards only the first piece goes on
    from the state, backwards only the last does."""
    outputs, states, backward = [], [], [i % model.directions for i in range(len(model.cells))]
    for row, length in enumerate(map(int, lengths)):
        flags = [False] * T if reset is None else reset[row].tolist()
        edges = [0, *(t for t in range(1, length) if flags[t]), length]
        after, own = [], over(state, lambda value, row=row: value[row : row + 1])
        for begin, end in pairwise(edges) if length else ():
            goes_on = (begin == 0 and not flags[0], end == length)
            before = [(own if goes_on[back] else model.initial(1))[i] for i, back in enumerate(backward)]
            y, new = model(x[row : row + 1, begin:end], before)
            outputs.append(y[0])
            after.append(new)
        outputs.append(x.new_zeros(T - length, model.output_size))
        states.append([after[0 if back else -1][i] for i, back in enumerate(backward)] if length else own)
    joined = tuple(tuple(map(torch.cat, zip(*rows, strict=True))) for rows in zip(*states, strict=True))
    return torch.cat(outputs).view(len(x), T, -1), joined


@contextmanager
def mistake(match):
    with pytest.raises(UserError, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)


def copy_of(twin, model):
    """Gives the model the weights of torch's network; returns the pairs of a parameter of ours and a part of theirs."""
    pairs = []
    for index, cell in enumerate(model.cells):
        where = f"l{index // model.directions}" + "_reverse" * (index % model.directions)
        *first, second = (getattr(twin, f"{name}_{where}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        own = [(cell.W, first[0], ALL), (*cell.matrices().values(), first[1], ALL), (cell.b, first[2], ALL)]
        own += [(vector, second, slice(-H, None)) for vector in cell.vectors().values()]  # the gru's p_n
        added = slice(0, -H) if cell.vectors() else ALL
        with torch.no_grad():
            for ours, theirs, part in own:
                ours.copy_(theirs[part])
            cell.b[added] += second[added]
        pairs += own
    return pairs


@pytest.mark.parametrize("lengths", [None, [2, 6, 1, 4]], ids=["full", "unsorted"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("backend", ["loop", "native"])
@pytest.mark.parametrize("cell", TORCH)
def test_equals_torch_with_the_same_weights(cell, backend, layers, bidirectional, lengths):
    model, x, state = case(cell, layers=layers, bidirectional=bidirectional, backend=backend)
    relu = {"nonlinearity": "relu"} if "relu" in cell else {}
    twin = TORCH[cell](I, H, layers, batch_first=True, bidirectional=bidirectional, **relu).double()
    pairs = copy_of(twin, model)
    hidden = [torch.stack(parts) for parts in zip(*state, strict=True)]
    given_x = x if lengths is None else pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, last = twin(given_x, tuple(hidden) if len(hidden) > 1 else hidden[0])
    if lengths is not None:
        expected, lengths = pad_packed_sequence(expected, batch_first=True)
    last = tuple(zip(*(last if isinstance(last, tuple) else (last,)), strict=True))
    y, after = model(x, state, lengths)
    assert_close((y, after), (expected, last))
    leaves = [x, *flatten(state).values()]
    ours = pull(y, after, leaves + [ours for ours, _, _ in pairs])
    theirs = pull(expected, last, leaves + [theirs for _, theirs, _ in pairs])
    parts = [ALL] * len(leaves) + [part for _, _, part in pairs]
    assert_close(ours, tuple(gradient[part] for gradient, part in zip(theirs, parts, strict=True)))


@pytest.mark.parametrize("lengths", [None, UNSORTED])
@pytest.mark.parametrize("cell", TORCH)
def test_native_equals_the_loop_in_float32_with_and_without_a_gradient(cell, lengths):
    # float32 goes through other kernels than float64, and through others again where no gradient is wanted
    model, x, state = case(cell, layers=2, bidirectional=True, dtype=torch.float32)
    lengths, runs = lengths and torch.tensor(lengths), []
    for model.backend in ("native", "loop"):
        runs.append(model(x, state, lengths))
        with torch.no_grad():
            assert_close(model(x, state, lengths), detach(runs[-1]), rtol=1e-4, atol=1e-5)
    agree(*runs, model, x, state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lengths", [UNSORTED, FULL, NONE], ids=["unsorted", "full", "none"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "slstm", "fgr", "rhn", "native lstm", "native gru"])
def test_a_padded_batch_equals_every_row_alone(cell, lengths):
    backend, _, cell = cell.rpartition(" ")
    model, x, state = case(cell, layers=2, bidirectional=True, backend=backend or "loop")
    run = model(x, state, torch.tensor(lengths))
    agree(run, alone(model, x, state, lengths), model, x, state)
    longer, same = model(torch.cat((x, x), 1), state, torch.tensor(lengths))
    assert_close((longer[:, :T], same), run)
    assert not longer[:, T:].any()
    if lengths == NONE:  # what stands still does so to the last bit
        assert_close(same, state, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["loop", "native"])
def test_a_batch_without_any_step_can_be_trained_on(backend):
    model, x, _ = case(backend=backend)
    model(x, lengths=torch.tensor(NONE))[0].sum().backward()
    assert not any(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("cell", CELLS + [f"native {cell}" for cell in TORCH])
def test_nan_in_the_padding_reaches_no_output_and_no_gradient(cell):
    backend, _, cell = cell.rpartition(" ")
    model, x, state = case(cell, layers=2, bidirectional=True, backend=backend or "loop")
    lengths = torch.tensor([0, 2, 6, 5])
    past = torch.arange(T) >= lengths[:, None]
    dirty = x.masked_fill(past[..., None], torch.nan)
    agree(model(dirty, state, lengths), model(x, state, lengths), model, x, state)  # refuses NaN on both sides too
    (gradient,) = pull(*model(dirty, state, lengths), [dirty])
    assert not gradient[past].any()
    assert gradient[~past].all()


@settings(some, max_examples=4)
@given(cuts=st.sets(st.integers(1, T - 1)), lengths=row_lengths)
@pytest.mark.parametrize("cell", ONE_FAST)
def test_cutting_in_time_changes_nothing(cell, cuts, lengths):
    model, x, state = case(cell, layers=2, residual=True)
    for ends in (None, torch.tensor(lengths)):
        now, outputs = state, []
        for begin, end in pairwise([0, *sorted(cuts), T]):
            y, now = model(x[:, begin:end], now, None if ends is None else (ends - begin).clamp(0, end - begin))
            outputs.append(y)
        assert_close((torch.cat(outputs, 1), now), model(x, state, ends))


@settings(some, max_examples=6)
@given(flags=st.lists(st.booleans(), min_size=B * T, max_size=B * T), lengths=st.just(FULL) | row_lengths)
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("learned", [False, True], ids=["zero", "learned"])
def test_a_reset_equals_a_call_of_its_own(learned, bidirectional, flags, lengths):
    model, x, state = case(layers=2, bidirectional=bidirectional, learn_initial_state=learned)
    ends = torch.tensor(lengths)
    reset = torch.tensor(flags).view(B, T) & (torch.arange(T) < ends[:, None])
    run = model(x, state, None if lengths == FULL else ends, reset)
    agree(run, alone(model, x, state, lengths, reset), model, x, state)


def test_a_reset_in_the_padding_changes_nothing():
    model, x, state = case(bidirectional=True)
    lengths = torch.tensor(UNSORTED)
    reset = torch.arange(T) >= lengths[:, None]  # right behind the end too, where backwards begins
    assert_close(model(x, state, lengths, reset), model(x, state, lengths))


@pytest.mark.parametrize("backend", ["auto", "loop"])
@each_cell
def test_going_step_by_step_equals_forward(cell, backend):
    model, x, state = case(cell, layers=2, residual=True, backend=backend)
    for advance in (model.stepper(), model.step):
        now, outputs = state, []
        for t in range(T):
            y, now = advance(x[:, t], now)
            outputs.append(y)
        agree((torch.stack(outputs, 1), now), model(x, state), model, x, state)
    assert_close(model.step(x[:, 0])[1], model(x[:, :1])[1])


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("residual", [False, True])
def test_residual_adds_a_layers_input_to_its_output_from_the_second_layer_on(residual, bidirectional):
    size = H if bidirectional else 2 * H  # as wide as x, where the first layer's input would fit too
    model, x, state = case("gru", (2 * H, size), layers=3, bidirectional=bidirectional, residual=residual)
    expected, after, count = x, (), model.directions
    for depth in range(3):
        part = Recurrent(2 * H, size, "gru", bidirectional=bidirectional)
        part.cells = model.cells[depth * count : (depth + 1) * count]
        y, new = part(expected, state[depth * count : (depth + 1) * count])
        expected, after = y + expected if residual and depth else y, after + new
    assert_close(model(x, state), (expected, after))


def test_dropout_acts_in_training_and_between_layers_only():
    for layers, training in ((2, False), (1, True)):
        plain, x, state = case(layers=layers)
        model = case(layers=layers, dropout=0.9)[0].train(training)
        assert_close(model(x, state), plain(x, state), rtol=0, atol=0)
        assert_close(model.step(x[:, 0], state), plain.step(x[:, 0], state), rtol=0, atol=0)
    model, x, _ = case("rnn:activation=linear", (I, 50), layers=2, dropout=0.5)
    with torch.no_grad():  # the second layer hands on what it gets
        for parameter in model.cells[1].parameters():
            parameter.zero_()
        model.cells[1].W.copy_(torch.eye(50))
    for y, state in (model.train()(x[:, :1]), model.step(x[:, 0])):
        kept = y.view(B, 50) != 0
        assert 0.2 < kept.double().mean() < 0.8
        assert_close(y.view(B, 50)[kept], 2 * state[0][0][kept])


def test_a_learned_initial_state_is_the_start_and_gets_its_gradient():
    model, x, state = case(layers=2, bidirectional=True, learn_initial_state=True)
    start = tuple(tuple(row.expand(B, H) for row in learned.view(2, H)) for learned in model.learned)
    agree(model(x), model(x, start), model, x, state)
    assert all(gradient.all() for gradient in pull(model(x)[0], None, [*model.learned]))
    assert_close(case()[0](x), case()[0](x, ((torch.zeros(B, H, dtype=x.dtype),) * 2,)))


def by_hand(cell, x, prefix, holds):
    """Every named value of the lstm over time, its equations once more."""
    h = c = x.new_zeros(B, H)
    recorded = {name: [] for name in "ifgoch"}

    def named(name, value):
        held = torch.tensor([holds.get(f"{prefix}.{name}.{unit}", torch.nan) for unit in range(H)], dtype=x.dtype)
        recorded[name].append(torch.where(held.isnan(), value, held))
        return recorded[name][-1]

    for t in range(T):
        i, f, g, o = (x[:, t] @ cell.W.T + h @ cell.U_i_f_g_o.T + cell.b).chunk(4, 1)
        i, f, g, o = named("i", i.sigmoid()), named("f", f.sigmoid()), named("g", g.tanh()), named("o", o.sigmoid())
        c = named("c", f * c + i * g)
        h = named("h", o * c.tanh())
    return {f"{prefix}.{name}": torch.stack(values, 1) for name, values in recorded.items()}


def both_by_hand(model, x, holds):
    """The values of a first bidirectional layer of lstm, in the order of time."""
    backward = by_hand(model.cells[1], x.flip(1), "1.backward", holds)
    return by_hand(model.cells[0], x, "1", holds) | {prefix: value.flip(1) for prefix, value in backward.items()}


def test_record_keeps_every_named_value_in_the_order_of_time():
    model, x, state = case(layers=2, bidirectional=True)
    with record() as recorded:
        model(x)
    assert set(recorded) == {
        f"{prefix}.{name}" for prefix in ("1", "1.backward", "2", "2.backward") for name in "ifgoch"
    }
    assert_close({address: recorded[address] for address in recorded if address[0] == "1"}, both_by_hand(model, x, {}))
    with record() as recorded:
        model(x, state, torch.tensor(UNSORTED))
    assert {tuple(recorded[address].shape) for address in recorded} == {(B, T, H)}
    with mistake(r"did you mean '1\.c'"):
        recorded["1.cc"]


@pytest.mark.parametrize("cell", ONE_FAST)
def test_recorded_states_are_those_of_the_step_repeated(cell):
    model, x, (state,) = case(cell)
    with record() as recorded:
        y, after = model(x, (state,))
    steps, only = [], model.cells[0]
    for t in range(T):
        output, state = only.result(only.step(only.inputs(x[:, t]), *state))
        steps.append(state)
    for number, name in enumerate(only.states):
        assert_close(recorded[f"1.{name}"], torch.stack([step[number] for step in steps], 1))
    assert_close((y, after), (recorded[f"1.{only.output or only.states[0]}"], (state,)))
    assert_close(y[:, -1], output)


def test_calls_and_single_steps_append_to_the_record():
    model, x, _ = case()
    with record() as recorded:
        y, state = model(x)
        z, state = model(x[:, :2], state)
        last, _ = model.step(x[:, 0], state)
    assert_close(recorded["1.h"], torch.cat((y, z, last[:, None]), 1))


def test_a_held_value_is_recorded_and_all_that_follows_is_computed_from_it():
    model, x, _ = case(bidirectional=True)
    units = {"1.c.3": 1.0, "1.i.0": 0.25, "1.backward.h.1": -2.0, "1.backward.f.2": 0.0, "1.backward.f.0": 1.0}
    wanted = both_by_hand(model, x, units)
    with hold(units):
        y, state = model(x)
        with record() as recorded:
            model(x)
    assert_close({address: recorded[address] for address in recorded}, wanted)
    assert_close(y, torch.cat((wanted["1.h"], wanted["1.backward.h"]), -1))
    last = (wanted["1.h"][:, -1], wanted["1.c"][:, -1]), (wanted["1.backward.h"][:, 0], wanted["1.backward.c"][:, 0])
    assert_close(state, last)
    with record() as recorded:  # the hold has ended
        model(x)
    assert_close({address: recorded[address] for address in recorded}, both_by_hand(model, x, {}))


@pytest.mark.parametrize("cell", CELLS)
def test_a_hold_in_the_second_layer_acts_in_every_cell_and_in_single_steps(cell):
    model, x, state = case(cell, layers=2, backend="loop")
    free, now = model(x, state), state
    with mistake("there is no unit"), hold({f"2.h.{model.output_size}": 0.75}):
        model(x, state)
    with hold({f"2.h.{model.output_size - 1}": 0.75}):
        y, after = model(x, state)
        for t in range(T):
            last, now = model.step(x[:, t], now)
    assert_close((last, now), (y[:, -1], after))
    assert (y[..., -1] == 0.75).all()
    assert_close(after[0], free[1][0])
    if model.cells[1].matrices():  # later steps read the held unit, which others than it depend on
        assert not torch.allclose(y[:, -1, :-1], free[0][:, -1, :-1])


class Branching(Cell):  # which cannot be traced
    gates = ("n",)

    def step(self, x, h):
        n = tap("candidate", torch.tanh(x.n + self.recur("n", of=h).n))
        return (n if n.sum() > 0 else -n,)


def test_a_cell_that_cannot_be_traced_shows_its_taps_and_states():
    model, x, _ = case(Branching)
    with record() as recorded, hold({"1.h.2": 0.5}):
        y, _ = model(x)
    assert set(recorded) == {"1.candidate", "1.h"}
    assert (y[..., 2] == 0.5).all()
    assert_close(recorded["1.h"], y)
    assert_close(recorded["1.candidate"][..., :2].abs(), y[..., :2].abs())


@pytest.mark.parametrize(
    ("key", "match"),
    [("1.q.0", r"unknown named value '1\.q'"), ("3.c.0", r"unknown named value '3\.c'"),
     ("1.backward.c.0", r"unknown named value '1\.backward\.c'"), ("2.c.4", "2.c has the units 0 to 3"),
     ("1.c", r"as in 1\.c\.137"), ("c.0", r"as in 1\.c\.137"), ("1.c.-1", "as in 1")],
)  # fmt: skip
def test_what_cannot_be_held_is_an_error_of_one_line(key, match):
    with mistake(match), hold({key: 1.0}):
        Recurrent(I, H, layers=2)(torch.zeros(B, T, I))


class Exchanged(LSTM):
    def step(self, x, h, c):
        return super().step(x, c, h)


class Elsewhere(LSTM):
    start = {"f": 3.0, "i": -1.0}


def test_native_takes_the_equations_that_torch_has_and_refuses_the_others_with_a_reason():
    for cell in ("lstm", "gru", "rnn", "irnn", Elsewhere):
        assert Native().refuses(case(cell)[0].cells[0], NOTHING) is None
    for cell in ("mut1", "gru_before", "rnn:activation=sigmoid", Exchanged):
        model, x, state = case(cell)
        assert Native().refuses(model.cells[0], NOTHING) == "torch has no kernel for its equation"
        model.backend = "native"
        for run, given_x in ((model, x), (model.step, x[:, 0])):
            with mistake("'native' refuses the cell .* because torch has no kernel"):
                run(given_x, state)


def test_native_refuses_what_it_cannot_do():
    model, x, state = case(layers=2, bidirectional=True)
    run, never = model(x, state), torch.zeros(B, T, dtype=torch.bool)
    assert_close(model(x, state, reset=never), run)
    model.backend = "native"
    with mistake("refuses the cell lstm because .* reset a row"):
        model(x, state, reset=never)
    with mistake("refuses the cell lstm because .* inside"), record():
        model(x, state)
    with mistake("refuses the cell lstm because .* inside"), hold({"1.c.0": 1.0}):
        model(x, state)
    assert_close(model(x, state), run)


def test_auto_takes_the_first_that_does_not_refuse(monkeypatch):
    model, x, state = case("lstm")
    run = model(x, state)
    assert str(model.choose()) == "fused"
    with hold({"1.c.0": 1.0}):
        assert str(model.choose()).startswith("loop (fused refuses because a held unit would")
    monkeypatch.setattr(Fused, "refuses", lambda self, cell, span: "of the weather")
    assert str(model.choose()) == "native (fused refuses because of the weather)"
    assert_close(model(x, state), run)
    with record():
        assert str(model.choose()).startswith("loop (fused refuses because of the weather; native refuses because")
        assert_close(model(x, state), run)


@pytest.mark.parametrize("lengths", [None, FULL], ids=["plain", "packed"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])  # not relu: a rounding across 0 switches a whole gradient
def test_under_autocast_both_backends_stay_within_the_error_of_bf16(cell, lengths):
    model, x, state = case(cell, layers=2, dtype=torch.float32)
    leaves = [x, *flatten(state).values(), *model.parameters()]
    y, after = model(x, state)
    wanted = pull(y, after, leaves)
    bound = 4 * torch.finfo(torch.bfloat16).eps  # a rounding is half an eps, and there are several a step
    for model.backend in ("loop", "native"):
        with torch.autocast("cpu", torch.bfloat16):
            rough, now = model(x, state, lengths and torch.tensor(lengths))
        assert {value.dtype for value in flatten(now).values()} == {torch.float32}
        assert_close((rough.float(), now), (y, after), rtol=bound, atol=bound)
        for gradient, exact in zip(pull(rough, now, leaves), wanted, strict=True):
            assert (gradient - exact).norm() < bound * exact.norm()  # which no NaN is


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.filterwarnings("ignore:RNN module weights are not part")  # a note of cuDNN's about speed
def test_native_and_the_loop_agree_on_the_device(device):
    if not {"cuda": torch.cuda, "mps": torch.backends.mps}[device].is_available():
        pytest.skip(f"no {device} device")
    for cell in TORCH:
        model, x, state = case(cell, layers=2, bidirectional=True, dtype=torch.float32)
        model.to(device)
        there = over((x, state), lambda value: value.detach().to(device).requires_grad_())
        for lengths in (None, torch.tensor(UNSORTED)):
            runs = []
            for model.backend in ("native", "loop"):
                runs.append(model(*there, lengths))
                assert {value.device.type for value in flatten(runs[-1]).values()} == {device}
            agree(*runs, model, *there, rtol=1e-2, atol=1e-2)  # cuDNN may multiply in TF32


@pytest.mark.parametrize(
    ("given_to", "match"),
    [({"x": torch.zeros(B, I)}, r"x must be \(B, T, 3\)"), ({"x": torch.zeros(B, T, 4)}, r"x must be \(B, T, 3\)"),
     ({"x": torch.zeros(B, 0, I)}, "T above 0"), ({"lengths": torch.ones(5).long()}, r"lengths must be 4 integers"),
     ({"lengths": torch.tensor([1, 2, 3, 7])}, "from 0 to 6"), ({"lengths": torch.tensor([1, -1, 3, 2])}, "-1 to 3"),
     ({"reset": torch.ones(B, T + 1).bool()}, r"reset must be bool \(4, 6\)"),
     ({"reset": torch.ones(B, T)}, r"reset must be bool \(4, 6\)"),
     ({"backend": "nativ"}, "unknown backend 'nativ': did you mean 'native'"), ({"hidden_size": 0}, "hidden_size=0"),
     ({"layers": 0}, "layers=0"), ({"dropout": 1}, r"dropout must be in \[0, 1\)"),
     ({"zoneout": 1}, r"zoneout must be in \[0, 1\)"), ({"weight_drop": -0.1}, r"weight_drop must be in \[0, 1\)"),
     ({"variational_dropout": 2}, r"variational_dropout must be in \[0, 1\)"),
     ({"bidirectional": True}, "has no steps")],
)  # fmt: skip
def test_wrong_arguments_are_an_error_of_one_line(given_to, match):
    inputs = {name: value for name, value in given_to.items() if name in ("x", "lengths", "reset")}
    with mistake(match):
        model = Recurrent(**{"input_size": I, "hidden_size": H, **(given_to if not inputs else {})})
        model(**{"x": torch.zeros(B, T, I), **inputs}) if inputs else model.step(torch.zeros(B, I))


def test_the_gradients_of_the_whole_layer_are_right_to_second_order():
    model, x, state = case("lstm", (2, 2), layers=2, bidirectional=True, learn_initial_state=True)
    lengths, reset = torch.tensor([3, 2, 0, 1]), torch.tensor([[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]).bool()

    def run(x, *_):
        return tuple(flatten(model(x[:, :3], state, lengths, reset)).values())

    leaves = (x, *flatten(state).values(), *model.parameters())
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


leaf = st.integers(0, 9).map(lambda number: torch.full((1, 2), float(number)))
key = st.sampled_from(["h", "c_0", "a1", "encoder"])


def nest_of(part):
    # more than ten in a tuple: "10" comes before "2" in the order of letters
    return st.dictionaries(key, part, min_size=1) | st.lists(part, min_size=1, max_size=12).map(tuple)


@some
@given(nest=st.recursive(leaf, nest_of))
def test_a_state_taken_apart_is_put_together_again(nest):
    flat = flatten(nest, "here")
    assert all(isinstance(value, torch.Tensor) for value in flat.values())
    assert_close(unflatten({"there.0": torch.zeros(1), **flat, "heretic": torch.zeros(1)}, "here"), nest)
    assert unflatten(flatten(None)) is None


def test_detach_keeps_the_values_and_cuts_the_graph():
    cut = detach({"a": (torch.ones(2, requires_grad=True) * 2, None)})
    assert_close(cut["a"][0], torch.full((2,), 2.0))
    assert not cut["a"][0].requires_grad
    assert cut["a"][1] is None


@pytest.mark.parametrize(
    "state",
    [
        ((torch.zeros(1, 3),) * 2,),  # of one row: torch's kernel would write past its end
        ((torch.zeros(4, 3),) * 2,) * 2,
        ((torch.zeros(4, 3),),),
        ((torch.zeros(4, 2),) * 2,),
    ],
)
def test_a_state_of_another_size_is_refused(state):
    for backend in ("loop", "native"):
        layer = Recurrent(2, 3, backend=backend)
        with mistake("the state must be a tuple of 1"):
            layer(torch.zeros(4, 5, 2), state)
        with mistake("the state must be a tuple of 1"):
            layer.step(torch.zeros(4, 2), state)


def test_a_stepper_that_was_made_before_the_recording_is_recorded():
    stepper = Recurrent(2, 3).stepper()
    state = stepper.begin(1)
    with record() as recorded:
        stepper.step(torch.ones(1, 2), state)
    with hold({"1.h.0": 0.5}):
        y, _ = stepper.step(torch.ones(1, 2), state)
    assert recorded["1.c"].shape == (1, 1, 3)
    assert y[0, 0] == 0.5
    assert stepper.step(torch.ones(1, 2), state)[0][0, 0] != 0.5


def test_a_stepper_begins_in_the_initial_state():
    model, x, _ = case("lstm", layers=2, learn_initial_state=True)
    stepper = model.stepper()
    for inputs in (B, x, x[:, 0]):
        assert_close(stepper.begin(inputs), model.initial(B))


def follow(step, x, state):
    """The outputs and the last state of a step function over x (B, T, I)."""
    outputs = []
    for each in x.unbind(1):
        y, state = step(each, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize("cell", ["lstm", "gru", "rhn"])
def test_a_stepper_can_be_exported(cell):
    model, x, state = case(cell, layers=2, residual=True, backend="loop")
    model.requires_grad_(False)
    stepper = model.eval().stepper()
    x, state = x.detach(), detach(state)
    wanted = model(x, state)
    exported = torch.export.export(stepper, (x[:, 0], state))
    assert_close(follow(exported.module(), x, state), wanted)
    assert {name.removeprefix("layer.") for name in exported.state_dict} == set(model.state_dict())


@pytest.mark.parametrize("learned", [False, True])
def test_a_token_stepper_gives_the_logits_of_embedding_layer_and_head(learned):
    torch.manual_seed(0)
    model, embedding, head = Recurrent(I, H, "gru", 2, learn_initial_state=learned), nn.Embedding(5, I), nn.Linear(H, 5)
    tokens = torch.randint(5, (B, T))
    for model.backend in ("loop", "fused"):
        stepper = RecurrentTokenStepper(model, embedding.weight, head).eval().requires_grad_(False)
        state = stepper.begin({"input": tokens})
        y, after = model(embedding(tokens))
        assert_close(follow(stepper, tokens, state), (head(y), after))
        even = torch.full((B, 5), 0.2)
        mean, _ = model(embedding.weight.mean(0).expand(B, 1, I))
        assert_close(stepper.step(even, state)[0], head(mean[:, 0]))
    model.backend = "loop"
    stepper = RecurrentTokenStepper(model, embedding.weight, head).eval().requires_grad_(False)
    assert stepper.block(tokens[:, 0], state, torch.rand(2, B), 1.0, False) is None
    exported = torch.export.export(stepper, (tokens[:, 0], detach(state))).module()
    assert_close(follow(exported, tokens, state), (head(y), after))


class InMode(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (torch.tanh(x.a * 2 if self.training else x.a) + 0.5 * h,)


class Subclass(LSTM):
    """An lstm in evaluation alone."""

    def recur(self, *gates, of, name="U"):
        return super().recur(*gates, of=2 * of if self.training else of, name=name)


def test_a_cell_that_depends_on_the_mode_runs_alike_in_every_backend():
    for cell in (InMode, stored(InMode), Subclass):
        model, x, state = case(cell)
        assert "native" not in str(model.choose()).split(" (")[0]
        stepper, runs = model.stepper(), []
        for training in (True, False, True):
            model.train(training)
            model.backend = "auto"
            run = model(x, state)
            model.backend = "loop"
            agree(run, model(x, state), model, x, state)
            assert_close(follow(stepper.step, x, state), run)
            runs.append(run[0])
        assert not torch.allclose(runs[0], runs[1])
        assert_close(runs[0], runs[2])
    assert Native().refuses(case(Subclass)[0].cells[0], NOTHING) is not None


def test_rows_that_are_reset_have_the_initial_state_and_the_others_their_own():
    model, _, state = case("lstm", layers=2, learn_initial_state=True)
    mask = torch.tensor([True, False, False, True])
    after, initial = model.reset_state(state, mask), model.initial(B)
    for name, value in flatten(after).items():
        assert torch.equal(value[mask], flatten(initial)[name][mask])
        assert torch.equal(value[~mask], flatten(state)[name][~mask])
    with mistake("the state must be"):
        model.reset_state(state[:1], mask)
