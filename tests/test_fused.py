"""The fused backend: generated kernels against the loop, their refusals, and how they are compiled and kept."""

import copy
import gc
import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, nn, tanh
from torch.testing import assert_close

from elman import Cell, Recurrent, UserError, hold, record
from elman.cells.graph import Graph, ModeGraphs
from elman.cells.graph_cell import graph_cell
from elman.cells.op import Op
from elman.cells.registry import make, stored
from elman.cells.shipped import shipped
from elman.kernels.compiler import NoKernel, load
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent.backend import Backend, Span
from elman.recurrent.fused import Fused
from elman.recurrent.fused_steps import StepGradients
from elman.recurrent.loop import Loop
from elman.recurrent.state import flatten, over
from fitting import fitting

ROOT = Path(__file__).parent.parent
LEAKY = f"{ROOT}/examples/leaky_gru.py:LeakyGRU"  # a user's own cell
CELLS = [*shipped(), LEAKY]
DIFFERENT = [
    "lstm",
    "rhn",
    "layer_norm_lstm",
    "min_gru",
    "slstm",
    "mogrifier_lstm",
    LEAKY,
]  # one of each kind of equation
FUSED, LOOP = Fused(), Loop()
# every number of steps, of rows and of units, with and without lengths and reset, and both directions
SHAPES = [
    {"steps": 1, "rows": 33, "hidden": 7},
    {"steps": 2, "rows": 3, "hidden": 100, "lengths": True, "reset": True, "reverse": True},
    {"steps": 17, "rows": 1, "hidden": 64, "reset": True},
    {"steps": 17, "rows": 33, "hidden": 1, "lengths": True, "reverse": True},
    {"steps": 17, "rows": 3, "hidden": 7, "lengths": True, "reset": True},
    {"steps": 17, "rows": 33, "hidden": 100, "reverse": True},
    {"steps": 1, "rows": 1, "hidden": 64, "lengths": True, "reverse": True, "reset": True},
]
ROUGH_SHAPES = [
    {"steps": 5, "rows": 33, "hidden": 64, "lengths": True, "reset": True},
    {"steps": 17, "rows": 33, "hidden": 10, "reverse": True},
    {"steps": 2, "rows": 1, "hidden": 7, "reset": True},  # an odd size, which has no kernel of bfloat16
]
EPS = torch.finfo(torch.bfloat16).eps


def over_cells(cells: Collection[str], fast: Collection[str]) -> pytest.MarkDecorator:
    """Runs a test with each cell. A cell has kernels to compile, which take a second or two each: those that are not
    `fast` are tested by `make test-all`."""
    cases = [pytest.param(cell, marks=[] if cell in fast else pytest.mark.slow) for cell in cells]
    return pytest.mark.parametrize("cell", cases, ids=lambda spec: spec.rpartition(":")[2])


