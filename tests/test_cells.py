"""Cells: their equations against the papers, where their weights start, their graphs, and errors."""

import json
import random
import re
import secrets
import sys
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn, sigmoid, tanh
from torch.nn import functional as F

from elman.cells import Cell
from elman.cells.graph import Graph, ModeGraphs
from elman.cells.graph_cell import GraphCell, graph_cell
from elman.cells.ops import normalize
from elman.cells.registry import find, make, resolve, stored
from elman.cells.shipped import shipped
from elman.cells.stored_cell import StoredCell
from elman.cells.tap import Observer, observing
from elman.cells.trace import NotTraceable, trace, trace_modes
from elman.training.random_states import RandomStates
from fitting import fitting
from oracles import ORACLES, VARIANTS, slstm_unstabilised, weights
from user_errors import fails

I, H, BATCH, STEPS = 5, 8, 3, 6

SHIPPED = shipped()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These tensors are too small for several threads: on a busy machine they would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def spelled(name, options):
    return ":".join([name, *(f"{option}={value}" for option, value in options.items())])


EQUATIONS = {
    spelled(name, o): (name, o)
    for name in ORACLES
    for o in [*([{}] if fitting(name, H) == name else []), *VARIANTS.get(name, [])]
}
each_equation = pytest.mark.parametrize("spec", EQUATIONS)
each_cell = pytest.mark.parametrize("name", SHIPPED)


def randomised(cell, dtype=torch.float64, seed=1):
    """Every parameter normal, so that no two gates are alike and nothing is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cell.to(dtype).parameters():
            parameter.normal_(generator=generator)
    return cell


def starting_states(cell, batch=BATCH, seed=2):
    generator = torch.Generator().manual_seed(seed)
    states = [torch.randn(batch, size, generator=generator, dtype=cell.dtype) for size in cell.state_sizes]
    # the n of the slstm is a sum of exponentials: h divides by it
    return [
        state.abs() + 0.1 if name == "n" and "m" in cell.states else state
        for name, state in zip(cell.states, states, strict=True)
    ]


def inputs(cell, steps=STEPS, batch=BATCH, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, batch, cell.input_size, generator=generator, dtype=cell.dtype)


@torch.no_grad()
def run(cell, step=None):
    """The states after each of some steps from states that are not zero, and the outputs: a list of tuples."""
    states, found = starting_states(cell), []
    for x in inputs(cell):
        output, states = cell.result((step or cell.step)(cell.inputs(x), *states))
        found.append((*states, output))
    return found


def through_json(cell):
    return StoredCell.from_json(json.loads(json.dumps(cell.to_json(), allow_nan=False)))


def equal_to_the_bit(one, other):
    return all(torch.equal(a, b) for a, b in zip(sum(one, ()), sum(other, ()), strict=True))


def oracle_values(spec, named_weights, x, states):
    """The oracle's values of a batch, a row at a time."""
    name, options = EQUATIONS[spec]
    rows = [ORACLES[name](named_weights, *row, **options) for row in zip(x, *states, strict=True)]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


# ---- equations


def test_every_shipped_cell_has_an_oracle_and_every_oracle_a_cell():
    assert set(ORACLES) == set(SHIPPED)


@each_cell
def test_every_choice_of_an_option_is_checked_against_the_oracle(name):
    for option, kind in SHIPPED[name].option_types().items():
        if get_origin(kind) is Literal:
            checked = {options.get(option, getattr(SHIPPED[name], option)) for options in VARIANTS.get(name, [{}])}
            assert checked == set(get_args(kind))


@each_equation
def test_a_cell_computes_the_equation_of_its_paper_at_every_step(spec):
    cell = randomised(make(spec, I, H))
    named_weights = weights(cell)
    states = [state.numpy() for state in starting_states(cell)]
    for x, found in zip(inputs(cell).numpy(), run(cell), strict=True):
        values = oracle_values(spec, named_weights, x, states)
        states = [values[name] for name in cell.states]
        for state, expected in zip(found, [*states, values[cell.output or cell.states[0]]], strict=True):
            assert_allclose(state.numpy(), expected, rtol=1e-10, atol=1e-12)


@each_equation
def test_a_cell_has_the_weights_that_its_equation_reads_and_no_others(spec):
    class Watched(dict):
        def __getitem__(self, key):
            read.add(key)
            return super().__getitem__(key)

    cell = randomised(make(spec, I, H))
    x, states = inputs(cell)[0].numpy(), [state.numpy() for state in starting_states(cell)]
    named_weights = weights(cell)
    for kind, named in named_weights.items():
        read = set()
        oracle_values(spec, {**named_weights, kind: Watched(named)}, x, states)
        assert read == set(named), f"the equation reads other {kind} than the cell has"
    arrays = [array for named in named_weights.values() for array in named.values()]
    assert sum(array.size for array in arrays) == sum(parameter.numel() for parameter in cell.parameters())


def test_the_stabilised_slstm_computes_what_the_plain_exponentials_do():
    cell = randomised(make("slstm", I, H))
    h, c, n, m = starting_states(cell)
    states = [h.numpy(), (c * m.exp()).numpy(), (n * m.exp()).numpy()]
    named_weights = weights(cell)
    for x, found in zip(inputs(cell).numpy(), run(cell), strict=True):
        rows = [slstm_unstabilised(named_weights, *row) for row in zip(x, *states, strict=True)]
        states = [np.stack([row[name] for row in rows]) for name in ("h", "c", "n")]
        assert_allclose(found[0].numpy(), states[0], rtol=1e-9, atol=1e-12)


