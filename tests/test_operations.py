"""All operations of a step: every one against torch, and random equations of values of any size against the loop."""

import json

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from elman import Cell
from elman.cells.graph import Graph
from elman.cells.op import BINARY, COMPARISONS, OPERANDS, REDUCTIONS, UNARY
from elman.cells.ops import log_sigmoid, matvec, normalize, outer, sum_groups
from elman.cells.symbolic import _CALLS, _KIND_OF
from elman.cells.trace import NotTraceable, trace
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent.backend import Span
from elman.recurrent.fused import Fused
from elman.recurrent.loop import Loop

FUSED, LOOP = Fused(), Loop()
H, I = 12, 6
some = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])

# ---- every function that a step may call

# each twice where it has options; a and b are values (B, H), c is one in (0.5, 1.5)
CALLS = {
    torch.softmax: [lambda a, b, c: torch.softmax(a, -1), lambda a, b, c: torch.softmax(a, dim=1)],
    F.softmax: [lambda a, b, c: F.softmax(a, -1), lambda a, b, c: F.softmax(a, dim=-1)],
    torch.cumsum: [lambda a, b, c: torch.cumsum(a, -1), lambda a, b, c: a.cumsum(dim=-1)],
    torch.sum: [lambda a, b, c: torch.sum(a, -1, keepdim=True) + b, lambda a, b, c: a.sum(-1, True) * b],
    torch.mean: [lambda a, b, c: torch.mean(a, -1, keepdim=True) + b, lambda a, b, c: a.mean(-1, keepdim=True) - b],
    torch.amax: [lambda a, b, c: torch.amax(a, -1, keepdim=True) + b, lambda a, b, c: b / (9 + a.amax(-1, True))],
    torch.repeat_interleave: [lambda a, b, c: torch.repeat_interleave(a.sum(-1, keepdim=True) + 0 * a, 1, -1),
                              lambda a, b, c: a.repeat_interleave(1, dim=-1)],
    torch.clamp: [lambda a, b, c: torch.clamp(a, -0.5, 0.5), lambda a, b, c: a.clamp(min=0.1) + b.clamp(max=0.2)],
    torch.square: [lambda a, b, c: torch.square(a), lambda a, b, c: a.square()],
    torch.reciprocal: [lambda a, b, c: torch.reciprocal(c)],
    torch.rsqrt: [lambda a, b, c: torch.rsqrt(c)],
    torch.exp2: [lambda a, b, c: torch.exp2(a)],
    F.softplus: [lambda a, b, c: F.softplus(a), lambda a, b, c: F.softplus(a, beta=3)],
    F.silu: [lambda a, b, c: F.silu(a)],
    F.elu: [lambda a, b, c: F.elu(a), lambda a, b, c: F.elu(a, alpha=0.3)],
    F.leaky_relu: [lambda a, b, c: F.leaky_relu(a), lambda a, b, c: F.leaky_relu(a, 0.2)],
    F.hardtanh: [lambda a, b, c: F.hardtanh(a), lambda a, b, c: F.hardtanh(a, -0.3, 0.4)],
    F.hardsigmoid: [lambda a, b, c: F.hardsigmoid(a * 4)],
    F.relu6: [lambda a, b, c: F.relu6(a * 6)],
    F.softsign: [lambda a, b, c: F.softsign(a)],
    outer: [lambda a, b, c: matvec(outer(a, b, 4), c, 4), lambda a, b, c: matvec(outer(a, b), c)],
    matvec: [lambda a, b, c: matvec(outer(a, b, 2), c, 2)],
    sum_groups: [lambda a, b, c: sum_groups(a, 3).repeat_interleave(3, -1)],
}  # fmt: skip
UNARY_CALLS = {torch.log: lambda f, a, b, c: f(c), torch.sqrt: lambda f, a, b, c: f(c)}
BINARY_CALLS = {
    torch.div: lambda f, a, b, c: f(a, c), torch.pow: lambda f, a, b, c: f(c, b),
    torch.Tensor.__rpow__: lambda f, a, b, c: f(b, 1.7),
    torch.Tensor.__rdiv__: lambda f, a, b, c: f(c, 1.7), torch.Tensor.__rtruediv__: lambda f, a, b, c: f(c, 1.7),
    torch.true_divide: lambda f, a, b, c: f(a, c), torch.divide: lambda f, a, b, c: f(a, c),
    torch.where: lambda f, a, b, c: f(a < b, a, c),
    torch.Tensor.__rsub__: lambda f, a, b, c: f(a, 1.7),
}  # fmt: skip