each_cell = over_cells(CELLS, DIFFERENT)
few_cells = over_cells(CELLS, ["lstm", "rhn"])
double_cells = over_cells(CELLS, ["lstm", "rhn", "layer_norm_lstm"])
different_cells = over_cells(DIFFERENT, DIFFERENT)
two_cells = over_cells(DIFFERENT, ["lstm", "rhn"])
needs_bfloat16 = pytest.mark.skipif(
    not bfloat16_hardware(torch.device("cpu")), reason="this processor has no instructions for bfloat16"
)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def all_cores(request, tmp_path_factory) -> None:
    """Where every cell is tested, compiles all kernels on all cores; otherwise each test compiles what it needs."""
    items = [item for item in request.session.items if item.path == request.node.path and hasattr(item, "callspec")]
    asked = {item.callspec.params.get("cell") for item in items}
    if not asked.issuperset(CELLS):
        return
    (tmp_path_factory.getbasetemp() / "kernels").mkdir(exist_ok=True)  # where own_cache has them
    kinds = [(torch.float32, False), (torch.float64, False)]
    kinds += [(torch.float32, True)] if bfloat16_hardware(torch.device("cpu")) else []

    def compile_one(spec: str, dtype: torch.dtype, rough: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            Recurrent(2, 2, spec).to(dtype).choose()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(os.cpu_count()) as pool:
        patch.setenv("ELMAN_CACHE", str(tmp_path_factory.getbasetemp()))
        wait([pool.submit(compile_one, spec, *kind) for kind in kinds for spec in CELLS])


# ---- helpers


def randomize(module: nn.Module, hidden: int, std: float = 0.5) -> None:
    """No two weights are alike; the recurrent matrices are small enough that an error does not grow with the steps."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=min(std, 0.7 / hidden**0.5) if weight.dim() == 2 else std)


def random_case(
    spec, steps, rows, hidden, lengths=False, reset=False, reverse=False, inputs=3, dtype=torch.float32
) -> tuple[Cell, Span]:
    """A cell and a span at random. The states are above 0, as the slstm's normaliser must be."""
    torch.manual_seed(0)
    cell = make(fitting(spec, hidden), inputs, hidden)
    randomize(cell, hidden)
    state, initial = (tuple(torch.rand(rows, size) + 0.2 for size in cell.state_sizes) for _ in range(2))
    ends = torch.randint(0, steps + 1, (rows,)) if lengths else None
    x, flags = torch.randn(rows, steps, inputs), torch.rand(rows, steps) < 0.3 if reset else None
    if ends is not None:
        ends[-1], ends[0] = steps, 0  # of one row: 0
        past = torch.arange(steps) >= ends[:, None]
        x, flags = x.masked_fill(past[..., None], 0.0), None if flags is None else flags & ~past
    return in_dtype(cell, Span(x, state, initial, ends, flags, reverse), dtype)


def in_dtype(cell: Cell, span: Span, dtype: torch.dtype) -> tuple[Cell, Span]:
    """The same numbers; everything requires a gradient."""

    def cast(value: Tensor) -> Tensor:
        return value.detach().to(dtype, copy=True).requires_grad_()

    state, initial = over(span.state, cast), over(span.initial, cast)
    return copy.deepcopy(cell).to(dtype), Span(
        cast(span.x), state, initial, span.lengths, span.reset, span.reverse, span.prefix
    )


def everything(backend: Backend, cell: Cell, span: Span, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Outputs, final states and all gradients, when the outputs and the final states are weighted at random."""
    y, state = backend.unroll(cell, span)
    values = {"y": y} | {f"final {name}": value for name, value in zip(cell.states, state, strict=True)}
    leaves = {"x": span.x}
    leaves |= {f"state {name}": value for name, value in zip(cell.states, span.state, strict=True)}
    leaves |= {f"initial {name}": value for name, value in zip(cell.states, span.initial, strict=True)}
    leaves |= dict(cell.named_parameters())
    torch.manual_seed(1)
    total = sum((v.to(dtype or span.x.dtype) * torch.randn(v.shape).to(span.x)).sum() for v in values.values())
    gradients = torch.autograd.grad(total, [*leaves.values()], materialize_grads=True)
    found = values | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in found.items()}


def check(found: dict[str, Tensor], wanted: dict[str, Tensor], relative: float, least: float = 1e-6) -> None:
    """Each tensor within a relative error of its largest entry, taken as `least` at least."""
    assert found.keys() == wanted.keys()
    for name, right in wanted.items():
        if right.numel():
            error, largest = (found[name].to(right) - right).abs().max(), right.abs().max()
            assert error <= relative * max(largest, least), (
                f"{name}: {error:.2g} off, where the largest is {largest:.2g}"
            )


def layer(cell="lstm", inputs=3, hidden=5, dtype=torch.float32, **options) -> Recurrent:
    torch.manual_seed(0)
    made = Recurrent(inputs, hidden, fitting(cell, hidden), **options).to(dtype)
    randomize(made, hidden)
    return made


def positive(model: Recurrent, rows: int):
    """A state above 0."""
    return over(model.initial(rows), lambda zero: torch.rand_like(zero) + 0.2)


def both(model: Recurrent, run):
    """What `run(model)` gives with the kernels and in the loop."""
    results = []
    for model.backend in ("fused", "loop"):
        results.append(run(model))
    return results


def gradients(model: Recurrent, *values: Tensor, leaves=()) -> list[Tensor]:
    """Of the parameters and the leaves, the values weighted at random."""
    torch.manual_seed(1)
    total = sum((value * torch.randn(value.shape).to(value)).sum() for value in values)
    wanted = [p for p in (*leaves, *model.parameters()) if p.requires_grad]
    return list(torch.autograd.grad(total, wanted, materialize_grads=True, retain_graph=True))


def python(code: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(before) + textwrap.dedent(code)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )  # fmt: skip


def output(done: subprocess.CompletedProcess[str]) -> str:
    """What a process that succeeded has printed."""
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def succeeded(done: Any) -> str:
    """What a forked process that succeeded has printed."""
    assert done.code == 0, f"exit code {done.code}\n{done.out}\n{done.err}"
    return done.out


# ---- the loop is the reference


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
@each_cell
def test_outputs_states_and_gradients_equal_the_loops(cell, shape):
    ours, span = random_case(cell, **shape)
    # the loop in float64, so that the whole error is the kernel's
    wanted = everything(LOOP, *in_dtype(ours, span, torch.float64))
    # one unit less its mean is 0, which division by the smallest deviation makes 300 times as inexact
    least = 10.0 if cell == "layer_norm_lstm" and shape["hidden"] == 1 else 1e-6
    check(everything(FUSED, ours, span), wanted, 1e-5, least)


@double_cells
def test_outputs_states_and_gradients_equal_the_loops_in_float64(cell):
    ours, span = random_case(cell, 5, 3, 7, lengths=True, reset=True, dtype=torch.float64)
    check(everything(FUSED, ours, span), everything(LOOP, ours, span), 1e-12)


@needs_bfloat16
@pytest.mark.parametrize("shape", ROUGH_SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
@few_cells
def test_under_autocast_it_is_no_further_from_float32_than_the_loop(cell, shape):
    ours, span = random_case(cell, **shape)
    exact = everything(LOOP, ours, span)
    with torch.autocast("cpu", torch.bfloat16):
        assert FUSED.refuses(ours, span) is None
        found, rough = (everything(backend, ours, span, torch.float32) for backend in (FUSED, LOOP))
    for name, right in exact.items():
        if cell == "irnn" and name.startswith("gradient"):
            continue  # a rounding across 0 switches a whole gradient
        error, allowed = ((value[name].float() - right).norm() for value in (found, rough))
        assert error <= 2 * (allowed + EPS * right.norm()) + 1e-4, f"{name}: {error:.2g}, the loop {allowed:.2g}"


@double_cells
def test_gradients_equal_finite_differences(cell):
    model = layer(cell, 2, 3, torch.float64, bidirectional=True, learn_initial_state=True, backend="fused")
    for learned in model.learned:
        nn.init.uniform_(learned, 0.2, 1.0)  # also what a reset row starts from
    state = over(positive(model, 3), lambda value: value.detach().requires_grad_())
    x = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    lengths, reset = torch.tensor([3, 0, 2]), torch.tensor([[0, 0, 1], [0, 0, 0], [1, 1, 0]]).bool()

    def run(x, *_):
        return tuple(flatten(model(x, state, lengths, reset)).values())

    assert torch.autograd.gradcheck(run, (x, *flatten(state).values(), *model.parameters()), fast_mode=True)


# ---- threads


@pytest.mark.parametrize(("rows", "hidden"), [(1, 130), (1, 256), (3, 128), (33, 64), (3, 1)])
@two_cells
def test_two_threads_give_the_same_bits(cell, rows, hidden, two_threads):
    ours, span = random_case(cell, 3, rows, hidden, lengths=rows > 1, reset=True, reverse=rows == 3)
    two = everything(FUSED, ours, span)
    torch.set_num_threads(1)
    one = everything(FUSED, ours, span)
    for name, value in one.items():
        if not name.startswith("gradient"):
            assert torch.equal(two[name], value), name
    check(two, one, 1e-5)


@needs_bfloat16
@pytest.mark.parametrize(("rows", "hidden"), [(1, 130), (3, 128), (33, 64)])
@pytest.mark.parametrize("cell", ["lstm", "rhn"])
def test_two_threads_give_the_same_bits_in_bfloat16(cell, rows, hidden, two_threads):
    ours, span = random_case(cell, 5, rows, hidden, lengths=rows > 1, reset=True)
    with torch.autocast("cpu", torch.bfloat16):
        two = everything(FUSED, ours, span, torch.float32)
        torch.set_num_threads(1)
        one = everything(FUSED, ours, span, torch.float32)
    for name, value in one.items():
        if not name.startswith("gradient"):
            assert torch.equal(two[name], value), name
    check(two, one, 1e-2)


@pytest.mark.parametrize("threads", [3, 5])
def test_more_threads_than_rows_or_cores_change_nothing(threads, two_threads):
    for rows, hidden in ((1, 300), (2, 64), (7, 64)):
        ours, span = random_case("lstm", 3, rows, hidden)
        torch.set_num_threads(threads)
        many = everything(FUSED, ours, span)
        torch.set_num_threads(1)
        check(many, everything(FUSED, ours, span), 1e-5)


# ---- numbers at the edge


def same_kinds(found: Tensor, wanted: Tensor, where: str) -> None:
    """NaN and infinity are at the same positions, and all else is close."""
    for kind in (torch.isnan, torch.isposinf, torch.isneginf):
        assert torch.equal(kind(found), kind(wanted)), f"{where}: {kind.__name__}"
    plain = wanted.isfinite()
    assert_close(found[plain], wanted[plain], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, pytest.param(-torch.inf, marks=pytest.mark.slow)])
@each_cell
def test_nan_and_infinity_come_out_where_the_loop_has_them(cell, number):
    for steps, where in itertools.product((1, 3), ("x", "state", "W", "b", "U", "p")):
        ours, span = random_case(cell, steps, 4, 5)
        tensors = {"x": [span.x], "state": [*span.state], "U": [*ours.matrices().values()],
                   "p": [*ours.vectors().values()]}  # fmt: skip
        tensors |= {name: [ours.weights[name]] if name in ours.weights else [] for name in "Wb"}
        for which, tensor in enumerate(tensors[where]):
            before = tensor.detach().clone()
            with torch.no_grad():
                tensor[{1: (2,), 2: (1, 2), 3: (1, 0, 2)}[tensor.dim()]] = number
                found, wanted = (backend.unroll(ours, span) for backend in (FUSED, LOOP))
                for a, b in zip(flatten(found).values(), flatten(wanted).values(), strict=True):
                    same_kinds(a, b, f"{number} in {where} {which}")
                tensor.copy_(before)


@each_cell
def test_nan_in_one_row_reaches_no_other_row(cell):
    ours, span = random_case(cell, 3, 4, 5, reset=True)
    clean = everything(FUSED, ours, span)
    others = [0, 2, 3]
    for tensor in (span.x, *span.state):
        before = tensor.detach().clone()
        with torch.no_grad():
            tensor[1] = torch.nan
        found = everything(FUSED, ours, span)
        with torch.no_grad():
            tensor.copy_(before)
        for name, value in clean.items():
            if value.shape[0] == 4 and not any(part in name for part in ("of W", "of b", "of U", "of p")):
                assert_close(found[name][others], value[others], msg=name)


@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
@each_cell
def test_large_values_saturate_without_nan_where_the_loop_does(cell, size):
    ours, span = random_case(cell, 3, 4, 5)
    span = Span(span.x.detach().mul(size).requires_grad_(), span.state, span.initial)
    found, wanted = (everything(backend, ours, span) for backend in (FUSED, LOOP))
    for name, right in wanted.items():
        plain = right.isfinite()
        assert found[name][plain].isfinite().all(), name
        if not name.startswith("gradient"):  # a gradient of 1e-30 here is one of 0 there
            assert_close(
                found[name][plain], right[plain], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text
            )


def test_numbers_below_the_smallest_normal_one_still_work_in_the_process(forked, tmp_path):
    # a library that is linked with -ffast-math would switch them off in the thread that loads it
    code = """
    import numpy, torch
    from elman import Recurrent
    torch.set_num_threads(2)
    layer = Recurrent(3, 128, "lstm", backend="fused")
    layer(torch.randn(33, 4, 3))[0].sum().backward()
    layer(torch.randn(1, 4, 3))[0].sum().backward()
    assert (torch.full((1,), 1e-40) * 1.0 != 0).all()
    assert (torch.full((1 << 20,), 1e-40) * 1.0 != 0).all()  # in both threads
    assert numpy.float32(1e-40) * numpy.float32(1.0) != 0
    assert 1e-310 * 1.0 != 0
    """
    succeeded(forked(program=textwrap.dedent(code), cwd=tmp_path))


# ---- recording


@few_cells
def test_recorded_values_and_their_gradients_are_the_loops(cell):
    model = layer(cell, dtype=torch.float64, layers=2, bidirectional=True)
    state = positive(model, 3)
    x = torch.randn(3, 6, 3, dtype=torch.float64, requires_grad=True)
    for lengths in (None, torch.tensor([4, 6, 0])):
        inside = torch.ones(3, 6, 1) if lengths is None else (torch.arange(6) < lengths[:, None]).unsqueeze(-1)

        def run(model, lengths=lengths, inside=inside):
            with record() as recorded:
                assert model.choose().backend.name == model.backend
                y, _ = model(x, state, lengths)
            values = {name: recorded[name] for name in recorded}
            weighted = [values[name] * inside for name in sorted(values)]
            return y, values, gradients(model, y, *weighted, leaves=[x])

        found, wanted = both(model, run)
        assert_close(found, wanted)


def test_single_steps_and_calls_without_a_gradient_are_recorded():
    model, x = layer(layers=2), torch.randn(3, 4, 3)

    def run(model):
        with torch.no_grad(), record() as recorded:
            _, state = model(x)
            y, state = model.step(x[:, 0], state)
            stepper = model.stepper()
            for t in range(4):
                y, state = stepper(x[:, t], state)
        return y, state, {name: recorded[name] for name in recorded}

    found, wanted = both(model, run)
    assert_close(found, wanted)
    assert wanted[2]["1.c"].shape == (3, 9, 5)


def test_a_held_unit_is_the_loops():
    model, x = layer(layers=2), torch.randn(3, 4, 3)
    assert model.choose().backend.name == "fused"
    with hold({"2.c.1": 0.5}):
        assert "fused refuses because" in str(model.choose())
        y, _ = model(x)
        model.backend = "loop"
        assert_close(y, model(x)[0])
        model.backend = "fused"
        for run, given_x in ((model, x), (model.step, x[:, 0])):
            with pytest.raises(UserError, match=r"'fused' refuses the cell lstm because .* held"):
                run(given_x)
    model(x)


# ---- with and without a gradient, step by step


@each_cell
def test_without_a_gradient_the_outputs_are_the_same(cell):
    model = layer(cell, layers=2, backend="fused")
    x, lengths, state = torch.randn(4, 6, 3), torch.tensor([6, 0, 3, 5]), positive(model, 4)
    reset = torch.rand(4, 6) < 0.3
    run = model(x, state, lengths, reset)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_close(model(x, state, lengths, reset), over(run, Tensor.detach), rtol=0, atol=0)


@each_cell
def test_going_step_by_step_equals_forward_and_the_loop(cell):
    model, x = layer(cell, layers=2, residual=True, backend="fused"), torch.randn(3, 5, 3, requires_grad=True)
    state = over(positive(model, 3), lambda value: value.detach().requires_grad_())
    leaves, runs = [x, *flatten(state).values()], []
    for advance in (model.stepper(), model.step):
        now, outputs = state, []
        for t in range(5):
            y, now = advance(x[:, t], now)
            outputs.append(y)
        runs.append((torch.stack(outputs, 1), now))
    runs.append(model(x, state))
    model.backend = "loop"
    wanted = model(x, state)
    weighted = gradients(model, *flatten(wanted).values(), leaves=leaves)
    for run in runs:
        assert_close(run, wanted, rtol=1e-4, atol=1e-5)
        for found, right in zip(gradients(model, *flatten(run).values(), leaves=leaves), weighted, strict=True):
            assert_close(found, right, rtol=1e-4, atol=1e-5 * max(1.0, right.abs().max().item()))
    with torch.no_grad():
        model.backend = "fused"
        y, after = model.step(x[:, 0], state)
        assert_close((y[:, None], after), model(x[:, :1], state))


def stepped(model: Recurrent, sizes: tuple[int, ...]) -> list[Tensor]:
    """The sum of the squared outputs of three steps, for each batch size, by one stepper."""
    stepper, sums = model.stepper(), []
    for seed, size in enumerate(sizes):
        state = stepper.begin(size)
        for t in range(3):
            x = torch.randn(size, 3, generator=torch.Generator().manual_seed(10 * seed + t))
            y, state = stepper.step(x, state)
        sums.append(y.square().sum())
    return sums


@different_cells
def test_steps_of_several_batch_sizes_have_the_gradient_of_all(cell):
    found, wanted = both(
        layer(cell, layers=2), lambda model: torch.autograd.grad(sum(stepped(model, (2, 5, 2))), [*model.parameters()])
    )
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_backward_passes_of_some_of_the_steps_give_what_those_steps_give():
    def run(model):
        weights, found = [*model.parameters()], []
        for first in (0, 1):
            sums = stepped(model, (2, 5))
            found += torch.autograd.grad(sums[first], weights)  # the graphs of two losses have the steps' weights
            found += torch.autograd.grad(sums[1 - first], weights)
        return found

    found, wanted = both(layer(layers=2), run)
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_backward_pass_that_does_not_ask_for_the_weights_leaves_nothing_for_the_next():
    def run(model):
        stepper, weights = model.stepper(), [*model.parameters()]
        x = torch.ones(2, 3, requires_grad=True)
        y, _ = stepper.step(x, stepper.begin(2))
        loss = y.square().sum()
        of_x = torch.autograd.grad(loss, x, retain_graph=True)
        return [*of_x, *torch.autograd.grad(loss, weights, retain_graph=True), *torch.autograd.grad(loss, weights)]

    found, wanted = both(layer(), run)
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_steps_with_frozen_weights_have_the_gradient_of_their_input():
    def run(model):
        model.requires_grad_(False)
        stepper, x = model.stepper(), torch.ones(2, 3, requires_grad=True)
        y, _ = stepper.step(x, stepper.begin(2))
        of_x = torch.autograd.grad(y.square().sum(), x)
        model.requires_grad_(True)
        y, _ = stepper.step(x, stepper.begin(2))
        return [*of_x, *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])]

    found, wanted = both(layer(), run)
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_backward_pass_inside_of_another_has_its_own_steps():
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value, run):
            ctx.run = run
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            with torch.enable_grad():
                ctx.run().backward()
            return gradient, None

    def run(model):
        model.zero_grad()
        stepper = model.stepper()

        def steps(number):
            state = stepper.begin(2)
            for t in range(3):
                x = torch.randn(2, 3, generator=torch.Generator().manual_seed(10 * number + t))
                y, state = stepper.step(x, state)
                if number == 0 and t == 1:  # its backward pass is between those of two steps
                    y = Inner.apply(y, lambda: steps(1).square().sum())
                    state = ((y, *state[0][1:]),)
            return y

        steps(0).square().sum().backward()
        return [weight.grad.clone() for weight in model.parameters()]

    found, wanted = both(layer(), run)
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_stepper_is_gone_with_its_last_name():
    def alive():
        return sum(type(value) is StepGradients for value in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()  # so that a cycle of references would stay
    try:
        stepper = layer(backend="fused").stepper()
        y, state = stepper.step(torch.ones(2, 3), stepper.begin(2))
        y.square().sum().backward()
        assert alive() == before + 1
        del stepper, y, state
        assert alive() == before
    finally:
        gc.enable()


def test_a_gradient_of_higher_order_goes_through_steps():
    def run(model):
        weights = [*model.parameters()]
        [loss] = stepped(model, (2,))
        first = torch.autograd.grad(loss, weights, create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), weights)]

    found, wanted = both(layer(), run)
    assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@needs_bfloat16
def test_the_gradient_of_steps_in_bfloat16_is_near_that_of_float32():
    def run(model):
        return torch.autograd.grad(sum(stepped(model, (33, 33))), [*model.parameters()])

    model = layer("lstm", hidden=64, backend="fused")
    exact = run(model)
    with torch.autocast("cpu", torch.bfloat16):
        rough = run(model)
    for found, wanted in zip(rough, exact, strict=True):
        assert_close(found, wanted, rtol=0, atol=8 * EPS * float(wanted.abs().max()))


def test_new_weights_are_seen():
    model, x = layer(layers=2, backend="fused"), torch.randn(3, 4, 3)
    step = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(3):
        found, wanted = both(model, lambda model: model(x)[0])
        assert_close(found, wanted)
        step.zero_grad()
        found.square().sum().backward()
        step.step()
    for dtype in (torch.float64, torch.float32):
        model.to(dtype)
        found, wanted = both(model, lambda model, dtype=dtype: model(x.to(dtype))[0])
        assert found.dtype == dtype
        assert_close(found, wanted)


def test_weights_that_change_before_the_backward_pass_are_an_error_as_everywhere_in_torch():
    model = layer(backend="fused")
    y, _ = model(torch.randn(3, 4, 3))
    with torch.no_grad():
        model.cells[0].W.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_going_backward_twice_gives_the_same_gradient():
    model = layer(backend="fused", bidirectional=True)
    y, _ = model(torch.randn(3, 4, 3), lengths=torch.tensor([4, 2, 0]))
    assert_close(gradients(model, y), gradients(model, y), rtol=0, atol=0)


# ---- unusual tensors


def test_x_that_does_not_lie_side_by_side():
    x = torch.randn(3, 5, 7).transpose(0, 2)[1:4, :, ::2].detach().requires_grad_()
    model = layer(inputs=2)
    assert not x[..., :2].is_contiguous()

    def run(model):
        y, state = model(x[..., :2])
        return y, state, gradients(model, y, leaves=[x])

    assert_close(*both(model, run))


@pytest.mark.parametrize(
    "lengths",
    [None, torch.tensor([5, 0, 3, 0, 2, 0])[::2], torch.tensor(3).expand(3), torch.tensor([5, 3, 2]).int()],
    ids=["none", "apart", "expanded", "int32"],
)
def test_a_state_a_gradient_and_lengths_that_do_not_lie_side_by_side(lengths):
    model, x = layer(), torch.randn(3, 5, 3)
    state = (tuple(torch.randn(5, 6).t()[::2] for _ in range(2)),)
    reset = torch.randn(5, 6).t()[::2] > 1

    def run(model):
        y, after = model(x, state, lengths, reset)
        return y, after, gradients(model, y.transpose(0, 2)[::2], after[0][1].t()[1:])

    assert_close(*both(model, run))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_no_rows(threads, two_threads):
    torch.set_num_threads(threads)
    model = layer(hidden=130, bidirectional=True)

    def run(model):
        y, state = model(torch.zeros(0, 4, 3))
        return y, state, gradients(model, y, *flatten(state).values())

    assert_close(*both(model, run))


@different_cells
def test_only_the_final_state_or_only_the_output_is_used(cell):
    model, x = layer(cell, bidirectional=True), torch.randn(3, 4, 3, requires_grad=True)
    state = positive(model, 3)
    for pick in (lambda y, _: [y], lambda _, last: [last[0][-1]], lambda _, last: [last[1][0]], lambda y, _: [y[:, 1]]):

        def run(model, pick=pick):
            y, last = model(x, state, torch.tensor([4, 0, 2]))
            return gradients(model, *pick(y, last), leaves=[x])

        for found, right in zip(*both(model, run), strict=True):
            assert_close(found, right, rtol=1e-4, atol=1e-5 * max(1.0, right.abs().max().item()))


@pytest.mark.parametrize("cell", ["lstm", "gru", "layer_norm_lstm", LEAKY], ids=lambda spec: spec.rpartition(":")[2])
def test_parameters_without_a_gradient_get_none_and_the_others_theirs(cell):
    model, x = layer(cell), torch.randn(3, 4, 3)
    for name, frozen in model.named_parameters():
        frozen.requires_grad_(False)
        found, wanted = both(model, lambda model: gradients(model, model(x)[0]))
        for a, b in zip(found, wanted, strict=True):
            assert_close(a, b, rtol=1e-4, atol=1e-5, msg=f"without {name}")
        model.backend = "fused"
        model(x)[0].sum().backward()
        assert frozen.grad is None
        model.zero_grad()
        frozen.requires_grad_(True)
    model.requires_grad_(False)
    assert not model(x)[0].requires_grad
    given_x = x.clone().requires_grad_()
    assert_close(*both(model, lambda model: gradients(model, model(given_x)[0], leaves=[given_x])))


@pytest.mark.parametrize("hidden", [6, 7])
def test_weights_of_bfloat16(hidden):
    model = layer(hidden=hidden, layers=2)
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 0, 3, 5])

    def run(model):
        y, state = model(x.to(model.cells[0].dtype), None, lengths)
        assert {value.dtype for value in flatten((y, state)).values()} == {model.cells[0].dtype}
        return [y, *flatten(state).values(), *gradients(model, y)]

    model.bfloat16()
    found, rough = both(model, run)
    exact = run(model.float())
    for ours, theirs, right in zip(found, rough, exact, strict=True):
        error, allowed = ((value.float() - right).norm() for value in (ours, theirs))
        assert error <= 2 * allowed + EPS * right.norm()


def test_an_output_and_a_state_may_be_changed_in_place():
    def run(model):
        y, state = model(torch.ones(3, 4, 3))
        y.mul_(2)
        state[0][0].mul_(3)
        return gradients(model, y, *state[0])

    assert_close(*both(layer(), run))


# ---- random equations

SAFE = {  # so that nothing overflows: what an operation gets instead of v and w
    "exp": lambda make, v, w: make("exp", make("minimum", v, make.half)),
    "log": lambda make, v, w: make("log", make("add", make("abs", v), make.half)),
    "sqrt": lambda make, v, w: make("sqrt", make("add", make("abs", v), make.half)),
    "div": lambda make, v, w: make("div", v, make("add", make.half, make("abs", w))),
    "half of it": lambda make, v, w: make("mul", make.half, v),
    "less than 0.5": lambda make, v, w: make("maximum", make.half, v),
    "rest": lambda make, v, w: make("sub", make.half, v),
    "reciprocal": lambda make, v, w: make("div", make.half, make("add", make("mul", v, v), make.half)),
} | {
    kind: lambda make, v, w, kind=kind: make(kind, v)
    for kind in ("sigmoid", "tanh", "relu", "abs", "neg", "log_sigmoid", "normalize")
} | {
    kind: lambda make, v, w, kind=kind: make(kind, v, w) for kind in ("add", "sub", "mul", "maximum", "minimum")
}  # fmt: skip


class Builder:
    """Appends operations; `rows` are those with a value for every row, not one for all."""

    def __init__(self):
        self.ops: list[Op] = []
        self.rows: set[int] = set()
        self.half = self("constant", detail=0.5)

    def __call__(self, kind, *inputs, detail=None):
        self.ops.append(Op(kind, inputs, detail))
        if kind in ("input", "state") or self.rows & {*inputs}:
            self.rows.add(len(self.ops) - 1)
        return len(self.ops) - 1


@st.composite
def equations(draw) -> Graph:
    """A few gates, states and vectors, and operations on them at random, recurrent products among them."""
    gates, states = ("a", "b", "c")[: draw(st.integers(1, 3))], ("h", "k", "l")[: draw(st.integers(1, 3))]
    make = Builder()
    values = [make("input", detail=gate) for gate in gates] + [make("state", detail=name) for name in states]
    values += [make("vector", detail=f"p_{name}") for name in ("s", "t")[: draw(st.integers(0, 2))]]
    for _ in range(draw(st.integers(4, 12))):
        v, w = (values[-1 - draw(st.integers(0, len(values) - 1))] for _ in range(2))
        kind = draw(st.sampled_from(["product", "product", *SAFE]))
        if kind == "product":  # the same matrix may come twice, and a block may be left unused
            blocks = draw(st.sampled_from([("a",), ("b", "a"), ("a", "b", "c")]))
            product = make("product", v, detail=("hidden", 1, draw(st.sampled_from("UV")), *blocks))
            values += [make("block", product, detail=k) for k in range(len(blocks))]
        else:
            values.append(SAFE[kind](make, v, w))
    outputs = []
    for _ in states:
        of = draw(st.sampled_from([value for value in values if value in make.rows]))
        outputs.append(make("tanh", of) if draw(st.booleans()) else of)
    named = dict(zip(states, outputs, strict=True))
    return Graph(gates, states, tuple(make.ops), tuple(outputs), "", named, {}, gates)


def of_graph(graph: Graph, lengths: bool, reset: bool, reverse: bool) -> tuple[Cell, Span]:
    return random_case(
        graph_cell("random", ModeGraphs(graph, graph), {}), 3, 4, 3, lengths, reset, reverse, 2, torch.float64
    )


def agrees(ours: Cell, span: Span) -> None:
    check(everything(FUSED, ours, span), everything(LOOP, ours, span), 1e-8)


def tame(ours: Cell, span: Span) -> bool:
    """Whether nothing overflows, nor comes near it."""
    return all(value.isfinite().all() and value.abs().max() < 1e6 for value in everything(LOOP, ours, span).values())


some = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
any_way = {"lengths": st.booleans(), "reset": st.booleans(), "reverse": st.booleans()}


@settings(some, max_examples=2)
@given(graph=equations(), **any_way)
def test_a_random_equation_equals_the_loop(graph, lengths, reset, reverse):
    case = of_graph(graph, lengths, reset, reverse)
    assume(tame(*case))
    agrees(*case)


@pytest.mark.slow
@settings(some, max_examples=40, derandomize=False)
@given(graph=equations(), **any_way)
def test_many_random_equations_equal_the_loop(graph, lengths, reset, reverse):
    case = of_graph(graph, lengths, reset, reverse)
    assume(tame(*case))
    agrees(*case)


def built(function):
    """The graph of a function of a Builder, a gate and the state that gives the new state. There are gates a and b."""
    make = Builder()
    last = function(make, make("input", detail="a"), make("state", detail="h"))
    return Graph(("a", "b"), ("h",), tuple(make.ops), (last,), "", {"h": last}, {}, ("a", "b"))


def block(make, of, *gates, name="U"):
    return make("block", make("product", of, detail=("hidden", 1, name, *gates)), detail=0)


def every_operation(make, a, h):
    v, w, last = block(make, h, "a"), make("add", a, make("vector", detail="p_v")), a
    for kind in SAFE.values():  # each at other values, in both orders
        last = make("add", last, kind(make, v, w))
        last = make("add", last, make("mul", kind(make, w, h), v))
    return make("mul", last, make.half)


CORNERS = {
    "every operation": every_operation,
    "a gate that adds to another": lambda make, a, h: make("add", make("add", a, make("input", detail="b")), block(
        make, h, "a")),
    "the input alone": lambda make, a, h: a,
    "the state alone": lambda make, a, h: h,
    "a product alone": lambda make, a, h: block(make, h, "a"),
    "the same matrix twice": lambda make, a, h: make("add", block(make, h, "a"), block(make, make("tanh", a), "a")),
    "one matrix in a row": lambda make, a, h: block(make, block(make, block(make, h, "a"), "a"), "a"),
    "an unused block": lambda make, a, h: make("tanh", make("add", block(make, h, "a", "b"), a)),
    "a vector by itself": lambda make, a, h: make("mul", h, make("exp", make("vector", detail="p_v"))),
    "normalised twice": lambda make, a, h: make("normalize", make("mul", make("normalize", a), block(make, h, "a"))),
    "normalised before a product": lambda make, a, h: block(make, make("normalize", make("add", h, a)), "a"),
    "the greater of equals": lambda make, a, h: make("maximum", h, make("add", h, make("mul", a, make(
        "constant", detail=0.0)))),
    "the less of equals": lambda make, a, h: make("minimum", make("add", h, make("mul", a, make(
        "constant", detail=0.0))), h),
    "at a kink": lambda make, a, h: make("add", make("abs", make("sub", h, h)), make("relu", make("sub", a, a))),
}  # fmt: skip


OFTEN = ("every operation", "the same matrix twice", "an unused block")


@pytest.mark.parametrize(
    "corner", [pytest.param(corner, marks=[] if corner in OFTEN else pytest.mark.slow) for corner in CORNERS]
)
def test_an_equation_of_an_unusual_form_equals_the_loop(corner):
    agrees(*of_graph(built(CORNERS[corner]), lengths=True, reset=True, reverse=False))


# ---- refusals

numbers = itertools.count(1)


def new_cell() -> type[Cell]:
    """A cell with an equation that has no kernel yet."""
    number = 1 + 1 / (os.getpid() * 1000 + next(numbers))

    class New(Cell):
        gates = ("n",)

        def step(self, x, h):
            return (tanh(x.n + self.recur("n", of=h).n) * number,)

    return New


class Branching(Cell):
    gates = ("n",)

    def step(self, x, h):
        return (x.n if h.sum() > 0 else -x.n,)


def refused(model: Recurrent, reason: str, x: Tensor | None = None) -> str:
    """`auto` runs another backend, as the loop does; by name it is an error. Returns the reason."""
    x = torch.randn(3, 4, model.input_size).to(model.cells[0].dtype) if x is None else x
    model.backend = "auto"
    choice, y = model.choose(), model(x)[0]
    assert choice.backend.name != "fused"
    assert reason in choice.refusals["fused"]
    assert "\n" not in str(choice)
    model.backend = "loop"
    assert_close(y, model(x)[0])
    model.backend = "fused"
    for run in (lambda: model(x), lambda: model.step(x[:, 0])):
        with pytest.raises(UserError, match=r"'fused' refuses the cell .* because") as caught:
            run()
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    return choice.refusals["fused"]


@each_cell
def test_it_is_the_first_choice(cell):
    model = layer(cell)
    assert str(model.choose()) == "fused"
    model.choose(0, Span(torch.zeros(1, 1, 3), (), (), torch.tensor([1]), torch.zeros(1, 1).bool(), True))


def test_a_compiler_that_does_not_exist_is_a_refusal(monkeypatch):
    monkeypatch.setenv("CXX", "/nonexistent")
    refused(layer(new_cell()), "/nonexistent")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    refused(layer(new_cell()), "compiler")


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # a warning of torch about the switch
def test_without_mkldnn_it_refuses():
    with torch.backends.mkldnn.flags(enabled=False):
        refused(layer("mgu"), "mkldnn")
    assert layer("mgu").choose().backend.name == "fused"


def test_a_cell_that_cannot_be_traced_is_refused():
    refused(layer(Branching), "cannot be traced")


def test_float16_is_refused():
    refused(layer("mgu").half(), "float16")
    with torch.autocast("cpu", torch.float16):
        refused(layer("mgu"), "float16")


def test_the_doctor_reports_why_it_refuses(own_cache):
    doctor = "import sys; from elman.cli.app import main; sys.argv = ['elman', 'doctor']; sys.exit(main())"
    elsewhere = {"ELMAN_CACHE": str(own_cache / "empty"), "COLUMNS": "250", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    report = output(python(doctor, CXX="/nonexistent", **elsewhere))
    rows = [line for line in report.splitlines() if "fused:" in line]
    assert len(rows) == len(CELLS) - 1
    assert all("/nonexistent" in row for row in rows)
    assert "float32 is used" in report


TINY = """
import torch
from elman import Recurrent
from torch.testing import assert_close

torch.manual_seed(0)
for cell, dtype in (("lstm", torch.float32), ("lstm", torch.bfloat16), ("gru", torch.float64)):
    layer, x, runs = Recurrent(3, 6, cell), torch.randn(3, 4, 3), []
    if dtype == torch.float64:
        layer, x = layer.double(), x.double()
    for layer.backend in ("auto", "loop"):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            if layer.backend == "auto":
                print(layer.choose())
            y, state = layer(x, lengths=torch.tensor([4, 0, 2]))
        runs.append([y, *state[0], *torch.autograd.grad(y.square().sum(), [*layer.parameters()])])
    near = {"rtol": 3e-2, "atol": 3e-2} if dtype == torch.bfloat16 else {}
    for ours, theirs in zip(*runs, strict=True):
        assert_close(ours.to(x.dtype), theirs.to(x.dtype), **near)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
     {"ATEN_CPU_CAPABILITY": "avx2"}, {"ATEN_CPU_CAPABILITY": "default"}],
    ids=lambda environment: "-".join(environment.values()) or "as it is",
)  # fmt: skip
def test_a_lesser_processor_gets_the_same_results(environment):
    lines = output(python(TINY, **environment)).splitlines()
    if not environment:
        assert lines == ["fused"] * 3


