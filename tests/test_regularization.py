"""Random numbers inside of a step, and zoneout, variational dropout and weight drop over any cell."""

import ctypes
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn, tanh
from torch.testing import assert_close

import oracles
from elman import Cell, Recurrent, record
from elman.cells.philox import EVERY_STEP, philox, uniform
from elman.cells.registry import stored
from elman.cells.stored_cell import StoredCell
from elman.kernels.compiler import load as compiled
from elman.kernels.printer import RUNTIME
from elman.recurrent.dropout import dropout
from elman.recurrent.state import flatten, over

B, T, I, H, P, SEED = 3, 5, 2, 4, 0.4, 7
WORD = 2**32
ALL = {"zoneout": P, "variational_dropout": P, "weight_drop": P}
KINDS = [{name: p} for name, p in ALL.items()] + [ALL]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "+".join(kind))


class Readout(Cell):
    """The output is no state, and smaller than the state."""

    gates, states, output = ("a", "g"), ("s", "m"), "y"

    @property
    def sizes(self):
        return {"y": self.hidden_size // 2, "m": self.hidden_size // 2}

    def step(self, x, s, m):
        u = self.recur("a", "g", of=s)
        s = tanh(x.a + u.a) * torch.sigmoid(x.g + u.g)
        m = 0.5 * m + self.recur("m", of=s, name="V", size=self.hidden_size // 2).m
        return tanh(self.recur("y", of=m, name="O", size=self.hidden_size // 2).y), s, m


# ---- Philox, by its definition, with Python's integers


def philox_by_hand(counter, key):
    """Salmon et al. 2011, section 3: philox4x32-10."""
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [right // WORD ^ c[1] ^ k[0], right % WORD, left // WORD ^ c[3] ^ k[1], left % WORD]
        k = [(k[0] + 0x9E3779B9) % WORD, (k[1] + 0xBB67AE85) % WORD]
    return c


PI = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
KNOWN = {  # the known answers of Random123, kat_vectors
    "zeros": ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": ([WORD - 1] * 4, [WORD - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    "pi": (PI[:4], PI[4:], [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
}


@pytest.mark.parametrize("vector", KNOWN)
def test_philox_gives_the_known_answers(vector):
    counter, key, wanted = KNOWN[vector]
    found = philox(tuple(torch.tensor([word]) for word in counter), tuple(key))
    assert [int(word) for word in found] == wanted
    assert philox_by_hand(counter, key) == wanted


def numbers(seed, step, draw, rows, units):
    """The random numbers (rows, units) of a draw, in [0, 1)."""
    key = (seed % WORD, seed // WORD)
    words = [[philox_by_hand((unit, row, step, draw), key)[0] for unit in range(units)] for row in range(rows)]
    return np.array(words) // 256 / 2**24


@pytest.mark.parametrize("step", [0, 3, EVERY_STEP])
def test_a_number_depends_on_seed_step_draw_row_and_unit(step):
    seed = 2**61 + 12345
    found = uniform(seed, step, 2, 3, 5, torch.device("cpu"))
    assert_allclose(found.numpy(), numbers(seed, step, 2, 3, 5), rtol=0, atol=0)
    assert found.min() >= 0
    assert found.max() < 1


PROBE = """
#include <cstdint>
using F = double;
RANDOM
extern "C" double probe(int64_t seed, uint32_t step, uint32_t draw, int64_t row, int64_t unit) {
  return uniform(seed, step, draw, row, unit);
}
"""


def test_a_kernel_computes_the_same_numbers():
    text = RUNTIME.joinpath("random.hpp").read_text()
    probe = compiled(PROBE.replace("RANDOM", text)).probe
    probe.restype = ctypes.c_double
    for seed, step, draw in ((0, 0, 0), (2**62 - 1, 7, 3), (SEED, EVERY_STEP, 9), (2**33, 2**31, 0)):
        wanted = uniform(seed, step, draw, 3, 70, torch.device("cpu"))
        for row in range(3):
            found = [
                probe(ctypes.c_int64(seed), ctypes.c_uint32(step), ctypes.c_uint32(draw), ctypes.c_int64(row),
                      ctypes.c_int64(unit))
                for unit in range(70)
            ]  # fmt: skip
            assert found == wanted[row].tolist()


# ---- the equations, given the masks


def lstm_step(w, x, states, drop):
    h, c = states
    found = oracles.lstm(w, x, drop(0, h), c)  # h is nowhere but in the products
    return found["h"], [found["h"], found["c"]]


def gru_step(w, x, states, drop):
    (h,), (W, U, b, p) = states, (w[kind] for kind in "WUbp")
    d = drop(0, h)
    r = oracles.sigmoid(W["r"] @ x + U["U", "r"] @ d + b["r"])
    z = oracles.sigmoid(W["z"] @ x + U["U", "z"] @ d + b["z"])
    n = np.tanh(W["n"] @ x + b["n"] + r * (U["U", "n"] @ d + p["n"]))
    h = (1 - z) * n + z * h
    return h, [h]


def readout_step(w, x, states, drop):
    (s, m), (W, U, b, _) = states, (w[kind] for kind in "WUbp")
    d = drop(0, s)
    s = np.tanh(W["a"] @ x + U["U", "a"] @ d + b["a"]) * oracles.sigmoid(W["g"] @ x + U["U", "g"] @ d + b["g"])
    m = 0.5 * m + U["V", "m"] @ drop(1, s)
    return np.tanh(U["O", "y"] @ drop(2, m)), [s, m]


CELLS = {"lstm": (lstm_step, 1), "gru": (gru_step, 1), Readout: (readout_step, 3)}  # and how many products
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: getattr(cell, "__name__", cell))


def by_hand(cell, model, x, state, initial, lengths, reset, reverse, masks):
    """One direction of a layer over time, row by row. masks: of the input, of the matrices, and the seed of the step's
    random numbers."""
    step, products = CELLS[cell]
    index = 1 if reverse else 0
    of_cell, zone = oracles.weights(model.cells[index]), masks["zoneout"]
    for (name, gate), block in of_cell["U"].items():
        of_cell["U"][name, gate] = block * masks["weights"].get((name, gate), 1.0)
    outputs, last = np.zeros((len(x), T, model.cells[index].output_size)), []
    for row, length in enumerate(lengths):
        values = [part[row] for part in state]

        def drop(draw, value, row=row):
            if not masks["recurrent"]:
                return value
            kept = numbers(masks["seed"], EVERY_STEP, draw, len(x), value.size)[row] >= masks["recurrent"]
            return value * kept / (1 - masks["recurrent"])

        for t in range(T)[::-1] if reverse else range(T):
            if t >= length:
                continue
            entered = t + 1 < T and reset[row, t + 1] if reverse else reset[row, t]
            if entered:
                values = [part[row] for part in initial]
            y, new = step(of_cell, x[row, t] * masks["input"][row], values, drop)
            first = products if masks["recurrent"] else 0
            for k, (old, value) in enumerate(zip(values, new, strict=True)):
                if zone:
                    kept = numbers(masks["seed"], t, first + k, len(x), old.size)[row] < zone
                    new[k] = np.where(kept, old, value)
            values, outputs[row, t] = new, y if model.cells[index].output else new[0]
        last.append(values)
    return outputs, [np.stack(parts) for parts in zip(*last, strict=True)]


def masks_of(model, x):
    """The masks of a call after `torch.manual_seed(SEED)`, drawn as it draws them: the input's, then for each direction
    its matrices' and the seed of its steps."""
    torch.manual_seed(SEED)
    found, of_input = [], np.ones((len(x), I))
    if model.variational_dropout:
        of_input = dropout(torch.ones(len(x), 1, I, dtype=x.dtype), model.variational_dropout, True)[:, 0].numpy()
    for cell in model.cells:
        of_weights = {}
        if model.weight_drop:
            for title, matrix in cell.recurrent_matrices().items():
                name, *gates = title.split("_")
                mask = dropout(torch.ones_like(matrix), model.weight_drop, True).detach().chunk(len(gates))
                of_weights |= {(name, gate): part.numpy() for gate, part in zip(gates, mask, strict=True)}
        zone = getattr(model, "given_zoneout", 0.0)
        seed = int(torch.randint(1 << 62, (1,))) if zone or model.variational_dropout else 0
        found.append({"input": of_input, "weights": of_weights, "seed": seed, "zoneout": zone,
                      "recurrent": model.variational_dropout})  # fmt: skip
    return found


def case(cell, kind, hidden=H, dtype=torch.float64, **options):
    """A layer with random weights, and an input."""
    torch.manual_seed(0)
    model = Recurrent(I, hidden, cell, **kind, **options).to(dtype)
    model.given_zoneout = kind.get("zoneout", 0.0)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    return model, torch.randn(B, T, I, dtype=dtype)


LENGTHS, RESET = [5, 3, 0], torch.tensor([[0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()


@each_kind
@each_cell
def test_outputs_and_states_are_those_of_the_equation_with_the_masks(cell, kind):
    model, x = case(cell, kind, bidirectional=True, learn_initial_state=True, backend="loop")
    state = over(model.initial(B), torch.randn_like)
    masks = masks_of(model, x)
    torch.manual_seed(SEED)
    with torch.no_grad():
        y, last = model(x, state, torch.tensor(LENGTHS), RESET)
    plain = over((state, model.initial(B)), lambda value: value.detach().numpy())
    for index in (0, 1):
        wanted, states = by_hand(cell, model, x.numpy(), plain[0][index], plain[1][index], LENGTHS, RESET.numpy(),
                                 index == 1, masks[index])  # fmt: skip
        assert_allclose(y.chunk(2, -1)[index].numpy(), wanted, rtol=1e-9, atol=1e-12)
        for found, right in zip(last[index], states, strict=True):
            assert_allclose(found.numpy(), right, rtol=1e-9, atol=1e-12)


def seeded(model: Recurrent, x: Tensor, state, *others):
    torch.manual_seed(SEED)
    return tuple(flatten(model(x, state, *others)).values())


def leaves_of(model, x):
    state = over(model.initial(B), lambda value: torch.randn_like(value).requires_grad_())
    return x.clone().requires_grad_(), state, [*flatten(state).values(), *model.parameters()]


def fused_equals_the_loop(cell, kind):
    model, x = case(cell, kind, bidirectional=True)
    x, state, others = leaves_of(model, x)
    runs = []
    for model.backend in ("fused", "loop"):
        found = seeded(model, x, state, torch.tensor(LENGTHS), RESET)
        torch.manual_seed(1)
        total = sum((value * torch.randn(value.shape, dtype=value.dtype)).sum() for value in found)
        runs.append((*found, *torch.autograd.grad(total, [x, *others], materialize_grads=True)))
    assert_close(*runs, rtol=1e-9, atol=1e-12)


def test_a_kernel_has_the_masks_of_the_loop_forwards_and_backwards():
    fused_equals_the_loop("lstm", ALL)


@pytest.mark.slow
@each_kind
@each_cell
def test_every_kernel_has_the_masks_of_the_loop_forwards_and_backwards(cell, kind):
    fused_equals_the_loop(cell, kind)


@pytest.mark.parametrize(
    ("cell", "kind", "backend"),
    [("lstm", ALL, "loop"), ("gru", ALL, "loop"), (Readout, ALL, "loop"), ("lstm", ALL, "fused"),
     pytest.param("gru", ALL, "fused", marks=pytest.mark.slow),
     pytest.param(Readout, ALL, "fused", marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_backward_pass_has_the_masks_of_the_forward_pass(cell, kind, backend):
    model, x = case(cell, kind, bidirectional=True, backend=backend)
    x, state, others = leaves_of(model, x)
    run = lambda x, *_: seeded(model, x, state, torch.tensor(LENGTHS), RESET)  # noqa: E731
    assert torch.autograd.gradcheck(run, (x, *others), fast_mode=True)


def steps(model, x, state):
    torch.manual_seed(SEED)
    stepper, outputs = model.stepper(), []
    for t in range(T):
        y, state = stepper(x[:, t], state)
        outputs.append(y)
    return tuple(flatten((torch.stack(outputs, 1), state)).values())


@pytest.mark.parametrize(
    ("cell", "kind", "backend"),
    [(cell, kind, "loop") for cell in CELLS for kind in KINDS[:3]]
    + [("lstm", {"zoneout": P, "variational_dropout": P}, "fused")]
    + [pytest.param(cell, kind, "fused", marks=pytest.mark.slow) for cell in CELLS for kind in KINDS[:3]],
)  # fmt: skip
def test_single_steps_have_the_masks_of_a_call_with_the_same_seed(cell, kind, backend):
    model, x = case(cell, kind, backend=backend)
    x, state, others = leaves_of(model, x)
    wanted = seeded(model, x, state)
    found = steps(model, x, state)
    assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad(sum(v.square().sum() for v in run), [x, *others]) for run in (found, wanted)]
    assert_close(*gradients, rtol=1e-8, atol=1e-11)
    with torch.no_grad():
        assert_close(steps(model, x, state), tuple(value.detach() for value in wanted), rtol=1e-9, atol=1e-12)


@each_kind
def test_single_steps_may_have_several_batch_sizes(kind):
    model, _ = case("lstm", kind, backend="loop")
    stepper = model.stepper()
    for rows in (3, 5, 3):
        y, _ = stepper(torch.zeros(rows, I, dtype=torch.double), stepper.begin(rows))
        assert y.shape == (rows, H)


@pytest.mark.parametrize("backend", ["loop", "fused"])
def test_a_gradient_of_higher_order_has_the_same_masks(backend):
    model, x = case("lstm", ALL, backend=backend)
    x, state, _ = leaves_of(model, x)
    assert torch.autograd.gradgradcheck(lambda x: seeded(model, x, state)[0], (x[:, :2],), fast_mode=True)


@pytest.mark.parametrize("backend", ["loop", pytest.param("fused", marks=pytest.mark.slow)])
def test_a_recording_has_the_masks_of_a_call_without_one(backend):
    model, x = case("lstm", ALL, backend=backend)
    model.requires_grad_(False)
    wanted = seeded(model, x, None)
    with record() as recorded:
        found = seeded(model, x, None)
    assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert_close(recorded["1.h"], wanted[0], rtol=1e-9, atol=1e-12)


# ---- evaluation


@pytest.mark.parametrize("kind", KINDS[1:3], ids=lambda kind: "+".join(kind))
@each_cell
def test_in_evaluation_nothing_is_dropped(cell, kind):
    model, x = case(cell, kind, bidirectional=True, backend="loop")
    plain, _ = case(cell, {}, bidirectional=True, backend="loop")
    assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
    assert not torch.equal(model.train()(x)[0], plain(x)[0])


@each_cell
def test_in_evaluation_zoneout_is_its_expectation(cell):
    model, x = case(cell, {"zoneout": P}, backend="loop")
    state = over(model.initial(B), torch.randn_like)
    y, new = model.eval().step(x[:, 0], state)
    step, _ = CELLS[cell]
    of_cell, old = oracles.weights(model.cells[0]), [part.numpy() for part in state[0]]
    for row in range(B):
        own = [part[row] for part in old]
        output, after = step(of_cell, x[row, 0].numpy(), own, lambda draw, value: value)
        expected = [P * before + (1 - P) * value for before, value in zip(own, after, strict=True)]
        for found, right in zip(new[0], expected, strict=True):
            assert_allclose(found[row].detach().numpy(), right, rtol=1e-10)
        assert_allclose(y[row].detach().numpy(), output if cell is Readout else expected[0], rtol=1e-10)


def test_the_expectation_is_the_mean_of_many_steps_in_training():
    model, x = case("lstm", {"zoneout": P}, backend="loop")
    with torch.no_grad():
        many, state = x[:1, 0].expand(20_000, I), tuple(torch.randn(1, H, dtype=x.dtype) for _ in range(2))
        torch.manual_seed(SEED)
        _, new = model.step(many, (tuple(value.expand(20_000, H) for value in state),))
        _, expected = model.eval().step(x[:1, 0], (state,))
    for drawn, mean in zip(new[0], expected[0], strict=True):
        error = drawn.std(0) / 20_000**0.5
        assert ((drawn.mean(0) - mean[0]).abs() < 5 * error).all()


# ---- seeds and rates


@each_kind
@pytest.mark.parametrize("backend", ["loop", pytest.param("fused", marks=pytest.mark.slow)])
def test_the_generator_of_torch_decides_and_two_calls_differ(kind, backend):
    model, x = case("lstm", kind, backend=backend)
    first, second = seeded(model, x, None), model(x)[0]
    assert all(torch.equal(a, b) for a, b in zip(first, seeded(model, x, None), strict=True))
    assert torch.equal(second, model_after(model, x))
    assert not torch.equal(first[0], second)


def model_after(model, x):
    """The second of two calls."""
    seeded(model, x, None)
    return model(x)[0]


def near(found: Tensor, p: float):
    """Whether the fraction of True is p, within five standard deviations."""
    assert abs(found.double().mean().item() - p) < 5 * (p * (1 - p) / found.numel()) ** 0.5


class Drawn(Cell):
    """The random numbers themselves: two draws a step and one a sequence."""

    gates, states, output = ("a",), ("h", "k", "s"), "y"

    def step(self, x, h, k, s):
        first, second, same = self.rand_like(h), self.rand_like(k), self.rand_like(s, "sequence")
        return first + 0 * x.a, first, second, same


@pytest.mark.parametrize("backend", ["loop", pytest.param("fused", marks=pytest.mark.slow)])
def test_the_numbers_of_a_step_are_uniform_and_those_of_others_are_others(backend):
    torch.manual_seed(SEED)
    model = Recurrent(1, 64, Drawn, backend=backend)
    with record() as recorded:
        y, _ = model(torch.zeros(40, 16, 1))
    torch.testing.assert_close(y, recorded["1.h"])
    for p in (0.1, 0.5, 0.9):
        near(recorded["1.h"] < p, p)
        near(recorded["1.k"] < p, p)
        near(recorded["1.s"][:, 0] < p, p)
    assert torch.equal(recorded["1.s"], recorded["1.s"][:, :1].expand(-1, 16, -1))
    h = recorded["1.h"] < 0.5
    for one, other in ((h[:, 1:], h[:, :-1]), (h[1:], h[:-1]), (h[..., 1:], h[..., :-1]), (h, recorded["1.k"] < 0.5)):
        near(one == other, 0.5)


def test_a_kernel_draws_the_numbers_of_the_loop_whatever_the_threads_the_direction_and_the_rows():
    runs, threads = [], torch.get_num_threads()
    torch.manual_seed(0)
    model, x = Recurrent(1, 130, Drawn, bidirectional=True), torch.zeros(9, 3, 1)
    for model.backend, count in (("loop", 1), ("fused", 1), ("fused", 2)):
        torch.set_num_threads(count)
        runs.append(seeded(model, x, None, torch.tensor([3, 2, 1, 0, 3, 3, 3, 3, 3])))
    torch.set_num_threads(threads)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8])
def test_as_many_units_keep_their_value_as_the_zoneout_says(p):
    model, _ = case("rnn", {"zoneout": p}, 50, backend="loop")
    with torch.no_grad():
        y, _ = model(torch.randn(60, 40, I, dtype=torch.double))
    near(y[:, 1:] == y[:, :-1], p)  # a unit that does not keep its value has another one


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8])
def test_as_many_entries_of_a_matrix_are_dropped_as_the_weight_drop_says(p):
    model, _ = case("mogrifier_lstm", {"weight_drop": p}, 100)
    for name, matrix in model.dropped_weights(0).items():
        assert "R" not in name, "a matrix of what is computed from the input"
        near(matrix == 0, p)
        kept = matrix != 0
        assert_close(matrix[kept], model.cells[0].weights[name][kept] / (1 - p), rtol=1e-4, atol=0)
    assert set(model.dropped_weights(0)) == set(model.cells[0].recurrent_matrices())


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8])
def test_as_many_units_are_dropped_as_the_variational_dropout_says(p):
    class Watched(Cell):
        gates, output = ("a",), "y"

        def step(self, x, h):
            return x.a + self.recur("y", of=h).y, h

    model, _ = case(Watched, {"variational_dropout": p}, 100, backend="loop")
    with torch.no_grad():
        nn.init.eye_(model.cells[0].U_y)
        model.cells[0].W.zero_(), model.cells[0].b.zero_()
        y, _ = model(torch.zeros(50, 3, I, dtype=torch.double), ((torch.ones(50, 100, dtype=torch.double),),))
    near(y[:, 0] == 0, p)
    assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)))
    assert torch.equal(y[:, 0], y[:, 2])
    near((y[1:] != 0) == (y[:-1] != 0), p * p + (1 - p) ** 2)


@pytest.mark.parametrize("backend", ["loop", pytest.param("fused", marks=pytest.mark.slow)])
def test_masks_in_bfloat16_are_those_of_float32(backend):
    model, x = case("lstm", {"zoneout": P}, 64, torch.float32, backend=backend)
    kept = []
    for dtype in (torch.float32, torch.bfloat16):
        with torch.no_grad():
            _, ((h, _),) = model.to(dtype)(x[:, :1].to(dtype), ((torch.full((B, 64), 3.0, dtype=dtype),) * 2,))
            torch.manual_seed(SEED)
            _, ((h, _),) = model(x[:, :1].to(dtype), ((torch.full((B, 64), 3.0, dtype=dtype),) * 2,))
        kept.append(h == 3)
    assert torch.equal(*kept)
    assert kept[0].any()


# ---- over cells of all kinds


def test_a_stored_cell_has_zoneout_and_variational_dropout_too():
    form = StoredCell.from_json(json.loads(json.dumps(stored(Readout).to_json())))
    runs = []
    for cell in (Readout, form):
        model, x = case(cell, ALL, backend="loop")
        runs.append(seeded(model, x, None))
    assert_close(*runs, rtol=1e-12, atol=1e-14)


def test_a_layer_with_regularization_starts_with_the_weights_of_one_without():
    weights = []
    for kind in ({}, ALL):
        torch.manual_seed(SEED)
        weights.append([*Recurrent(I, H, "lstm", layers=2, **kind).parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_layer_with_regularization_has_the_name_and_the_options_of_its_cell():
    model = Recurrent(I, H, "lstm:forget_bias=0", **ALL)
    assert model.cell_name == "lstm"
    assert model.cells[0].options == {"forget_bias": 0.0}
    assert model.cells[0].b.eq(0).all()
    assert model.state_dict().keys() == Recurrent(I, H, "lstm").state_dict().keys()
