"""From a cell's `step` to its graph: the step is run on symbolic values that record what is done to them.

Every value that the equation names is known under that name: an assignment `i = sigmoid(...)` in `step` gives the value
the name `i`, as `tap("i", ...)` does.

A graph stands for the step wherever it is run, so a step must depend on nothing but its inputs, its parameters and the
mode of the cell (training or evaluation): it is traced in both modes, with and without gradients, and more than once.
"""

import copy
import inspect
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from elman.cells.cell import Cell
from elman.cells.graph import Graph, ModeGraphs
from elman.cells.graph_cell import GraphCell
from elman.cells.op import SOURCES
from elman.cells.size import HIDDEN, TRACED_HIDDEN, TRACED_INPUT, Size, relative, resolve
from elman.cells.symbolic import (
    NotTraceable,
    Recorder,
    SymbolicParameters,
    SymbolicValue,
    symbolic_inputs,
    symbolic_vectors,
)
from elman.cells.tap import Observer, observing
from elman.errors import UserError

REPEATED = 8  # traces with gradients in each mode: a step that a coin decides passes all of them in 1 of 2^14 cases
RANDOM = "a step that draws random numbers"
RANDOM_FUNCTIONS = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
    "multinomial", "poisson", "binomial", "dropout", "dropout_", "alpha_dropout", "alpha_dropout_", "feature_dropout",
    "feature_alpha_dropout", "native_dropout", "rrelu", "rrelu_", "normal_", "uniform_", "random_", "bernoulli_",
    "exponential_", "geometric_", "cauchy_", "log_normal_",
}  # fmt: skip
# methods that a graph takes to be those of `Cell`
FIXED = ("_product", "inputs", "input_projection", "rand_like", "split")

_traces: WeakKeyDictionary[Cell, dict[Any, ModeGraphs | str]] = WeakKeyDictionary()


def trace(cell: Cell) -> Graph:
    """The graph of a cell's step in its present mode. Raises NotTraceable as `trace_modes` does."""
    return trace_modes(cell).of(cell.training)


def trace_modes(cell: Cell) -> ModeGraphs:
    """The graphs of a cell's step in training and in evaluation. Raises NotTraceable, naming what is not a known
    operation or on what else the step depends."""
    if isinstance(cell, GraphCell) and type(cell).step is GraphCell.step and type(cell).recur is Cell.recur:
        return cell.graphs
    known, key = _traces.setdefault(cell, {}), signature(cell)
    if key not in known:
        try:
            known[key] = _trace_modes(cell)
        except NotTraceable as reason:
            known[key] = str(reason)
    found = known[key]
    if isinstance(found, str):
        raise NotTraceable(found)
    return found


def signature(cell: Cell) -> tuple[Any, ...]:
    """All that may change the equation of a cell: the plain attributes of it and of its submodules, the mode among
    them."""
    return tuple(
        (name, value)
        for module in cell.modules()
        for name, value in vars(module).items()
        if isinstance(value, str | int | float | None)
    )


def redefines(cell: Cell) -> str | None:
    """A method other than `step` that this cell overrides, so that a backend would compute another equation; None if
    there is none."""
    return next((name for name in FIXED if getattr(type(cell), name) is not getattr(Cell, name)), None)


def _trace_modes(cell: Cell) -> ModeGraphs:
    if name := redefines(cell):
        raise NotTraceable(f"it defines {name} itself")
    graphs, reasons = dict[bool, Graph](), dict[bool, str]()
    with _numpy_numbers_kept():
        for training in (True, False):
            try:
                graphs[training] = _trace_mode(_copy(cell, training))
            except NotTraceable as reason:
                reasons[training] = str(reason)
        if len(reasons) == 1:
            [(training, reason)] = reasons.items()
            raise NotTraceable(f"{reason}, in {'training' if training else 'evaluation'}")
        if reasons:
            raise NotTraceable(reasons[True])
        with torch.no_grad():
            if _traced(_copy(cell, None)) != graphs[cell.training]:
                raise NotTraceable("a step that is another now than after train() or eval()")
    for parameter in {"_".join(matrix[2:]) for matrix in graphs[False].matrices} | graphs[False].vectors:
        if parameter not in cell.weight_names:
            raise NotTraceable(f"the parameter {parameter}, which the step in training does not have, in evaluation")
    return ModeGraphs(graphs[True], graphs[False])


def _copy(cell: Cell, training: bool | None) -> Cell:
    """A copy with the same parameters, buffers and weights, in this mode; None: as it is."""
    try:
        kept = (*cell.parameters(), *cell.buffers(), *cell.weights.values())
        copied = copy.deepcopy(cell, {id(value): value for value in kept})
        if training is not None:
            copied.train(training)  # as `Recurrent.train` calls it, and `Recurrent.eval`
    except Exception as error:
        raise NotTraceable(f"it cannot be copied: {type(error).__name__}: {error}") from error
    return copied