# ---- the compiler and the cache

SMALL = 'extern "C" int answer() {{ return {}; }}'
TWICE = "from elman.kernels.compiler import load\nprint(load({text!r}).answer())"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache with nothing in it."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Makes a shell script the compiler."""

    def write(text: str) -> Path:
        path = tmp_path / "compiler"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return path

    return write


def files(cache: Path) -> list[str]:
    """All that lies in a cache; of the kernels only the ending."""
    return sorted(path.suffix or path.name for path in cache.rglob("*") if not path.is_dir())


def test_a_kernel_is_compiled_once_for_all_processes(cache, script, tmp_path, forked):
    own = {"CXX": str(script(f'echo "$@" >> {tmp_path}/calls\nexec g++ "$@"')), "ELMAN_CACHE": str(cache)}
    code = TWICE.format(text=SMALL.format(42))
    for _ in range(2):
        assert succeeded(forked(program=code, cwd=tmp_path, **own)) == "42\n"
        calls = [line for line in (tmp_path / "calls").read_text().splitlines() if "-shared" in line]
        assert len(calls) == 1
    assert load(SMALL.format(42)).answer() == 42  # and for this one
    assert load(SMALL.format(43)).answer() == 43  # but another text is another kernel
    assert len([line for line in (tmp_path / "calls").read_text().splitlines() if "-shared" in line]) == 2
    assert files(cache) == [".so", ".so"]


