"""The stored form of a cell: what it refuses, in one line, and that what it accepts runs alike in every backend."""

import copy
import functools
import json
import random

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from elman import Cell, Recurrent, UserError
from elman.cells.graph import Graph, ModeGraphs
from elman.cells.graph_cell import graph_cell
from elman.cells.registry import make, stored
from elman.cells.shipped import shipped
from elman.cells.stored_cell import StoredCell
from elman.cells.trace import trace

some = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])


class Own(Cell):
    gates = ("f", "n")

    def step(self, x, h):
        u = self.recur("f", "n", of=h)
        f = torch.sigmoid(x.f + u.f + self.p_f * h)
        n = torch.tanh(x.n + u.n) * (0.5 if self.training else 1.0)
        return ((1 - f) * h + f * n,)

    @property
    def start(self):
        return {"f": 1.0, "U": "identity", "W": 0.1}


@functools.cache
def graph_of(spec: str) -> str:
    """The graph of a cell, as JSON: it is traced once."""
    return json.dumps(trace(make(spec, 2, 4)).to_json())


@functools.cache
def written() -> str:
    return json.dumps(stored(Own).to_json())


def form() -> dict:
    return json.loads(written())


def refused(value, *words):
    """A UserError of one short line with these words, that shows nothing that could not be printed."""
    with pytest.raises(UserError) as caught:
        StoredCell.from_json(value)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 450
    for word in words:
        assert word in message


@pytest.mark.parametrize("spec", [*shipped(), "lstm:forget_bias=0", "rnn:activation=relu", "rhn:depth=2", Own])
def test_what_was_stored_is_read_back(spec):
    cell = stored(spec)
    value = json.loads(json.dumps(cell.to_json(), allow_nan=False))
    assert StoredCell.from_json(value) == cell
    assert stored(StoredCell.from_json(value)) == cell