def _trace_mode(cell: Cell) -> Graph:
    with torch.enable_grad():
        found = _traced(cell)
        if any(_traced(cell) != found for _ in range(REPEATED - 1)):
            raise NotTraceable("a step that is another at every call")
    for gradient_mode in (torch.no_grad, torch.inference_mode):
        with gradient_mode():
            if _traced(cell) != found:
                raise NotTraceable("a step that depends on whether gradients are computed")
    return found


@contextmanager
def _numpy_numbers_kept() -> Iterator[None]:
    """A step must draw no random numbers. Those of NumPy's global generator are noticed afterwards, and drawn again;
    see `_draws` for the others."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        drawn = any(np.any(now != then) for now, then in zip(np.random.get_state(), before, strict=True))  # noqa: NPY002
        if drawn:
            np.random.set_state(before)  # noqa: NPY002
    if drawn:
        raise NotTraceable(RANDOM)


def _draws(function: Any) -> bool:
    """Whether this C function draws a number of a generator of Python, of the system or of torch."""
    if isinstance(of := getattr(function, "__self__", None), random.Random) or function is os.urandom:
        return True
    return getattr(function, "__name__", "") in RANDOM_FUNCTIONS and (of is None or isinstance(of, torch.Tensor))


def _traced(cell: Cell) -> Graph:
    try:
        return _traced_with(cell, TRACED_INPUT, {})
    except NotTraceable:
        if cell.input_size != cell.hidden_size:
            raise
        return _traced_with(cell, TRACED_HIDDEN, {"raw": HIDDEN})  # x.raw may be added to a state


def _traced_with(cell: Cell, inputs: int, sizes: dict[str, Size]) -> Graph:
    recorder = Recorder()
    symbolic = object.__new__(type("Symbolic", (SymbolicParameters, type(cell)), symbolic_vectors(cell.weight_names)))
    symbolic.__dict__.update(cell.__dict__, _recorder=recorder, hidden_size=TRACED_HIDDEN, input_size=inputs)
    x = symbolic_inputs(recorder, cell.gates)
    state = [recorder.value("state", detail=name) for name in cell.states]
    try:
        sizes = sizes | {name: relative(size) for name, size in symbolic.sizes.items()}
        new, local = _call(symbolic.step, x, *state)
    except NotTraceable:
        raise
    except Exception as error:
        raise NotTraceable(f"{type(error).__name__}: {error}") from error
    if not isinstance(new, Sequence) or not all(isinstance(value, SymbolicValue) for value in new):
        raise NotTraceable("a new state that is not computed from the gates and states")
    output = {cell.output: new[0].number} if cell.output else {}
    outputs = tuple(value.number for value in new[len(output) :])
    graph = Graph(cell.gates, cell.states, tuple(recorder.ops), outputs, cell.output,
                  dict(zip(cell.states, outputs, strict=True)) | output, sizes, cell.biased)  # fmt: skip
    try:
        graph.check("its graph")
    except UserError as error:
        raise NotTraceable(str(error)) from error
    names = dict(graph.names)
    for name, value in local.items():  # one name for a value: as a state, else as it was tapped, else as a variable
        computed = recorder.ops[value.number].kind not in SOURCES
        if computed and graph.shapes[value.number].is_value and value.number not in names.values():
            names.setdefault(name, value.number)
    return replace(graph, names=names)


def value_sizes(cell: Cell) -> dict[str, int]:
    """The sizes of the values of a step by their names; of a step that cannot be traced those that it taps, and its
    results."""
    try:
        graph = trace(cell)
    except NotTraceable:
        observer = Observer({})
        zero = torch.zeros(1, cell.input_size, dtype=cell.dtype, device=cell.device)
        with observing(observer), torch.no_grad():
            cell.step(cell.inputs(zero), *cell.zero_state(1))
        found = {name: value.shape[-1] for name, value in observer.values.items()}
        return found | {name: cell.size_of(name) for name in (*cell.states, cell.output) if name}
    sizes = {name: graph.shapes[number].size for name, number in graph.names.items()}
    return {name: resolve(size, cell.hidden_size, cell.input_size) for name, size in sizes.items() if size is not None}


def _call(step: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, SymbolicValue]]:
    """Calls `step`; also returns the values that its local variables, those of the steps of base classes that it calls,
    and its taps, gave a name."""
    steps = [vars(kind)["step"] for kind in type(step.__self__).__mro__ if "step" in vars(kind)]  # type: ignore[attr-defined]
    codes, local = {getattr(inspect.unwrap(each), "__code__", None) for each in steps}, {}

    class Names:
        def __call__(self, name: str, value: Any) -> Any:
            local[name] = value
            return value

    def profile(frame: Any, event: str, function: Any) -> None:
        if event == "c_call" and _draws(function):  # of this thread alone, and before it happens
            raise NotTraceable(RANDOM)
        if event == "return" and frame.f_code in codes:
            local.update({name: value for name, value in frame.f_locals.items() if isinstance(value, SymbolicValue)})

    before = sys.getprofile()
    with observing(Names()):  # type: ignore[arg-type]
        sys.setprofile(profile)
        try:
            return step(*args), local
        finally:
            sys.setprofile(before)
