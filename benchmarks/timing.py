"""Times of several runs, measured in turn."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

THREADS = torch.get_num_threads()
SECONDS = 6.0  # for one row of a table
Run = Callable[[], object]


class Shape(NamedTuple):
    """The sizes of a recurrence."""

    batch: int
    steps: int
    inputs: int
    hidden: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.steps}, {self.inputs} -> {self.hidden}"


def in_turn(runs: dict[str, Run], seconds: float = SECONDS) -> dict[str, list[float]]:
    """Milliseconds of each run, one after another, in rounds, for some seconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():  # warm-up: kernels are compiled, memory is allocated
        run(), run()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times[next(iter(runs))]) < 5:
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1e3)
    return times


def median(times: list[float]) -> float:
    """The median."""
    return statistics.median(times)


def quartiles(times: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def passes(model: Any, shape: Shape, dtype: torch.dtype, backward: bool, threads: int = THREADS) -> Run:
    """One pass over time with this dtype and number of threads."""
    x = torch.randn(shape.batch, shape.steps, shape.inputs, requires_grad=backward)
    gradient = torch.randn(shape.batch, shape.steps, shape.hidden)
    parameters = list(model.parameters())

    def run() -> None:
        torch.set_num_threads(threads)
        with torch.set_grad_enabled(backward), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            y, _ = model(x)
        if backward:
            y.backward(gradient.to(y.dtype))
            for value in (x, *parameters):
                value.grad = None

    return run