def test_another_compiler_or_other_flags_compile_again(cache, script, monkeypatch):
    text = 'extern "C" int answer() { return ANSWER; }'
    for answer in (1, 2):
        monkeypatch.setenv("CXX", f"g++ -DANSWER={answer}")
        assert load(text).answer() == answer
    for answer in (34, 56):
        script(f'exec g++ -DANSWER={answer} "$@"')
        os.utime(os.environ["CXX"], ns=(answer, answer))  # so that no coarse clock makes the two alike
        assert load(text).answer() == answer


def test_two_processes_may_compile_the_same_kernel_at_once(cache, script, tmp_path, forked):
    own = {"CXX": str(script('sleep 1\nexec g++ "$@"')), "ELMAN_CACHE": str(cache)}
    outputs = [tmp_path / "first", tmp_path / "second"]
    code = TWICE.format(text=SMALL.format(7))
    processes = [forked.start(program=code, cwd=tmp_path, stdout=output, **own) for output in outputs]
    assert [forked.end(process).code for process in processes] == [0, 0]
    assert [output.read_text() for output in outputs] == ["7\n", "7\n"]
    assert files(cache) == [".so"]


@pytest.mark.parametrize("where", [pytest.param("cache", marks=pytest.mark.slow), "cache/kernels"])
def test_a_cache_that_cannot_be_written_is_done_without(where, tmp_path, monkeypatch):
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_text("a file")
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    assert load(SMALL.format(5)).answer() == 5
    assert (tmp_path / where).read_text() == "a file"
    assert [*(tmp_path / "tmp").iterdir()] == []
    model, x = layer(new_cell()), torch.randn(3, 4, 3)
    assert_close(*both(model, lambda model: model(x)[0]))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(NoKernel):  # not even for this process only
        load(SMALL.format(6))
    refused(layer(new_cell()), "written")