def test_the_slstm_survives_gates_whose_exponentials_overflow():
    cell = randomised(make("slstm", I, H))
    x = cell.inputs(inputs(cell)[0])
    h, c, n, m = starting_states(cell)
    # so strong an input gate forgets all else: the state is the new input alone, and exp(2000) is beyond any float
    new_h, *_ = cell.step(x._replace(i=x.i + 2000), h, c, n, m)
    u = cell.recur("i", "f", "z", "o", of=h)
    torch.testing.assert_close(new_h, sigmoid(x.o + u.o) * tanh(x.z + u.z))


@each_equation
def test_the_gradients_of_a_step_are_those_of_finite_differences(spec):
    cell = randomised(make(spec, 2, 4))
    x = inputs(cell, 1, 2)[0].requires_grad_()
    states = [state.requires_grad_() for state in starting_states(cell, 2)]
    leaves = (x, *states, *cell.parameters())

    # gradcheck moves the entries of the leaves in place, and the cell reads the same parameters
    def step(x, *others):
        return cell.step(cell.inputs(x), *others[: len(states)])

    # gradcheck ignores a leaf that requires no gradient
    assert all(leaf.requires_grad for leaf in leaves)
    assert torch.autograd.gradcheck(step, leaves)


# ---- weights: which there are, and where they start


def test_a_gate_that_a_variant_removes_has_no_weights():
    for name, gate in (("nig", "i"), ("nfg", "f"), ("nog", "o"), ("cifg", "f")):
        kinds = weights(make(name, I, H))
        assert set("zifo") - {gate} == set(kinds["W"]) == set(kinds["b"])
        assert {("U", kept) for kept in kinds["W"]} == set(kinds["U"])
        assert set("ifo") - {gate} == set(kinds["p"])


def test_without_peepholes_only_the_peepholes_are_gone():
    with_them, without = weights(make("peephole_lstm", I, H)), weights(make("np", I, H))
    assert set(with_them["p"]) == set("ifo")
    assert not without["p"]
    for kind in ("W", "b", "U"):
        assert set(with_them[kind]) == set(without[kind])


def test_full_gate_recurrence_adds_nine_square_matrices_to_the_peephole_lstm():
    fewer, more = make("peephole_lstm", I, H), make("fgr", I, H)
    added = set(weights(more)["U"]) - set(weights(fewer)["U"])
    assert added == {(f"R{source}", target) for source in "ifo" for target in "ifo"}
    assert all(weights(more)["U"][key].shape == (H, H) for key in added)
    count = {cell: sum(parameter.numel() for parameter in cell.parameters()) for cell in (fewer, more)}
    assert count[more] - count[fewer] == 9 * H * H


def test_the_minimal_cells_have_no_recurrent_weights():
    for name in ("min_gru", "min_lstm"):
        cell = make(name, I, H)
        assert set(cell.state_dict()) == {"W", "b"}


def test_the_update_gate_of_mut1_depends_on_no_state():
    assert set(weights(make("mut1", I, H))["U"]) == {("U", "r"), ("U", "n")}


def test_a_deeper_highway_cell_has_matrices_and_biases_for_each_layer_and_one_input():
    cell = make("rhn:depth=4", I, H)
    assert set(weights(cell)["U"]) == {(f"U{layer}", gate) for layer in (1, 2, 3, 4) for gate in "nt"}
    assert set(weights(cell)["p"]) == {f"{gate}{layer}" for layer in (2, 3, 4) for gate in "nt"}
    assert cell.W.shape == (2 * H, I)


def test_parameters_have_the_documented_names_and_shapes():
    shapes = {name: tuple(value.shape) for name, value in make("gru", I, H).state_dict().items()}
    assert shapes == {"W": (3 * H, I), "b": (3 * H,), "U_r_z_n": (3 * H, H), "p_n": (H,)}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # N = 7 blocks, M = 5 inputs: a gate has NM + N^2 + N = 35 + 49 + 7 = 91 weights, a peephole N = 7
        ("peephole_lstm", 4 * 91 + 3 * 7),
        ("nig", 3 * 91 + 2 * 7),
        ("nfg", 3 * 91 + 2 * 7),
        ("nog", 3 * 91 + 2 * 7),
        ("niaf", 4 * 91 + 3 * 7),
        ("noaf", 4 * 91 + 3 * 7),
        ("cifg", 3 * 91 + 2 * 7),
        ("np", 4 * 91),
        ("fgr", 4 * 91 + 3 * 7 + 9 * 49),
    ],
)
def test_the_lstm_variants_have_as_many_parameters_as_their_equations(name, count):
    assert sum(parameter.numel() for parameter in make(name, 5, 7).parameters()) == count


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"irnn"}))
def test_recurrent_matrices_start_orthogonal_gate_by_gate(name):
    torch.manual_seed(0)
    cell = make(fitting(name, H), I, H)
    blocks = [block for (title, _), block in weights(cell)["U"].items() if title in recurrent_titles(cell)]
    for block in blocks:
        shorter = block if len(block) <= block.shape[1] else block.T  # of one that is not square
        assert_allclose(shorter @ shorter.T, np.eye(len(shorter)), atol=1e-5)
    # a block that is the identity, or that of another gate, would pass as orthogonal
    for k, one in enumerate(blocks):
        others = [np.eye(*one.shape), *(other for other in blocks[:k] if other.shape == one.shape)]
        assert all(not np.allclose(one, other) for other in others)


def test_the_irnn_starts_as_the_identity_with_small_input_weights_and_no_bias():
    torch.manual_seed(0)
    cell = make("irnn", 40, 50)
    assert torch.equal(cell.U_h, torch.eye(50))
    assert cell.b.eq(0).all()
    # 2000 draws: the sample's deviation is within 10 % of the true one by six standard errors
    assert cell.W.std().item() == pytest.approx(0.001, rel=0.1)


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"irnn", "on_lstm", "mlstm"}))
def test_input_weights_start_uniform_with_the_width_of_one_gate(name):
    torch.manual_seed(0)
    cell = make(fitting(name, 40), 30, 40)
    found = weights(cell)
    gates = list(found["W"].values())
    gates += [block for (title, gate), block in found["U"].items() if title not in recurrent_titles(cell)]
    assert gates
    for gate in gates:
        bound = np.sqrt(6 / sum(gate.shape))
        assert gate.shape[1] == 30
        assert 0.95 * bound < gate.max() <= bound
        assert -bound <= gate.min() < -0.95 * bound