def written(function):
    """The ways in which a step may call a function of `_KIND_OF`."""
    kind = _KIND_OF[function]
    if kind in UNARY:
        own = UNARY_CALLS.get(function, lambda f, a, b, c: f(a))
        return [lambda a, b, c: own(function, a, b, c)]
    own = BINARY_CALLS.get(function, lambda f, a, b, c: f(a, b))
    if kind in COMPARISONS:
        return [lambda a, b, c: torch.where(own(function, a, b, c), a, c), lambda a, b, c: (a > 0) * (b < 0) * c]
    return [lambda a, b, c: own(function, a, b, c)]


# of a tensor and a value of the step, which can be no operation
METHODS = (Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.pow)
FUNCTIONS = CALLS | {function: written(function) for function in _KIND_OF if function not in METHODS}


def test_every_function_that_is_traced_is_tested():
    assert set(CALLS) == set(_CALLS)
    assert {_KIND_OF[function] for function in _KIND_OF} >= {*UNARY, *BINARY, *COMPARISONS} - {
        "normalize",
        "softmax",
        "cumsum",
    }


def cell_of(function):
    class Calling(Cell):
        gates, sizes = ("a", "c"), dict.fromkeys("ach", H)

        def step(self, x, h):
            return (function(x.a, h, torch.sigmoid(x.c) + 0.5),)

    torch.manual_seed(0)
    cell = Calling(I, H).double()
    for weight in cell.parameters():
        nn.init.normal_(weight, std=0.5)
    return cell


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{getattr(f, '__module__', '')}.{f.__name__}")
def test_what_is_traced_computes_what_torch_does(function):
    for number, way in enumerate(FUNCTIONS[function]):
        cell = cell_of(way)
        graph = Graph.from_json(json.loads(json.dumps(trace(cell).to_json())))
        x, h = cell.inputs(torch.randn(5, I).double()), torch.randn(5, H).double()
        assert_close(graph.run(cell, x, h), cell.step(x, h), rtol=1e-12, atol=1e-14, msg=f"way {number}")


def operators():
    """Operators and methods of Python, with numbers on either side."""
    binary = ["+", "-", "*", "/", "**"]
    texts = [f"c {sign} 1.5" for sign in binary] + [f"1.5 {sign} c" for sign in binary]
    texts += [f"(a {sign} b) * c" for sign in ("<", "<=", ">", ">=", "==", "!=")]
    texts += [f"(0.25 {sign} b) * c" for sign in ("<", "<=", ">", ">=", "==", "!=")]
    return [*texts, "abs(a)", "-a", "a ** 2", "a ** 3", "c ** -1", "c ** 0.5", "a.where(a > b, b)", "c.pow(2.0)"]