DAMAGED = """
import os
from elman.files import cache_folder
from elman.kernels.compiler import load

def answer(number):
    return load(f'extern "C" int answer() {{ return {number}; }}').answer()

def apart(number, way):  # a library is loaded once in a process
    child = os.fork()
    if not child:
        os._exit(answer(number))
    print(way, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

all_cuts = {"nothing": 0, "garbage": None, "40 bytes": 40, "100 bytes": 100, "half": 0.5, "nine tenths": 0.9}
cuts = {way: all_cuts[way] for way in WAYS}
for number, (way, cut) in enumerate(cuts.items(), 1):
    before = set(cache_folder().rglob("*.so"))
    apart(number, "whole")
    [file] = set(cache_folder().rglob("*.so")) - before
    whole = file.read_bytes()
    end = int(len(whole) * cut) if isinstance(cut, float) else cut
    file.write_bytes(b"no library at all" * 100 if cut is None else whole[:end])
    apart(number, way)
    apart(number, "again")
"""


@pytest.mark.parametrize(
    "ways",
    [["garbage", "half"], pytest.param(["nothing", "40 bytes", "100 bytes", "nine tenths"], marks=pytest.mark.slow)],
)
def test_a_damaged_kernel_in_the_cache_is_compiled_again(cache, ways, tmp_path, forked):
    expected = [f"{when} {number}" for number, way in enumerate(ways, 1) for when in ("whole", way, "again")]
    done = forked(program=f"WAYS = {ways}\n{DAMAGED}", cwd=tmp_path, ELMAN_CACHE=str(cache))
    assert succeeded(done).splitlines() == expected
    assert files(cache) == [".so"] * len(ways)