def recurrent_titles(cell):
    """The names of the recurrent matrices, without their gates."""
    return {title.partition("_")[0] for title in cell.recurrent_matrices()}


def test_input_weights_of_gates_of_several_sizes_start_with_the_width_of_each():
    torch.manual_seed(0)
    for gate in weights(make("on_lstm:chunk=4", 30, 40))["W"].values():
        bound = np.sqrt(6 / (30 + len(gate)))
        assert len(gate) in (10, 40)
        assert 0.9 * bound < gate.max() <= bound
        assert -bound <= gate.min() < -0.9 * bound


def test_the_indrnn_starts_uniform_in_0_to_1():
    torch.manual_seed(0)
    u = make("indrnn", I, 1000).p_u
    assert 0 <= u.min() < 0.01
    assert 0.99 < u.max() <= 1


def test_a_start_may_be_a_tensor_or_a_function_and_a_tensor_of_another_size_is_refused():
    def kind(f):
        class Started(Cell):
            gates = ("f", "n")

            def step(self, x, h):
                return (sigmoid(x.f + self.p_v) * h + self.recur("f", "n", of=h).n + x.n,)

            @property
            def start(self):
                return {"f": f, "p_v": nn.init.ones_, "U_f_n": lambda matrix: matrix.fill_(0.25)}

        return Started

    found = weights(kind(torch.arange(8.0))(I, H))
    assert_allclose(found["b"]["f"], np.arange(8.0))
    assert_allclose(found["b"]["n"], 0.0)
    assert_allclose(found["p"]["v"], 1.0)
    assert_allclose(found["U"]["U", "f"], 0.25)
    fails(lambda: kind(torch.arange(7.0))(I, H), "must be (8,), not (7,)")


STARTING_BIASES = {
    "lstm": {"f": 1.0},
    "lstm:forget_bias=-0.5": {"f": -0.5},
    "lstm:forget_bias=0": {},
    "peephole_lstm": {"f": 1.0},
    "peephole_lstm:forget_bias=2": {"f": 2.0},
    "nig:forget_bias=2": {"f": 2.0},
    "nfg": {},
    "nog:forget_bias=2": {"f": 2.0},
    "niaf:forget_bias=2": {"f": 2.0},
    "noaf:forget_bias=2": {"f": 2.0},
    "np:forget_bias=2": {"f": 2.0},
    "fgr:forget_bias=2": {"f": 2.0},
    "cifg": {"i": -1.0},
    "cifg:input_bias=0.5": {"i": 0.5},
    "multiplicative_lstm:forget_bias=2": {"m": 1.0, "f": 2.0},
    "slstm:forget_bias=2": {"f": 2.0},
    "cfn": {"t": 1.0, "e": -1.0},
    "cfn:forget_bias=2:input_bias=3": {"t": 2.0, "e": 3.0},
    "ugrnn": {"g": 1.0},
    "ugrnn:gate_bias=2": {"g": 2.0},
    "li_gru": {"p_gz": 1.0, "p_gc": 1.0},
    "nested_lstm:forget_bias=2": {"f": 2.0, "p_f": 2.0},
    "mogrifier_lstm:forget_bias=2": {"p_f": 2.0},
    "lstmp:forget_bias=2": {"f": 2.0},
    "on_lstm:forget_bias=2": {"f": 2.0},
    "mlstm:head_size=4:forget_bias=2": {"f": 2.0, "p_gain": 1.0},
    "gru": {},
    "mgu": {},
    "mut2": {},
    "rnn": {},
    "rhn": {"t": -2.0, "p_t2": -2.0, "p_t3": -2.0},
    "rhn:depth=2:transform_bias=-4": {"t": -4.0, "p_t2": -4.0},
    # the forget bias is the one outside of the normalisation, which would take a constant away again
    "layer_norm_lstm:forget_bias=2": {
        **dict.fromkeys([f"p_{gate}{source}" for gate in "ifgo" for source in "xu"], 1.0),
        "p_cc": 1.0,
        "p_f": 2.0,
    },
}


@pytest.mark.parametrize("spec", STARTING_BIASES)
def test_biases_and_vectors_start_at_zero_save_for_the_stated_ones(spec):
    kinds = weights(make(spec, I, H))
    found = {**kinds["b"], **{f"p_{name}": vector for name, vector in kinds["p"].items()}}
    assert STARTING_BIASES[spec].keys() <= found.keys()
    for name, vector in found.items():
        assert_allclose(vector, STARTING_BIASES[spec].get(name, 0.0), err_msg=name)


def test_a_start_for_something_that_the_cell_does_not_have_is_refused():
    class Misspelt(Cell):
        gates = ("f", "n")

        def step(self, x, h):
            return (sigmoid(x.f) * h + x.n,)

        @property
        def start(self):
            return {"g": 1.0}

    fails(lambda: Misspelt(I, H), "Misspelt", "'g'", "f, n")


# ---- graphs


@each_equation
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_graph_computes_to_the_bit_what_the_step_does(spec, dtype):
    cell = randomised(make(spec, I, H), dtype)
    graph = trace(cell)

    def step(x, *state):
        return graph.run(cell, x, *state)

    assert equal_to_the_bit(run(cell), run(cell, step))