@pytest.mark.parametrize("text", operators())
def test_every_operator_computes_what_torch_does(text):
    cell = cell_of(eval(f"lambda a, b, c: {text}"))
    x, h = cell.inputs(torch.randn(5, I).double()), torch.randn(5, H).double()
    assert_close(trace(cell).run(cell, x, h), cell.step(x, h), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("function", "reason"),
    [(lambda a, b, c: a.sum() + b, "sum other than over the units"), (lambda a, b, c: a.mean(-1) + b, "keepdim=True"),
     (lambda a, b, c: torch.softmax(a, 0), "softmax other than"), (lambda a, b, c: a.cumsum(0), "cumsum other than"),
     (lambda a, b, c: a.repeat_interleave(2), "without dim=-1"), (lambda a, b, c: a[:, :3], "an index"),
     (lambda a, b, c: (a < b) + c, "of a comparison"), (lambda a, b, c: torch.where(a, b, c), "no comparison"),
     (lambda a, b, c: a.repeat_interleave(2, -1) * b, "different sizes"), (lambda a, b, c: torch.erf(a), "erf")],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_traced_is_named(function, reason):
    class Calling(Cell):
        gates = ("a",)

        def step(self, x, h):
            value = function(x.a, h, x.a) if not isinstance(h, Tensor) else x.a
            return (x.a if isinstance(h, Tensor) else value,)

    with pytest.raises(NotTraceable, match=reason):
        trace(Calling(I, H))


# ---- random equations

HIDDEN, HALF, INPUT = "hidden", "half", "input"


class Made:
    """Appends random operations to a step: `draw(strategy)` chooses. The same choices are the same step."""

    def __init__(self, plan):
        self.plan = plan

    def run(self, cell, x, state):
        values = {"hidden": [x.a, state[0]], "half": [x.b, state[1]], "input": [x.raw], "three": []}
        sizes = {"hidden": cell.hidden_size, "half": cell.hidden_size // 2, "input": cell.input_size, "three": 3}
        values["hidden"].append(torch.sigmoid(cell.p_v) * values["hidden"][0])
        for number, (kind, size, i, j, other, heads) in enumerate(self.plan):
            of = values[size] or values["half"]
            size = size if values[size] else "half"
            v, w = of[i % len(of)], of[j % len(of)]
            c = torch.sigmoid(w) + 0.5
            made, into = None, size
            match kind:
                case "product":
                    made, into = cell.recur("q", of=v, name=f"M{number}", size=sizes[other]).q, other
                case "project":
                    made, into = cell.project("q", "r", of=v, name=f"P{number}", size=sizes[other]).r, other
                case "heads" if size in ("hidden", "half") and other in ("hidden", "half"):
                    made, into = cell.recur("q", of=v, name=f"B{number}", size=sizes[other], heads=heads).q, other
                case "repeat" if size == "half":
                    made, into = v.repeat_interleave(2, -1), "hidden"
                case "sum_groups" if size == "hidden":
                    made, into = sum_groups(v, 2), "half"
                case "memory" if size in ("hidden", "half"):
                    # heads of so many units: hidden/2 times 3 would be no size of a graph
                    parts = sizes[size] // ((2 if heads == 1 else 6) if size == "half" else 2 * heads)
                    made = matvec(outer(torch.tanh(v), torch.tanh(w), parts), c, parts)
                case "sum" | "mean" | "amax":
                    reduced = {"sum": v.sum, "mean": v.mean, "amax": v.amax}[kind](-1, keepdim=True)
                    made = w + torch.tanh(reduced)
                case "one number a row":
                    made = torch.softmax(v, -1) * v.mean(-1, keepdim=True) - w.amax(-1, keepdim=True)
                case "where":
                    made = torch.where(v < w, v, 0.5 * c)
                case "masked":
                    made = (v >= 0.1) * (w != v) * c
                case "where of a number":
                    made = torch.where(v.mean(-1, keepdim=True) > 0, v, w)
                case "random":
                    made = v * cell.rand_like(v) + cell.rand_like(w, "sequence")
                case "dropout":
                    made = cell.dropout(v, 0.3)
                case "pow":
                    made = c**1.5 + torch.tanh(v) ** 2 + c ** torch.tanh(v)
                case "waves":
                    made = torch.sin(v) + torch.cos(w) * torch.floor(c * 2)
                case "roots":
                    made = torch.sqrt(c) * torch.log(c) + torch.sign(v) * torch.exp(torch.tanh(w))
                case "softplus":
                    made = F.softplus(v) - log_sigmoid(w)
                case "bounds":
                    made = v.clamp(-0.4, 0.6) + torch.maximum(v, w) - torch.minimum(v, 0.3 * w)
                case "cumsum":
                    made = torch.tanh(torch.cumsum(v, -1))
                case "softmax":
                    made = torch.softmax(v, -1) * w
                case "normalize":
                    made = normalize(v + w * w)
                case "products":
                    made = v * w / c
            if made is not None:
                values[into].append(made)
        h, k = values["hidden"][-1], values["half"][-1]
        return cell.recur("y", of=torch.tanh(h), name="Y", size=5).y, torch.tanh(h), torch.tanh(k)


KINDS = [
    "product", "product", "project", "heads", "repeat", "sum_groups", "memory", "sum", "mean", "amax",
    "one number a row", "where", "masked", "where of a number", "random", "dropout", "pow", "waves", "roots",
    "softplus", "bounds", "cumsum", "softmax", "normalize", "products",
]  # fmt: skip
SIZES = ["hidden", "half", "input", "three"]
operation = st.tuples(st.sampled_from(KINDS), st.sampled_from(SIZES), st.integers(0, 9), st.integers(0, 9),
                      st.sampled_from(SIZES), st.sampled_from([1, 2, 3]))  # fmt: skip
any_way = {"lengths": st.booleans(), "reset": st.booleans(), "reverse": st.booleans()}


def cell_of_plan(plan) -> Cell:
    made = Made(plan)

    class Random(Cell):
        gates, states, output, bias = ("a", "b", "d"), ("h", "k"), "y", ("a",)

        @property
        def sizes(self):
            return {"b": self.hidden_size // 2, "k": self.hidden_size // 2, "y": 5, "d": 7}

        def step(self, x, h, k):
            return made.run(self, x, (h, k))

    torch.manual_seed(0)
    cell = Random(I, H)
    for weight in cell.parameters():
        nn.init.normal_(weight, std=0.4)
    return cell


def span_of(cell, lengths, reset, reverse, rows=4, steps=3, dtype=torch.float64):
    torch.manual_seed(1)
    x = torch.randn(rows, steps, cell.input_size, dtype=dtype)
    state, initial = (tuple(torch.randn(rows, size, dtype=dtype).requires_grad_() for size in cell.state_sizes)
                      for _ in range(2))  # fmt: skip
    ends, flags = (torch.tensor([steps, 0, 2, 1])[:rows], torch.rand(rows, steps) < 0.4)
    flags = flags & (torch.arange(steps) < ends[:, None]) if lengths else flags
    if lengths:
        x = x.masked_fill((torch.arange(steps) >= ends[:, None])[..., None], 0.0)
    return Span(x.requires_grad_(), state, initial, ends if lengths else None, flags if reset else None, reverse)


def everything(backend, cell, span):
    """Outputs, states and all gradients; the seed of the random numbers is the same."""
    torch.manual_seed(2)
    y, state = backend.unroll(cell, span)
    torch.manual_seed(3)
    total = sum((value.double() * torch.randn(value.shape, dtype=torch.double)).sum() for value in (y, *state))
    leaves = {"x": span.x} | {f"state {n}": value for n, value in enumerate(span.state)}
    leaves |= {f"initial {n}": value for n, value in enumerate(span.initial)} | dict(cell.named_parameters())
    gradients = torch.autograd.grad(total, [*leaves.values()], materialize_grads=True)
    found = {"y": y} | {f"final {n}": value for n, value in enumerate(state)}
    found |= {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


def check(found, wanted, relative):
    for name, right in wanted.items():
        if right.numel():
            error, largest = (found[name].to(right) - right).abs().max(), right.abs().max()
            assert error <= relative * max(largest, 1e-3), f"{name}: {error:.2g} off, the largest is {largest:.2g}"


def agrees(plan, lengths, reset, reverse):
    cell = cell_of_plan(plan).double()
    span = span_of(cell, lengths, reset, reverse)
    assert FUSED.refuses(cell, span) is None
    wanted = everything(LOOP, cell, span)
    if all(value.isfinite().all() and value.abs().max() < 1e6 for value in wanted.values() if value.numel()):
        check(everything(FUSED, cell, span), wanted, 1e-9)


# all kinds in one step
WHOLE = [
    (kind, size, number, number + 1, other, heads)
    for number, (kind, size, other, heads) in enumerate([
        ("product", "input", "three", 1), ("project", "input", "hidden", 1), ("heads", "hidden", "half", 3),
        ("repeat", "half", "half", 1), ("sum_groups", "hidden", "half", 1), ("memory", "hidden", "half", 2),
        ("sum", "three", "half", 1), ("mean", "half", "half", 1), ("amax", "hidden", "half", 1),
        ("one number a row", "input", "half", 1), ("where", "hidden", "half", 1), ("masked", "half", "half", 1),
        ("where of a number", "hidden", "half", 1), ("random", "hidden", "half", 1), ("dropout", "half", "half", 1),
        ("pow", "three", "half", 1), ("waves", "hidden", "half", 1), ("roots", "half", "half", 1),
        ("softplus", "input", "half", 1), ("bounds", "hidden", "half", 1), ("cumsum", "half", "half", 1),
        ("softmax", "hidden", "half", 1), ("normalize", "hidden", "half", 1), ("products", "half", "half", 1),
        ("product", "three", "hidden", 1), ("product", "input", "half", 1),
    ])
]  # fmt: skip


def test_a_step_has_all_operations():
    graph = trace(cell_of_plan(WHOLE))
    assert {op.kind for op in graph.ops} >= set(OPERANDS) - {"neg", "relu", "abs", "eq", "lt", "le"}
    assert {*REDUCTIONS} < {op.kind for op in graph.ops}
    sizes = {shape.size for shape in graph.shapes}
    assert sizes >= {"hidden", "hidden/2", "input", 3, 5}


@pytest.mark.parametrize(("lengths", "reset", "reverse"), [(True, True, False), (False, False, True)])
def test_a_step_of_all_operations_equals_the_loop(lengths, reset, reverse):
    agrees(WHOLE, lengths, reset, reverse)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_two_threads_give_the_same_bits(rows, threads):
    cell, runs = cell_of_plan(WHOLE).double(), []
    span = span_of(cell, False, True, False, rows)
    for count in (1, 2):
        threads(count)
        runs.append(everything(FUSED, cell, span))
    for name, value in runs[0].items():
        if not name.startswith("gradient"):
            assert torch.equal(value, runs[1][name]), name
    check(*runs, 1e-12)


@pytest.mark.slow
@settings(some, max_examples=25, derandomize=False)
@given(plan=st.lists(operation, min_size=3, max_size=10), **any_way)
def test_many_random_equations_of_any_size_equal_the_loop(plan, lengths, reset, reverse):
    agrees(plan, lengths, reset, reverse)


@settings(some, max_examples=1)
@given(plan=st.lists(operation, min_size=6, max_size=8), **any_way)
def test_a_random_equation_of_any_size_equals_the_loop(plan, lengths, reset, reverse):
    agrees(plan, lengths, reset, reverse)


@pytest.mark.slow
@settings(some, max_examples=10, derandomize=False)
@given(plan=st.lists(operation, min_size=3, max_size=8), **any_way)
def test_random_equations_in_float32_and_bfloat16_are_near_those_of_float64(plan, lengths, reset, reverse):
    # a step with a jump in it may be on the other side of it after rounding
    plan = [each for each in plan if each[0] not in ("where", "masked", "where of a number", "waves", "roots", "amax")]
    cell = cell_of_plan(plan)
    exact_cell = cell_of_plan(plan).double()
    exact = everything(LOOP, exact_cell, span_of(exact_cell, lengths, reset, reverse))
    assume(all(value.isfinite().all() and value.abs().max() < 1e3 for value in exact.values() if value.numel()))
    single = span_of(exact_cell, lengths, reset, reverse)
    single = Span(single.x.detach().float().requires_grad_(), *(
        tuple(value.detach().float().requires_grad_() for value in values) for values in (single.state, single.initial)
    ), single.lengths, single.reset, single.reverse)  # fmt: skip
    check(everything(FUSED, cell, single), exact, 1e-3)
    if bfloat16_hardware(torch.device("cpu")):
        with torch.autocast("cpu", torch.bfloat16):
            rough = {backend: everything(backend, cell, single) for backend in (FUSED, LOOP)}
        for name, right in exact.items():
            error, allowed = ((rough[backend][name].double() - right).norm() for backend in (FUSED, LOOP))
            assert error <= 3 * (allowed + 0.01 * right.norm()) + 1e-2, f"{name}: {error:.2g}, the loop {allowed:.2g}"