@pytest.mark.parametrize(
    ("text", "reason"),
    [('echo "first a note" >&2\necho "kernel.cpp:1: error: nothing works here" >&2\nexit 1', "nothing works here"),
     ("exit 3", "3"),
     ("kill -9 $$", ""),
     ('for last; do [ "$previous" = -o ] && out=$last; previous=$last; done\n'
      'head -c 3000 /bin/sh > "$out"\nkill -9 $$', ""),
     ('for last; do [ "$previous" = -o ] && out=$last; previous=$last; done\necho half > "$out"', ""),
     ("exit 0", ""),
     (r"printf 'error: \377\376 not text\n' >&2; exit 1", "error"),
     (r"echo 'error: [bold]two' >&2; echo 'more lines' >&2; exit 1", "two")],
    ids=["fails", "fails in silence", "killed", "killed half way", "half a library", "idle", "no text", "lines"],
)  # fmt: skip
def test_a_compiler_that_fails_is_a_refusal_and_leaves_nothing(text, reason, cache, script):
    script(text)
    refused(layer(new_cell()), reason)
    assert files(cache) == []
    with pytest.raises(NoKernel):
        load(SMALL.format(1))


@pytest.mark.parametrize("command", ['g++ "-DNEVER', "/", __file__, "g++ --no-such-flag-at-all"])
def test_a_compiler_that_is_none_is_a_refusal(command, cache, monkeypatch):
    monkeypatch.setenv("CXX", command)
    refused(layer(new_cell()), "")
    assert files(cache) == []