@each_equation
def test_a_graph_survives_json(spec):
    text = json.dumps(trace(make(spec, I, H)).to_json(), allow_nan=False)
    assert json.dumps(Graph.from_json(json.loads(text)).to_json()) == text


@each_equation
def test_tracing_changes_nothing_in_the_cell(spec):
    cell = randomised(make(spec, I, H))
    before, weights_before = run(cell), {name: value.clone() for name, value in cell.state_dict().items()}
    trace(cell)
    assert equal_to_the_bit(before, run(cell))
    assert all(torch.equal(value, weights_before[name]) for name, value in cell.state_dict().items())
    assert len(weights_before) == len(cell.state_dict())


@pytest.mark.parametrize(
    "spec",
    [*EQUATIONS, *(kind for name, kind in SHIPPED.items() if fitting(name, H) == name)],
    ids=lambda spec: getattr(spec, "__name__", spec),
)
def test_a_shipped_cell_is_made_again_from_its_stored_form(spec):
    cell = randomised(make(spec, I, H))
    again = make(through_json(stored(spec)), I, H).to(torch.float64)
    again.load_state_dict(cell.state_dict())
    assert again.options == cell.options
    assert equal_to_the_bit(run(cell), run(again))


@each_equation
def test_a_cell_is_made_again_from_nothing_but_its_graph(spec):
    cell = make(spec, I, H)
    graph = Graph.from_json(json.loads(json.dumps(trace(cell).to_json())))
    again = graph_cell("Again", ModeGraphs(graph, graph), dict(cell.start))(I, H)
    # biases and vectors start at fixed values, which must be those of the original, unless a function draws them
    for name, value in cell.state_dict().items():
        if value.dim() == 1 and not callable(cell.start.get(name)):
            assert torch.equal(value, again.state_dict()[name])
    again.to(torch.float64).load_state_dict(randomised(cell).state_dict())
    assert equal_to_the_bit(run(cell), run(again))
    assert json.dumps(trace(again).to_json()) == json.dumps(trace(cell).to_json())


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("lstm", "i f g o c h"),
        ("gru", "r z n h"),
        ("peephole_lstm", "z i f o c h"),
        ("multiplicative_lstm", "m i f g o c h"),
        ("mgu", "f n h"),
        ("rnn", "h"),
    ],
)
def test_a_graph_has_the_names_of_the_equation_and_no_others(name, names):
    assert set(trace(make(name, I, H)).names) == set(names.split())