@pytest.mark.parametrize(
    ("spec", "text"), [("lstm", "lstm"), ("lstm:forget_bias=0", "lstm:forget_bias=0.0"), (Own, "Own")]
)
def test_a_stored_cell_is_printed_as_the_user_would_write_it(spec, text):
    assert str(stored(spec)) == text


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A file that must never run."""
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\nclass Evil: pass\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "evil.py"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "path", ["evil.py:Evil", "./evil.py:Evil", "FULL", "evil.py", "file:evil.py", "a/b", "evil:x=1"]
)
def test_a_path_is_never_taken_from_a_stored_cell(evil, path):
    path = f"{evil}:Evil" if path == "FULL" else path
    for value in (path, [path], {"name": path}, {"name": "lstm", "options": {}, "file": path},
                  {"name": path, "options": {}}, {"name": path, "untraceable": True}, form() | {"name": path},
                  form() | {"file": path}, {"name": "Evil", "file": path, "options": {}}):  # fmt: skip
        refused(value, "cell")


DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]
LONG = "\x1b[31m" + "a" * 100_000
WRONG = [None, True, 3, 10**100, 1e300, float("nan"), float("inf"), "", LONG, "a\nb", [], {}, DEEP, {"a": DEEP}, [None]]


@pytest.mark.parametrize("wrong", range(len(WRONG)))
def test_a_value_of_a_wrong_type_is_refused_wherever_it_stands(wrong):
    wrong = WRONG[wrong]
    refused(wrong)
    for key in form():
        if not (key == "start" and wrong == {}):
            refused({**form(), key: wrong}, "cell")
    for key in form()["graph"]:
        if (key, wrong) not in [("names", {}), ("sizes", {}), ("output", "")]:
            refused({**form(), "graph": {**form()["graph"], key: wrong}}, "cell.graph")
    for part in range(3):
        value = form()
        kinds = [op[0] for op in value["graph"]["ops"]]
        value["graph"]["ops"][kinds.index("product")][part] = wrong
        refused(value, "cell.graph.ops[")
    for name, cell in (("lstm", "forget_bias"), ("rhn", "depth"), ("rnn", "activation")):
        if not isinstance(wrong, int) or isinstance(wrong, bool) or wrong > 2**31:
            refused({"name": name, "options": {cell: wrong}}, f"cell.options.{cell}")
        refused({"name": name, "options": {"other": wrong}}, "other")
        refused({"name": name, "options": {LONG: wrong}})
    refused({"name": "X", "untraceable": False})


def edited(change) -> dict:
    value = form()
    change(value["graph"], value)
    return value


def op(value):
    return lambda graph, _: graph["ops"].append(value)


BROKEN = {
    "no such operation": (op(["cumprod", [0], None]), "unknown operation"),
    "code": (op(["__import__", [0], "os"]), "unknown operation"),
    "its own value": (lambda g, _: g["ops"].append(["tanh", [len(g["ops"])], None]), "earlier operation"),
    "a negative operand": (op(["tanh", [-1], None]), "earlier operation"),
    "an operand that is true": (op(["tanh", [True], None]), "earlier operation"),
    "too few operands": (op(["add", [0], None]), "2 operands"),
    "too many operands": (op(["add", [0, 0, 0], None]), "operands"),
    "a detail too many": (op(["tanh", [0], 3]), "no detail"),
    "a block before the first": (lambda g, _: change_op(g, "block", -4), "a block must be an integer from 0 to 1"),
    "a block past the last": (lambda g, _: change_op(g, "block", 2), "a block must be an integer from 0 to 1"),
    "a block of no product": (op(["block", [0], 0]), "must be a product"),
    "a product as a value": (lambda g, _: g["ops"].append(["tanh", [find_op(g, "product")], None]), "no product"),
    "a gate that is not there": (op(["input", [], "q"]), "input must be one of f, n"),
    "a state that is not there": (op(["state", [], "c"]), "state must be one of h"),
    "a vector that is a method": (op(["vector", [], "reset_parameters"]), "p_"),
    "a matrix that is a method": (op(["product", [0], ["hidden", 1, "reset", "parameters"]]), "reset_parameters"),
    "a matrix that is a vector": (op(["product", [0], ["hidden", 1, "p", "f"]]), "p_f"),
    "a matrix of one gate twice": (op(["product", [0], ["hidden", 1, "V", "f", "f"]]), "twice"),
    "a matrix without gates": (op(["product", [0], ["hidden", 1, "V"]]), "1 to 64 gates"),
    "a number that is not finite": (op(["constant", [], float("inf")]), "finite"),
    "a number beyond float32": (op(["constant", [], 1e300]), "finite"),
    "numbers alone": (lambda g, _: g["ops"].extend([["constant", [], 1.0], ["tanh", [len(g["ops"])], None]]), "alone"),
    "gates alike": (lambda g, _: g["gates"].append("f"), "twice"),
    "a gate that is no name": (lambda g, _: g["gates"].append("a b"), "identifier"),
    "a gate with _": (lambda g, _: g["gates"].append("a_b"), "no _"),
    "a keyword": (lambda g, _: g["gates"].append("lambda"), "identifier"),
    "100 gates": (lambda g, _: g["gates"].extend(f"g{n}" for n in range(100)), "64"),
    "100 vectors": (lambda g, _: g["ops"].extend(["vector", [], f"p_{n}"] for n in range(100)), "vectors: at most 64"),
    "100 matrices": (
        lambda g, _: g["ops"].extend(["product", [0], ["hidden", 1, f"V{n}", "f"]] for n in range(100)),
        "recurrent matrices",
    ),
    "300 blocks": (
        lambda g, _: g["ops"].extend(
            ["product", [0], ["hidden", 1, f"V{n}", *(f"g{k}" for k in range(30))]] for n in range(10)
        ), "blocks of matrices: at most 256",
    ),
    "a million operations": (lambda g, _: g["ops"].extend([["tanh", [0], None]] * 10**6), "10000 entries"),
    "an output too many": (lambda g, _: g["outputs"].append(0), "one operation for each of 1 states"),
    "an output past the end": (lambda g, _: g["outputs"].__setitem__(0, 999), "outputs[0]"),
    "an output that is a vector": (
        lambda g, _: g["outputs"].__setitem__(0, find_op(g, "vector")), "is no state (B, hidden)"
    ),
    "a name past the end": (lambda g, _: g["names"].update(z=999), "names['z']"),
    "a name with an escape": (lambda g, _: g["names"].update({"\x1b[2J": 0}), "printable"),
    "10000 names": (lambda g, _: g["names"].update({f"n{n}": 0 for n in range(10_000)}), "names"),
    "a start of no parameter": (lambda _, v: v["start"].update(q=1.0), "unknown parameter"),
    "a start that is not finite": (lambda _, v: v["start"].update(f=float("nan")), "start.f"),
    "a start beyond float32": (lambda _, v: v["start"].update(f=1e300), "start.f"),
    "a start that is no number": (lambda _, v: v["start"].update(f="identity"), "start.f"),
    "an unknown initialization": (lambda _, v: v["start"].update(U="xavier"), "orthogonal or identity"),
    "a negative deviation": (lambda _, v: v["start"].update(W=-1.0), "start.W"),
    # sizes
    "a size of a negative number": (lambda g, _: g["sizes"].update(f=-1), "sizes['f'] must be a size"),
    "a size of a billion": (lambda g, _: g["sizes"].update(f=10**9), "sizes['f'] must be a size"),
    "a size that is true": (lambda g, _: g["sizes"].update(f=True), "sizes['f'] must be a size"),
    "a size of a fraction": (lambda g, _: g["sizes"].update(f=2.5), "sizes['f'] must be a size"),
    "a size of code": (lambda g, _: g["sizes"].update(f="hidden*__import__('os')"), "must be a size"),
    "a size of another line": (lambda g, _: g["sizes"].update(f="hidden\n"), "must be a size"),
    "a size of a part of nothing": (lambda g, _: g["sizes"].update(f="hidden/0"), "must be a size"),
    "a size of other digits": (lambda g, _: g["sizes"].update(f="hidden*\u0663"), "must be a size"),
    "a size of many times": (lambda g, _: g["sizes"].update(f="hidden*9999"), "must be a size"),
    "a size of a name that steers": (lambda g, _: g["sizes"].update({"\x1b[2J": 3}), "printable"),
    "a size of another gate": (lambda g, _: g["sizes"].update(n="hidden/2"), "different sizes, hidden and hidden/2"),
    "a size of another state": (lambda g, _: g["sizes"].update(h="hidden/2"), "of different sizes"),
    "64 gates of a thousand times the units": (
        lambda g, _: (g["gates"].extend(f"g{n}" for n in range(60)),
                      g["sizes"].update({f"g{n}": "hidden*1024" for n in range(60)})), "blocks of matrices"
    ),
    "64 states of a thousand times the units": (
        lambda g, _: (g["states"].extend(f"s{n}" for n in range(60)), g["ops"].append(["repeat_interleave", [0], 1024]),
                      g["sizes"].update({f"s{n}": "hidden*1024" for n in range(60)}),
                      g["outputs"].extend([len(g["ops"]) - 1] * 60)), "values a row"
    ),
    "a matrix of a thousand by a thousand": (
        lambda g, _: g["ops"].extend(
            [["repeat_interleave", [0], 1024], ["product", [len(g["ops"])], ["hidden*1024", 1, "V", "f"]]]
        ), "blocks of matrices: at most 256",
    ),
    "ten thousand large values": (
        lambda g, _: g["ops"].extend(["repeat_interleave", [0], 900 + n % 100] for n in range(9000)), "values a row"
    ),
    "a size that is too large to be one": (op(["repeat_interleave", [0], 2000]), "a size of"),
    # products
    "a product without heads": (op(["product", [0], ["hidden", "V", "f"]]), "must be a size, heads, a name and"),
    "a product of no size": (op(["product", [0], [None, 1, "V", "f"]]), "its size must be a size"),
    "a product of no heads": (op(["product", [0], ["hidden", 0, "V", "f"]]), "its heads must be a size"),
    "a product of too many heads": (op(["product", [0], ["hidden", 100003, "V", "f"]]), "do not divide them"),
    "two sizes of one matrix": (
        lambda g, _: g["ops"].extend([["product", [0], ["hidden", 1, "V", "f"]], ["product", [0], [8, 1, "V", "f"]]]),
        "two recurrent matrices or vectors of one name",
    ),
    "one matrix of operands of two sizes": (
        lambda g, _: g["ops"].extend([["raw", [], None], ["product", [0], ["hidden", 1, "V", "f"]],
                                      ["product", [len(g["ops"])], ["hidden", 1, "V", "f"]]]), "of one name",
    ),
    "a product of a vector": (
        lambda g, _: g["ops"].append(["product", [find_op(g, "vector")], ["hidden", 1, "V", "f"]]),
        "of what has not a value for every row and unit",
    ),
    # random numbers
    "random numbers without a draw": (op(["uniform", [0], None]), "number of a draw must be an integer"),
    "random numbers of a negative draw": (op(["uniform", [0], [-1, "step"]]), "number of a draw"),
    "random numbers of a text": (op(["uniform", [0], ["c.seed", "step"]]), "number of a draw"),
    "random numbers of an epoch": (op(["uniform", [0], [0, "epoch"]]), "of a step or a sequence"),
    "random numbers of a list": (op(["uniform", [0], [0, ["step"]]]), "of a step or a sequence"),
    "random numbers like a vector": (
        lambda g, _: g["ops"].append(["uniform", [find_op(g, "vector")], [0, "step"]]), "for every row and unit"
    ),
    # matrices in a state
    "an outer product without heads": (op(["outer", [0, 0], None]), "detail of outer must be a size"),
    "an outer product of no heads": (op(["outer", [0, 0], 0]), "detail of outer must be a size"),
    "an outer product of uneven heads": (op(["outer", [0, 0], 100003]), "do not divide them"),
    "an outer product of all units": (op(["outer", [0, 0], 1]), "a size of"),
    "a product with no matrix": (op(["matvec", [0, 0], "hidden/2"]), "of a matrix of hidden values and a vector of"),
    "a repetition of code": (op(["repeat_interleave", [0], "system"]), "detail of repeat_interleave must be a size"),
    # conditions
    "a sum of comparisons": (
        lambda g, _: g["ops"].extend([["lt", [0, 0], None], ["add", [len(g["ops"]), 0], None]]), "of a comparison"
    ),
    "a choice by no comparison": (op(["where", [0, 0, 0], None]), "whose condition is no comparison"),
    "a state that is a comparison": (
        lambda g, _: (g["ops"].append(["lt", [0, 0], None]), g["outputs"].__setitem__(0, len(g["ops"]) - 1)),
        "is no state (B, hidden)",
    ),
    "a state that is one number a row": (
        lambda g, _: (g["ops"].append(["sum", [0], None]), g["outputs"].__setitem__(0, len(g["ops"]) - 1)),
        "is no state (B, hidden)",
    ),
    "a name of a comparison": (
        lambda g, _: (g["ops"].append(["lt", [0, 0], None]), g["names"].update(z=len(g["ops"]) - 1)), "has no value"
    ),
    "the sum of one number": (
        lambda g, _: g["ops"].extend([["sum", [0], None], ["sum", [len(g["ops"])], None]]), "for every row and unit"
    ),
    # output and bias
    "an output that is not named": (lambda g, _: g.update(output="y"), "output: 'y' is no named value"),
    "an output that is a state": (lambda g, _: g.update(output="h"), "the name of a gate or a state"),
    "an output of another size": (
        lambda g, _: (g.update(output="y"), g["names"].update(y=0), g["sizes"].update(y="hidden/2")),
        "is no named value",
    ),
    "an output that is no name": (lambda g, _: g.update(output="a b"), "cell.graph.output"),
    "a bias of no gate": (lambda g, _: g["bias"].append("q"), "bias has a name that is no gate"),
    "a bias twice": (lambda g, _: g["bias"].append("f"), "bias has a name twice"),
    "a bias of a list": (lambda g, _: g["bias"].append([]), "cell.graph.bias"),
    "another bias in evaluation": (lambda _, v: v["evaluation"].update(bias=["f"]), "cell.evaluation"),
    "other sizes in evaluation": (lambda _, v: v["evaluation"]["sizes"].update(p_q=3), "cell.evaluation"),
    "other gates in evaluation": (
        lambda _, v: v["evaluation"].update(trace(make("rnn", 1, 1)).to_json()), "cell.evaluation"
    ),
    "parameters of evaluation alone": (lambda _, v: v["evaluation"]["ops"].append(["vector", [], "p_z"]), "parameters"),
}  # fmt: skip


def find_op(graph, kind):
    return [each[0] for each in graph["ops"]].index(kind)


def change_op(graph, kind, detail):
    graph["ops"][find_op(graph, kind)][2] = detail


@pytest.mark.parametrize("case", BROKEN)
def test_a_graph_that_breaks_a_rule_is_refused_with_the_rule(case):
    change, words = BROKEN[case]
    refused(edited(change), words)


class Started(Cell):
    """Whose start has a tensor and a function, and that has a matrix of what is computed from the input."""

    gates = ("z", "n")

    def step(self, x, h):
        z = torch.sigmoid(x.z + self.recur("z", of=h).z)
        n = torch.tanh(x.n + self.p_u * h + self.project("q", of=x.raw * x.raw).q)
        return (z * h + (1 - z) * n,)

    @property
    def start(self):
        return {"z": torch.full((self.hidden_size,), 3.0), "p_u": lambda u: u.fill_(5.0), "W": 0.0, "n": 2.0}


def test_a_stored_cell_starts_as_the_class_that_it_was_made_from():
    cell = make(stored(Started), 3, 4)
    assert cell.b.tolist() == [3.0] * 4 + [2.0] * 4
    assert cell.p_u.eq(5).all()
    assert cell.W.eq(0).all()
    assert cell.W_q.eq(0).all()
    cell.reset_parameters()
    assert cell.p_u.eq(5).all()


def test_a_stored_cell_knows_which_matrices_are_those_of_the_input():
    value = json.loads(json.dumps(stored(Started).to_json()))
    assert value["projections"] == ["W_q"]
    for again in (make(stored(Started), 3, 4), make(StoredCell.from_json(value), 3, 4)):
        assert set(again.recurrent_matrices()) == {"U_z"}
        assert again.W_q.eq(0).all()
    for wrong in (["U_r"], [3], [[]], "W_q", ["W_q"] * 9, {}):
        refused(value | {"projections": wrong}, "cell.projections")


# ---- random graphs

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        [
            "tanh",
            "add",
            "product",
            "block",
            "input",
            "state",
            "vector",
            "constant",
            "normalize",
            "f",
            "h",
            "p_f",
            "U",
            "raw",
            "uniform",
            "outer",
            "matvec",
            "repeat_interleave",
            "where",
            "lt",
            "sum",
            "cumsum",
            "softmax",
            "pow",
            "hidden",
            "hidden/2",
            "hidden*2",
            "input",
            "step",
            "sequence",
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
SPECS = ["lstm", "slstm", "layer_norm_lstm", "rhn:depth=2", "gru_before", "min_lstm", "lstmp", "on_lstm", "li_gru",
         "mogrifier_lstm:rounds=2"]  # fmt: skip


def mutated(value, pick: random.Random, other):
    """The value with one thing in it changed, removed, repeated or replaced by another."""
    value = copy.deepcopy(value)
    holder = value
    while True:
        key = pick.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if isinstance(holder[key], dict | list) and holder[key] and pick.random() < 0.85:
            holder = holder[key]
            continue
        match pick.randrange(5):
            case 0:
                holder[key] = other
            case 1 if isinstance(holder[key], int) and not isinstance(holder[key], bool):
                holder[key] += pick.choice([-100, -2, -1, 1, 2, 100])
            case 2 if isinstance(holder, list):
                del holder[key]
            case 3 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[pick.randrange(len(holder))]))
            case _:
                peers = list(holder.values() if isinstance(holder, dict) else holder)
                holder[key] = copy.deepcopy(pick.choice(peers))
        return value


def read(value) -> StoredCell | None:
    """The stored cell, or None where it is refused in one line."""
    message = ""
    try:
        return StoredCell.from_json(value)
    except UserError as error:
        message = str(error)
    assert message.isprintable()
    return None


def runs_alike(cell: StoredCell, compiled: bool) -> None:
    """Both backends, over time and backwards, or a UserError when the layer is made."""
    torch.manual_seed(0)
    try:
        model = Recurrent(2, 4, cell).double()
    except UserError:
        return
    x, runs = torch.rand(2, 3, 2, dtype=torch.double), []
    for model.backend in ("loop", "fused") if compiled else ("loop",):
        y, state = model(x)
        wanted = [p for p in model.parameters() if p.requires_grad]
        runs.append([y, *state[0], *torch.autograd.grad(y.sum(), wanted, materialize_grads=True)])
    if all(value.isfinite().all() and value.abs().max() < 1e6 for value in runs[0] if value.numel()):
        for each, reference in zip(runs[-1], runs[0], strict=True):
            torch.testing.assert_close(each, reference, rtol=1e-6, atol=1e-8)


def fuzz(seed: int, spec: str, count: int, other, compiled: bool) -> None:
    pick = random.Random(seed)
    value = {"name": "Own", "graph": json.loads(graph_of(spec)), "start": {}}
    for _ in range(count):
        value = mutated(value, pick, other)
        if not isinstance(value, dict) or not value:
            break
    cell = read(value)
    if cell is not None:
        runs_alike(cell, compiled)


@settings(some, max_examples=200)
@given(seed=st.integers(0, 2**32), spec=st.sampled_from(SPECS), count=st.integers(1, 3), other=JSON)
def test_a_mutated_graph_is_refused_or_runs(seed, spec, count, other):
    fuzz(seed, spec, count, other, compiled=False)


@settings(some, max_examples=6)
@given(seed=st.integers(0, 2**32), spec=st.sampled_from(SPECS), count=st.integers(1, 2), other=st.just("tanh"))
def test_a_mutated_graph_that_is_accepted_runs_alike_in_both_backends(seed, spec, count, other):
    fuzz(seed, spec, count, other, compiled=True)


@pytest.mark.slow
@settings(some, max_examples=200, derandomize=False)
@given(seed=st.integers(0, 2**32), spec=st.sampled_from(SPECS), count=st.integers(1, 3), other=JSON)
def test_many_mutated_graphs_run_alike_in_both_backends(seed, spec, count, other):
    fuzz(seed, spec, count, other, compiled=True)


@some
@given(value=JSON)
def test_any_json_is_refused_in_one_line(value):
    read(value)


def deep(count: int) -> Graph:
    """A graph of so many operations, each of the one before."""
    ops = [["input", [], "a"], ["state", [], "h"], ["add", [0, 1], None]]
    ops += [["tanh", [number + 2], None] for number in range(count - len(ops))]
    return Graph.from_json(
        {"gates": ["a"], "states": ["h"], "ops": ops, "outputs": [count - 1], "output": "", "names": {}, "sizes": {},
         "bias": ["a"]}
    )  # fmt: skip


def test_the_largest_graph_runs_in_the_loop_and_is_refused_by_the_kernels():
    graph = deep(10_000)
    model = Recurrent(2, 3, stored(graph_cell("Deep", ModeGraphs(graph, graph), {})))
    assert "operations" in model.choose().refusals["fused"]
    assert model(torch.zeros(1, 2, 2))[0].isfinite().all()


def test_a_graph_of_many_operations_has_a_kernel():
    graph = deep(100)
    model, x = Recurrent(2, 3, stored(graph_cell("Deep", ModeGraphs(graph, graph), {}))), torch.randn(1, 2, 2)
    fused = model(x)[0]
    assert str(model.choose()) == "fused"
    model.backend = "loop"
    torch.testing.assert_close(fused, model(x)[0])