# ---- memory

MEMORY = """
import torch
from elman import Recurrent, record

torch.set_num_threads(2)
torch.manual_seed(0)
for cell in CELLS:
    for rows, steps, hidden in ((3, 5, 7), (1, 2, 131), (9, 1, 1), (5, 3, 66)):
        layer = Recurrent(3, hidden, cell, layers=2, bidirectional=True, backend="fused")
        lengths = torch.randint(0, steps + 1, (rows,))
        for kind in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
                y, state = layer(torch.randn(rows, steps, 3), None, lengths, torch.rand(rows, steps) < 0.3)
                (y.sum() + state[-1][-1].sum()).backward()
                with torch.no_grad():
                    layer(torch.randn(rows, steps, 3))
            print(cell, rows, hidden, kind)
"""


@pytest.mark.slow
def test_no_memory_is_touched_that_is_not_the_kernels(tmp_path):
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True)
    if found.returncode or not Path(found.stdout.strip()).is_absolute():
        pytest.skip("this g++ has no AddressSanitizer")
    checked = {"CXX": "g++ -fsanitize=address -g", "LD_PRELOAD": found.stdout.strip(), "OMP_NUM_THREADS": "2",
               "ASAN_OPTIONS": "detect_leaks=0", "ELMAN_CACHE": str(tmp_path)}  # fmt: skip
    planted = """
    import ctypes, torch
    from elman.kernels.compiler import load
    memory = torch.empty(1000)
    poke = load('extern "C" void poke(float* at, long place) { at[place] = 1; }').poke
    poke(ctypes.c_void_p(memory.data_ptr()), ctypes.c_long(PLACE))
    print("unseen")
    """
    assert output(python(planted.replace("PLACE", "999"), **checked)) == "unseen\n"
    done = python(planted.replace("PLACE", "1000"), **checked)
    assert done.returncode
    assert "heap-buffer-overflow" in done.stderr
    cells = ["lstm", "gru", "rhn", "layer_norm_lstm", "min_gru", LEAKY]
    done = python(MEMORY, f"CELLS = {cells}\n", **checked)
    assert len(output(done).splitlines()) == len(cells) * 8
    assert "AddressSanitizer" not in done.stderr