@each_equation
def test_the_named_values_of_a_graph_are_those_of_the_papers_equation(spec):
    cell = randomised(make(spec, I, H))
    x, states = inputs(cell)[0], starting_states(cell)
    expected = oracle_values(spec, weights(cell), x.numpy(), [state.numpy() for state in states])
    graph, observer = trace(cell), Observer({})
    with torch.no_grad(), observing(observer):
        graph.run(cell, cell.inputs(x), *states)
    assert expected.keys() <= observer.values.keys() == graph.names.keys()
    for name, value in expected.items():
        assert_allclose(observer.values[name].numpy(), value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_tap_gives_a_name_to_a_value_that_has_none():
    cell = make("rhn:depth=2", I, H)
    assert {"n1", "t1", "n2", "t2"} <= set(trace(cell).names)


SPELLINGS = {
    "number - v": lambda a, h: 1 - h + (2 - a),
    "v - number": lambda a, h: (h - 1) * (a - 0.3),
    "number / v": lambda a, h: 2 / h + 3 / a,
    "v / number": lambda a, h: h / 3 - a / 7,
    "number + v * number": lambda a, h: 0.1 + h * 3 + 0.7 * a,
    "v - v": lambda a, h: a - h,
    "v / v": lambda a, h: a / h,
    "-v": lambda a, h: -h + torch.neg(a) + torch.negative(h),
    "v ** 2": lambda a, h: a**2 + h,
    "augmented": lambda a, h: augmented(a, h),
    "methods": lambda a, h: a.tanh() + h.sigmoid().sub(a.relu()).mul(h).div(a.abs()) - h.neg(),
    "functions": lambda a, h: torch.div(torch.sub(a, h), torch.mul(torch.add(a, 1.5), h)),
    "long names": lambda a, h: torch.true_divide(torch.subtract(a, h), torch.multiply(a, 3.0)) + torch.divide(h, a),
    "reflected": lambda a, h: torch.Tensor.__rsub__(h, 1.0) * torch.Tensor.__rdiv__(a, 2.0),
    "functional": lambda a, h: F.tanh(a) + F.sigmoid(a) * F.logsigmoid(h),
    "exp, log, sqrt": lambda a, h: torch.exp(a) + torch.log(sigmoid(h)) + torch.sqrt(torch.abs(a)),
    "maximum, minimum": lambda a, h: torch.maximum(a, h) - torch.minimum(a, h * 2) + a.maximum(-h),
    "normalize": lambda a, h: normalize(a) - h,
}


def augmented(a, h):
    value = a * 2
    value += h
    value *= a
    value -= 3
    return value


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_every_way_to_write_an_operation_is_traced(spelling, dtype):
    kind = type("Spelled", (Cell,), {"gates": ("a",), "step": lambda self, x, h: (SPELLINGS[spelling](x.a, h),)})
    cell = randomised(kind(I, H), dtype)
    graph = Graph.from_json(json.loads(json.dumps(trace(cell).to_json())))
    x, states = cell.inputs(inputs(cell)[0]), starting_states(cell)
    assert torch.equal(graph.run(cell, x, *states)[0], cell.step(x, *states)[0])


def test_the_functional_relu_is_traced():
    class Rectified(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (F.relu(x.a + self.recur("a", of=h).a),)

    assert "relu" in [op.kind for op in trace(Rectified(I, H)).ops]


@pytest.mark.parametrize("compare", [lambda h: h == 0, lambda h: h != 0], ids=["equal", "unequal"])
def test_a_comparison_for_equality_is_one_of_values_and_no_constant(compare):
    class Counting(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (x.a + 1.0 * compare(h),)

    cell = randomised(Counting(I, H))
    h = torch.tensor([[0.0, 1.0] * (H // 2)], dtype=torch.float64)
    x = cell.inputs(inputs(cell)[0, :1])
    wanted = x.a + compare(h).double()
    assert torch.equal(cell.step(x, h)[0], wanted)
    assert torch.equal(trace(cell).run(cell, x, h)[0], wanted)


def test_a_value_that_is_needed_twice_is_computed_once():
    class Twice(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (sigmoid(x.a) * tanh(h) + sigmoid(x.a),)

    assert [op.kind for op in trace(Twice(I, H)).ops].count("sigmoid") == 1


class Flipping(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (torch.flip(x.a + self.recur("a", of=h).a, (-1,)),)


class Branching(Cell):
    gates = ("a",)

    def step(self, x, h):
        u = self.recur("a", of=h)
        return (x.a + u.a if h.sum() > 0 else x.a - u.a,)


class Comparing(Cell):
    gates = ("a",)

    def step(self, x, h):
        u = self.recur("a", of=h)
        return (x.a + u.a if (h > 0).any() else x.a - u.a,)


class Halving(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (x.a + self.recur("a", of=h).a * torch.tensor(0.5),)


class HalvingFromTheLeft(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (x.a + torch.tensor(0.5) * self.recur("a", of=h).a,)


class Doubling(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (torch.add(x.a, self.recur("a", of=h).a, alpha=2),)


class Indexing(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (x.a + self.recur("a", of=h).a[..., [*range(1, 8), 0]],)


UNTRACEABLE = {
    Flipping: ("the operation flip", lambda a, u, h: np.flip(a + u, -1)),
    Branching: ("sum other than over the units", lambda a, u, h: a + u if h.sum() > 0 else a - u),
    Comparing: ("the operation any", lambda a, u, h: a + u if (h > 0).any() else a - u),
    Halving: ("Tensor", lambda a, u, h: a + 0.5 * u),
    HalvingFromTheLeft: ("Tensor", lambda a, u, h: a + 0.5 * u),
    Doubling: ("add with alpha", lambda a, u, h: a + 2 * u),
    Indexing: ("an index", lambda a, u, h: a + np.roll(u, -1, -1)),
}
each_untraceable = pytest.mark.parametrize("kind", UNTRACEABLE, ids=lambda kind: kind.__name__)


@each_untraceable
def test_what_a_graph_cannot_say_is_named(kind):
    with pytest.raises(NotTraceable, match=re.escape(UNTRACEABLE[kind][0])):
        trace(kind(I, H))


def test_a_branch_on_a_single_number_is_named():
    class Switching(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (x.a if h else -x.a,)  # torch takes a tensor for true or false when it holds one number

    with pytest.raises(NotTraceable, match="branch"):
        trace(Switching(I, 1))


def test_a_state_that_is_only_a_number_is_refused_by_trace():
    class Forgetful(Cell):
        gates, states = ("a",), ("h", "c")

        def step(self, x, h, c):
            return x.a, torch.zeros_like(c) if isinstance(c, torch.Tensor) else 0.0

    with pytest.raises(NotTraceable, match="state"):
        trace(Forgetful(I, H))


@each_untraceable
def test_a_cell_without_a_graph_still_has_parameters_and_steps(kind):
    cell = randomised(kind(I, H))
    assert {name: tuple(value.shape) for name, value in cell.state_dict().items()} == {
        "W": (H, I),
        "b": (H,),
        "U_a": (H, H),
    }
    named, h = weights(cell), starting_states(cell)[0].numpy()
    for x, (found, _) in zip(inputs(cell).numpy(), run(cell), strict=True):
        h = UNTRACEABLE[kind][1](x @ named["W"]["a"].T + named["b"]["a"], h @ named["U"]["U", "a"].T, h)
        assert_allclose(found.numpy(), h, rtol=1e-10, atol=1e-12)


# ---- the user's own cells


LEAKY = """\
from torch import tanh

from elman.cells import Cell


class Leaky(Cell):
    gates = ("n",)
    leak: float = 0.5

    def step(self, x, h):
        n = tanh(x.n + self.recur("n", of=h).n)
        h = h + self.leak * (n - h)
        return (h,)

    @property
    def start(self):
        return {"n": self.leak}


class Plain:
    pass
"""


@pytest.fixture
def leaky(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(LEAKY)
    return file


@pytest.mark.parametrize(("options", "leak"), [("", 0.5), (":leak=0.25", 0.25)])
def test_a_cell_in_a_users_file_takes_options_and_computes_its_equation(leaky, options, leak):
    cell = make(f"{leaky}:Leaky{options}", I, H)
    assert cell.options == {"leak": leak}
    assert cell.b.eq(leak).all()
    named, h = weights(randomised(cell)), starting_states(cell)[0].numpy()
    for x, (found, _) in zip(inputs(cell).numpy(), run(cell), strict=True):
        n = np.tanh(x @ named["W"]["n"].T + named["b"]["n"] + h @ named["U"]["U", "n"].T)
        h = (1 - leak) * h + leak * n
        assert_allclose(found.numpy(), h, rtol=1e-10, atol=1e-12)


def test_a_users_cell_is_made_again_without_the_users_file(leaky):
    spec = f"{leaky}:Leaky:leak=0.25"
    cell = randomised(make(spec, I, H))
    form = through_json(stored(spec))
    leaky.unlink()
    kind, options = find(form)
    again = kind(I, H, **options)
    assert issubclass(kind, GraphCell)
    assert again.b.eq(0.25).all()
    again.to(torch.float64).load_state_dict(cell.state_dict())
    assert equal_to_the_bit(run(cell), run(again))
    assert set(trace(again).names) == {"n", "h"}
    assert stored(kind) == form


THEIRS = """\
from __future__ import annotations

from typing import Literal

import torch

from elman.cells import Cell


class Untraceable(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (torch.flip(x.a + self.recur("a", of=h).a, (-1,)),)


class Choosing(Cell):
    gates = ("a",)
    sign: Literal["plus", "minus"] = "plus"

    def step(self, x, h):
        return (x.a + h if self.sign == "plus" else x.a - h,)


class Switched(Cell):
    gates = ("a",)
    kept: bool = True

    def step(self, x, h):
        return (x.a + h if self.kept else x.a,)
"""


@pytest.fixture
def theirs(tmp_path):
    file = tmp_path / "theirs.py"
    file.write_text(THEIRS)
    return file


def test_only_the_name_of_a_cell_without_a_graph_is_stored_and_its_code_must_be_given_again(theirs):
    spec = f"{theirs}:Untraceable"
    assert stored(spec).to_json() == {"name": "Untraceable", "untraceable": True}
    again = through_json(stored(spec))
    fails(lambda: make(again, I, H), "Untraceable of this run could not be traced", "`cell` FILE.py:Untraceable")
    fails(lambda: resolve(again, "lstm"), "`cell` lstm", "FILE.py:Untraceable")
    cell = randomised(make(resolve(again, spec), I, H))
    assert equal_to_the_bit(run(cell), run(cell))


def test_the_cell_of_a_run_that_holds_it_cannot_be_replaced():
    lstm = stored("lstm")
    assert resolve(lstm, None) is lstm
    assert resolve(lstm, "lstm:forget_bias=1") == lstm
    fails(lambda: resolve(lstm, "gru"), "`cell` gru", "lstm", "leave it out")


def test_a_users_file_may_postpone_its_annotations(theirs):
    assert make(f"{theirs}:Choosing:sign=minus", I, H).options == {"sign": "minus"}


def test_an_option_that_is_true_or_false_can_be_switched_off_in_a_name(theirs):
    assert make(f"{theirs}:Switched:kept=false", I, H).options == {"kept": False}


# ---- errors


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lstn", ["lstn", "did you mean 'lstm'"]),
        ("LSTM", ["LSTM", "did you mean 'lstm'"]),
        ("xyzzy", ["xyzzy", "gru", "lstm", "rnn"]),
        ("", ["lstm"]),
        ("lstm:forgetbias=1", ["lstm", "'forgetbias'", "did you mean 'forget_bias'"]),
        ("gru:forget_bias=1", ["gru", "'forget_bias'", "none"]),
        ("lstm:forget_bias", ["forget_bias", "name=value"]),
        ("lstm:forget_bias=nan", ["lstm:forget_bias=nan", "finite"]),
        ("lstm:forget_bias=inf", ["lstm:forget_bias=inf", "finite"]),
        ("lstm:forget_bias=much", ["lstm:forget_bias=much", "float"]),
        ("rnn:activation=tanhh", ["rnn:activation", "'tanhh'", "did you mean 'tanh'"]),
        ("rhn:depth=x", ["rhn:depth=x", "int"]),
        ("rhn:depth=2.5", ["rhn:depth=2.5", "int"]),
        ("rhn:depth=0", ["rhn:depth=0", "from 1 to 32"]),
        ("rhn:depth=1000000000", ["rhn:depth=1000000000", "from 1 to 32"]),
    ],
)
def test_a_wrong_name_or_option_is_refused_in_one_line_with_the_right_word(spec, words):
    fails(lambda: make(spec, I, H), *words)


def test_a_number_that_is_no_whole_number_is_no_depth():
    fails(lambda: SHIPPED["rhn"](I, H, depth=2.5), "rhn:depth=2.5", "int")


@pytest.mark.parametrize("wrong", [3, None, int, nn.LSTM, make("lstm", I, H)], ids=lambda wrong: str(wrong)[:20])
def test_what_is_no_cell_is_refused(wrong):
    fails(lambda: find(wrong), "name", "class", "file.py:Class")


def test_a_cell_file_that_is_missing_is_named(tmp_path):
    fails(lambda: find(f"{tmp_path}/absent.py:Leaky"), "absent.py", "does not exist")


def test_nothing_is_left_beside_a_cell_file(leaky, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    make(f"{leaky}:Leaky", I, H)
    assert list(leaky.parent.iterdir()) == [leaky]


def test_a_class_that_the_cell_file_lacks_is_refused_with_the_nearest_one(leaky):
    fails(lambda: find(f"{leaky}:Leeky"), "mine.py", "'Leeky'", "did you mean 'Leaky'")


def test_a_class_in_a_file_that_is_no_cell_is_refused(leaky):
    fails(lambda: find(f"{leaky}:Plain"), "mine.py", "Plain", "no Cell")


def test_an_unknown_option_of_a_users_cell_is_refused_with_the_nearest_one(leaky):
    fails(lambda: make(f"{leaky}:Leaky:leek=1", I, H), "Leaky", "'leek'", "did you mean 'leak'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from elman.cells import Cell\n\nclass A(Cell)\n    pass\n", ["in line 3", "SyntaxError"]),
        ("x = 1\n\ny = x + undefined\n", ["in line 3", "NameError", "undefined"]),
        ("import no_such_package\n", ["in line 1", "no_such_package"]),
        ("from elman.cells import Cell\n\nclass A(Cell, name='lstm'):\n    pass\n", ["in line 3", "'lstm'"]),
    ],
)
def test_a_cell_file_that_fails_is_named_with_the_line(tmp_path, text, words):
    (tmp_path / "broken.py").write_text(text)
    fails(lambda: find(f"{tmp_path}/broken.py:A"), "broken.py", *words)
    assert shipped()["lstm"] is SHIPPED["lstm"]


def returns_a_tensor(self, x, h):
    return x.a


def returns_a_list(self, x, h):
    return [x.a]


def returns_too_many(self, x, h):
    return x.a, h


def returns_another_width(self, x, h):
    return (torch.cat([x.a, h], -1),)


def uses_a_gate_that_is_not_there(self, x, h):
    return (x.q,)


def uses_a_product_that_is_not_there(self, x, h):
    return (x.a + self.recur("a", of=h).q,)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (returns_a_tensor, ["a tuple of 1 tensor, the new states: h (B, 8)"]),
        (returns_a_list, ["a tuple of 1 tensor", "h (B, 8)"]),
        (returns_too_many, ["a tuple of 1 tensor", "h (B, 8)"]),
        (returns_another_width, ["a tuple of 1 tensor", "h (B, 8)"]),
        (uses_a_gate_that_is_not_there, ["'q'", "gates are a"]),
        (uses_a_product_that_is_not_there, ["'q'", "gates are a"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_step_that_breaks_the_contract_is_refused_when_the_cell_is_made(step, words):
    kind = type("Broken", (Cell,), {"gates": ("a",), "step": step})
    fails(lambda: kind(I, H), "Broken", *words)


@pytest.mark.parametrize(
    ("names", "words"),
    [({"gates": ("a b",)}, "the gates"), ({"gates": ("_a",)}, "the gates"), ({"gates": ("a", "a")}, "the gates"),
     ({"states": ("1",)}, "the states"), ({"states": ()}, "the states"), ({"gates": ("raw",)}, "x.raw is the input"),
     ({"bias": ("q",)}, "unknown gate in Broken.bias"), ({"sizes": {"q": 3}}, "unknown gate or state in Broken.sizes"),
     ({"sizes": {"a": 0}}, "integer above 0, not 0"), ({"sizes": {"a": 2.5}}, "integer above 0, not 2.5"),
     ({"sizes": {"raw": 3}}, "needs input_size=3, not 5")],
    ids=str,
)  # fmt: skip
def test_names_and_sizes_that_are_none_are_refused(names, words):
    kind = type("Broken", (Cell,), {"gates": ("a",), "step": returns_a_tensor, **names})
    fails(lambda: kind(I, H), "Broken", words)


def test_a_cell_without_gates_needs_something_else_to_train():
    class Empty(Cell):
        def step(self, x, h):
            return (0.5 * h,)

    fails(lambda: Empty(I, H), "Empty", "nothing to train")
    uses = type("Uses", (Cell,), {"step": lambda self, x, h: (x.a,)})
    fails(lambda: uses(I, H), "Uses", "'a'", "its gates are none")


def test_heads_that_do_not_divide_a_size_are_refused():
    class Headed(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (x.a + self.recur("a", of=h, heads=3).a,)

    fails(lambda: Headed(I, H), "8 and 8", "multiples of heads=3")


def test_two_cells_cannot_have_one_name():
    with pytest.raises(TypeError, match=r"'lstm'.*LSTM and .*Mine") as caught:

        class Mine(Cell, name="lstm"):
            gates = ("a",)

    assert "\n" not in str(caught.value)
    assert shipped()["lstm"] is SHIPPED["lstm"]


def test_a_step_that_is_another_at_every_call_is_refused():
    calls = iter(range(1000))

    class Counting(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (next(calls) * x.a + self.recur("a", of=h).a,)

    with pytest.raises(NotTraceable, match="another at every call"):
        trace(Counting(I, H))


def test_a_step_that_draws_random_numbers_is_refused_and_tracing_draws_none():
    class Drawing(Cell):
        gates = ("a",)

        def step(self, x, h):
            torch.rand(()), np.random.random(), random.random()  # noqa: NPY002
            return (x.a,)

    def numbers():
        return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002

    cell, states = Drawing(I, H), RandomStates.record()
    expected = numbers()
    states.restore("here")
    with pytest.raises(NotTraceable, match="draws random numbers"):
        trace(cell)
    assert numbers() == expected


@pytest.mark.parametrize("draw", [random.random, np.random.random, lambda: torch.rand(()).item()])
def test_a_step_that_draws_only_in_training_is_refused(draw):
    class Noisy(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (x.a * 2 if self.training and draw() < 2 else x.a,)  # the same at every call

    with pytest.raises(NotTraceable, match="draws random numbers"):
        trace(Noisy(I, H))


OWN, GENERATOR = random.Random(0), np.random.default_rng(0)


@pytest.mark.parametrize(
    "draw",
    [lambda: OWN.choice((1, 2)), lambda: random.SystemRandom().choice((1, 2)), lambda: secrets.randbelow(2),
     lambda: int(GENERATOR.integers(2))],
    ids=["own generator", "system", "secrets", "generator of NumPy"],
)  # fmt: skip
def test_one_of_two_steps_by_chance_is_refused_every_time(draw):
    class Coin(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (x.a * draw(),)

    for _ in range(100):
        with pytest.raises(NotTraceable):
            trace(Coin(I, H))


# ---- steps that depend on the mode


class InMode(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (tanh(x.a * 2 if self.training else x.a) + 0.5 * h,)


class Gain(nn.Module):
    def forward(self, value):
        return value * 2 if self.training else value


class WithSubmodule(Cell):
    gates = ("a",)

    def __init__(self, *sizes):
        super().__init__(*sizes)  # which calls step
        self.gain = Gain()

    def step(self, x, h):
        gain = self.gain if "gain" in self._modules else Gain()
        return (tanh(gain(x.a)) + 0.5 * h,)


class Flagged(Cell):
    gates = ("a",)
    noisy: bool = True

    def train(self, mode=True):
        self.noisy = mode
        return super().train(mode)

    def step(self, x, h):
        return (tanh(x.a * 2 if self.noisy else x.a) + 0.5 * h,)


class Recurring(Cell):
    """Whose own products are part of its equation."""

    gates = ("a",)

    def recur(self, *gates, of, **options):
        return super().recur(*gates, of=of * 2 if self.training else of, **options)

    def step(self, x, h):
        return (tanh(x.a + self.recur("a", of=h).a),)


MODES = [InMode, WithSubmodule, Flagged, Recurring]
each_mode_cell = pytest.mark.parametrize("kind", MODES, ids=lambda kind: kind.__name__)


@each_mode_cell
def test_a_step_that_depends_on_the_mode_has_a_graph_for_each(kind):
    cell = randomised(kind(I, H))
    again = make(through_json(stored(kind)), I, H).to(torch.float64)
    again.load_state_dict(cell.state_dict())
    assert not trace_modes(cell).same
    assert trace_modes(again) == trace_modes(cell)
    runs = []
    for training in (True, False, True):
        cell.train(training), again.train(training)
        assert trace(again) == trace(cell)
        graph = trace(cell)
        assert equal_to_the_bit(run(cell), run(again))
        assert equal_to_the_bit(run(cell), run(cell, lambda x, *state, graph=graph: graph.run(cell, x, *state)))
        runs.append(run(cell))
    assert not equal_to_the_bit(runs[0], runs[1])


def test_a_step_that_is_the_same_in_both_modes_is_stored_once(leaky):
    assert set(stored(f"{leaky}:Leaky").to_json()) == {"name", "graph", "start"}
    assert set(stored(InMode).to_json()) == {"name", "graph", "evaluation", "start"}


class DroppingByFunction(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (F.dropout(tanh(x.a), 0.5, training=self.training) + h,)


class DroppingByModule(Cell):
    gates = ("a",)

    def __init__(self, *sizes):
        super().__init__(*sizes)  # which calls step
        self.drop = nn.Dropout(0.5)

    def step(self, x, h):
        return ((self.drop if "drop" in self._modules else nn.Dropout(0.5))(tanh(x.a)) + h,)


class DroppingInTraining(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (F.dropout(tanh(x.a)) + h if self.training else tanh(x.a) + h,)


class Nested(Cell):
    gates = ("a",)

    def __init__(self, *sizes):
        super().__init__(*sizes)  # which calls step
        self.inner = make("rnn", 1, self.hidden_size)

    def step(self, x, h):
        return self.inner.step(self.inner.inputs(x.a[..., :1], x.a), h) if "inner" in self._modules else (x.a + h,)


class InGradientMode(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (tanh(x.a * 2 if torch.is_grad_enabled() else x.a) + 0.5 * h,)


class InInferenceMode(Cell):
    gates = ("a",)

    def step(self, x, h):
        return (tanh(x.a * 2 if torch.is_inference_mode_enabled() else x.a) + 0.5 * h,)


class Remembering(Cell):
    gates = ("a",)
    calls: int = 0

    def step(self, x, h):
        self.calls += 1
        return (x.a + h,)


class Projecting(Cell):
    gates = ("a",)

    def input_projection(self, x):
        return super().input_projection(x) * (2 if self.training else 1)

    def step(self, x, h):
        return (x.a + h,)


class Feeding(Cell):
    gates = ("a",)

    def inputs(self, x, projected=None):
        return super().inputs(x * 2 if self.training else x, projected)

    def step(self, x, h):
        return (x.a + h,)


class Multiplying(Cell):
    gates = ("a",)

    def _product(self, names, of, size, heads):
        return super()._product(names, of * 2, size, heads)

    def step(self, x, h):
        return (x.a + self.recur("a", of=h).a,)


NOT_BY_MODE = {
    DroppingByFunction: "dropout", DroppingByModule: "dropout", DroppingInTraining: ", in training",
    Nested: "an index", InGradientMode: "whether gradients", InInferenceMode: "whether gradients",
    Remembering: "sets the attribute calls", Projecting: "input_projection", Feeding: "inputs", Multiplying: "_product",
}  # fmt: skip


@pytest.mark.parametrize("kind", NOT_BY_MODE, ids=lambda kind: kind.__name__)
def test_a_step_that_depends_on_more_than_the_mode_is_refused_with_the_reason(kind):
    with pytest.raises(NotTraceable, match=NOT_BY_MODE[kind]):
        trace(kind(I, H))
    assert not stored(kind).traceable


class FlaggedByEval(Cell):
    """Its own `eval` is called by nobody but the user: a layer calls `train(False)`."""

    gates = ("a",)
    noisy: bool = True

    def eval(self):
        self.noisy = False
        return super().eval()

    def step(self, x, h):
        return (tanh(x.a * 2 if self.noisy else x.a) + 0.5 * h,)


def test_a_flag_that_eval_alone_changes_counts_only_where_it_is_called():
    layer = nn.Sequential(FlaggedByEval(I, H)).eval()
    before = trace_modes(layer[0])
    assert before.same
    layer[0].eval()
    for graph in (trace(layer[0]), trace(layer.train()[0])):
        assert graph != before.training


def test_a_cell_between_its_modes_is_refused():
    cell = WithSubmodule(I, H)
    cell.gain.eval()
    with pytest.raises(NotTraceable, match="another now than after"):
        trace(cell)
    assert trace(cell.eval()) == trace_modes(WithSubmodule(I, H)).evaluation


def test_a_parameter_that_the_step_has_in_evaluation_alone_is_named():
    class Late(Cell):
        gates = ("a",)

        def step(self, x, h):
            return (x.a if self.training else x.a + self.recur("a", of=h).a * self.p_late,)

    with pytest.raises(NotTraceable, match=r"U_a|p_late"):
        trace(Late(I, H))
