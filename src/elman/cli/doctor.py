"""`elman doctor`: this machine, the backend of each cell and why; and checks of a cell of your own."""

import os
import platform
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from elman import __version__
from elman.cells.cell import Cell
from elman.cells.registry import find, make_any
from elman.cells.shipped import shipped
from elman.cells.trace import NotTraceable, trace
from elman.cli.output import add_row
from elman.cli.parameters import command
from elman.errors import Stopped
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent.layer import Recurrent

SHAPE = (32, 64, 64, 256)  # batch, steps, input, hidden of a small character model
PATIENCE = 2.0  # seconds a timing may take
WRONG = "WRONG"  # begins the result of a check


@command
def doctor_(*, cell: str | None = None) -> None:
    """Show this machine and which backend runs each cell; with --cell, check one cell in ten seconds.

    Parameters
    ----------
    cell
        A name with options, or my_cell.py:MyCell.
    """
    console = Console(highlight=False, markup=False)
    found, wrong = (_backends(console), False) if cell is None else _check(cell)
    console.print(machine(), soft_wrap=True)
    console.print(found)
    if wrong:
        raise Stopped(f"the cell {cell} is wrong: see above")


def machine() -> str:
    """The machine in a few lines."""
    devices = [f"cuda:{n} {torch.cuda.get_device_name(n)}" for n in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return "\n".join([
        f"elman {__version__}, Python {platform.python_version()}, torch {torch.__version__}, {platform.platform()}",
        f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}; "
        f"bfloat16 on the CPU: {bfloat16_hardware(torch.device('cpu')) or 'no hardware, float32 is used'}",
        f"other devices: {', '.join(devices) or 'none'}",
    ])  # fmt: skip


def _backends(console: Console) -> Table:
    table = Table("cell", "backend", "why no faster backend", box=None)
    with console.status("compiling kernels"), ThreadPoolExecutor(os.cpu_count()) as pool:
        choices = pool.map(
            lambda name: Recurrent(16, 16, name).choose(), shipped()
        )  # the compiler runs outside of Python
    for name, choice in zip(shipped(), choices, strict=True):
        why = "; ".join(f"{other}: {reason}" for other, reason in choice.refusals.items())
        add_row(table, name, choice.backend.name, why)
    return table


def _check(spec: str) -> tuple[Table, bool]:
    """What is known of a cell, and whether something is wrong."""
    kind, options = find(spec)
    batch, steps, inputs, hidden = SHAPE
    cell = make_any(kind, options, (inputs, hidden), (hidden, hidden))
    inputs = cell.input_size
    table = Table(show_header=False, box=None)
    add_row(table, "cell", f"{cell.name}: gates {', '.join(cell.gates)}; states {', '.join(cell.states)}")
    add_row(table, "options", ", ".join(f"{name}={value}" for name, value in cell.options.items()) or "none")
    shapes = [f"{name} {tuple(value.shape)}" for name, value in cell.named_parameters()]
    add_row(table, "parameters", f"{', '.join(shapes)}: {sum(p.numel() for p in cell.parameters()):,}")
    add_row(table, "equation", _equation(cell))
    choice = Recurrent(inputs, hidden, spec).choose()
    add_row(table, "backend", str(choice))
    checks = {"gradient": _gradient(make_any(kind, options, (3, 4), (4, 4), (12, 24), (24, 24), (hidden, hidden)))}
    if choice.backend.name != "loop":
        checks["kernel"] = _kernel(spec, inputs, choice.backend.name)
    for name, result in checks.items():
        add_row(table, name, result)
    own, lstm = _milliseconds(spec, inputs), _milliseconds("lstm", inputs)
    add_row(table, "speed", f"{own:.1f} ms forward and backward, lstm {lstm:.1f} ms: {own / lstm:.1f} x "
                           f"(batch {batch}, {steps} steps, {inputs} -> {hidden}, float32)")  # fmt: skip
    return table, any(result.startswith(WRONG) for result in checks.values())


def _equation(cell: Cell) -> str:
    try:
        graph = trace(cell)
    except NotTraceable as reason:
        return f"cannot be traced: {reason}. It runs in the loop, and its runs are loaded with --cell FILE.py:NAME"
    return f"{len(graph.ops)} operations; named values {', '.join(graph.names)}"


def _gradient(cell: Cell) -> str:
    """The gradient of a step against finite differences, in float64; of a random cell, with the same random numbers at
    each call."""
    generator = torch.Generator().manual_seed(0)
    cell = cell.double()
    for weight in cell.parameters():
        nn.init.normal_(weight, 0.0, 0.5, generator=generator)
    inputs = [torch.randn(2, cell.input_size, dtype=torch.double, generator=generator)]
    inputs += [torch.rand(2, size, dtype=torch.double, generator=generator) + 0.5 for size in cell.state_sizes]
    for value in inputs:
        value.requires_grad_()

    def step(x: torch.Tensor, *state: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        return cell.step(cell.inputs(x), *state)

    runs = [torch.cat(step(*inputs, seed=seed), -1) for seed in range(8)]
    drawn = ", for given random numbers: its step is random" if any(run.ne(runs[0]).any() for run in runs) else ""
    try:
        torch.autograd.gradcheck(step, inputs)
    except (RuntimeError, ValueError) as error:  # raised by gradcheck
        return f"{WRONG}: {str(error).splitlines()[0].rstrip(',')}"
    return f"agrees with finite differences{drawn}"


def _kernel(spec: str, inputs: int, backend: str) -> str:
    """Outputs and gradients of the backend against the loop's, in float32, with the same random numbers."""
    layer, x = Recurrent(inputs, SHAPE[-1], spec), torch.randn(4, 20, inputs)
    found = []
    for layer.backend in (backend, "loop"):
        torch.manual_seed(0)
        y, _ = layer(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()), materialize_grads=True)])
    worst = max(((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item() for a, b in zip(*found, strict=True))
    return f"{'agrees with' if worst < 1e-3 else f'{WRONG}: differs from'} the loop, in float32 to {worst:.0e}"


def _milliseconds(spec: str, inputs: int) -> float:
    """The median time of a forward and a backward pass."""
    batch, steps, _, hidden = SHAPE
    layer = Recurrent(inputs, hidden, spec)
    x = torch.randn(batch, steps, inputs)
    times, begin = [], time.perf_counter()
    while len(times) < 3 or (len(times) < 50 and time.perf_counter() - begin < PATIENCE):
        started = time.perf_counter()
        layer(x)[0].sum().backward()
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[len(times[1:]) // 2] * 1000