# ---- beyond one call


def test_a_step_that_depends_on_the_mode_has_a_kernel_for_each():
    class Shy(Cell):
        gates = ("a",)

        def step(self, x, h):
            h = tanh(x.a + self.recur("a", of=h).a)
            return (0.5 * h if self.training else h,)

    for layer, training in itertools.product((Recurrent(3, 4, Shy), Recurrent(3, 4, stored(Shy))), (True, False, True)):
        x = torch.randn(2, 5, 3)
        layer.train(training)
        run = {}
        for name in ("fused", "loop"):
            layer.backend = name
            run[name] = layer(x)[0]
        assert_close(run["fused"], run["loop"])


@pytest.mark.parametrize(
    "cell", ["lstm", pytest.param("gru", marks=pytest.mark.slow), pytest.param(LEAKY, marks=pytest.mark.slow)]
)
def test_a_second_derivative_is_right_where_pieces_and_records_depend_on_each_other(cell):
    torch.manual_seed(0)
    layer = Recurrent(3, 4, cell, layers=2, learn_initial_state=True).double()
    randomize(layer, 4)
    x = torch.randn(3, 6, 3, dtype=torch.double, requires_grad=True)
    leaves, reset = [x, *layer.parameters()], torch.rand(3, 4) < 0.3

    def second(backend):
        layer.backend = backend
        y, state = layer(x[:, :2])
        with record() as recorded:
            y, _ = layer(x[:, 2:] + y[:, :1, :3], state, torch.tensor([1, 4, 3]), reset & (torch.arange(4) < 1))
        of_states = sum((recorded[address] ** 2).sum() for address in ("1.h", "2.h"))
        first = torch.autograd.grad(y.sum() + of_states, leaves, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), leaves)

    assert_close(second("fused"), second("loop"))
