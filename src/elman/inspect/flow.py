"""Gradient flow: the gradient of the loss of one step with respect to the states many steps before.

Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063): over k steps the gradient is multiplied by k Jacobians of the step.
While their singular values are below 1 it vanishes; above 1 it can explode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.inspect.blocks import Chart, Table
from elman.inspect.chart import axes, label_plainly, styled
from elman.inspect.panel import Panel
from elman.recurrent.layer import Recurrent

SMALLEST = 1e-12  # norm that is drawn


@dataclass(frozen=True)
class Flow:
    """Gradients of the loss of step T with respect to step T - k, for k from 0.

    - states: (K,) by address (`1.c`), the norm of d loss / d state, geometric mean over the rows, relative to k = 0
    - weights: (K,) by address of a gate (`1.i`), the fraction of the gradient of the gate's input weights that comes
      from that step; of a cell without gates that of the gradient of its input (`1.raw`)
    """

    states: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]

    def half_life(self, address: str) -> float:
        """Steps after which the norm stays below one half; infinite where it does not within the measured steps."""
        below = self.states[address] < 0.5
        last = np.flatnonzero(~below)
        return float(last[-1] + 1) if below[-1] else float("inf")

    @property
    def longest(self) -> str:
        """The address of the state with the longest half-life."""
        return max(self.states, key=lambda address: (self.half_life(address), float(self.states[address][-1])))


def flow(layer: Recurrent, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Flow:
    """Gradient flow through a layer over x (B, K, I) from the initial state. `loss`: from the last output (B, H) to the
    loss of each row (B,). A ValueError for a bidirectional layer."""
    if layer.directions == 2:
        raise ValueError("gradient flow needs a layer of one direction")
    cells = [cell for cell in layer.cells if isinstance(cell, Cell)]
    with torch.enable_grad():
        states, projected, inputs = _run(cells, x, layer.initial(len(x)), layer.residual)
        total = loss(inputs[-1][:, -1]).sum()  # rows are independent: each keeps its own gradient
        wanted = [value for steps in states for state in steps for value in state]
        grads = iter(torch.autograd.grad(total, [*wanted, *projected], materialize_grads=True))
    norms_of: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    for number, cell in enumerate(cells):
        norms = [[next(grads).norm(dim=-1) for _ in cell.states] for _ in range(x.shape[1])]
        for index, name in enumerate(cell.states):
            by_step = torch.stack([norm[index] for norm in norms][::-1])  # (K, B), the last step first
            mean = by_step.clamp_min(1e-38).log().mean(1).exp()
            norms_of[f"{number + 1}.{name}"] = (mean / mean[0].clamp_min(1e-38)).cpu().numpy()
    for number, cell in enumerate(cells):
        deltas = next(grads)  # (B, K, G H)
        size = torch.sqrt(inputs[number].detach().square().sum(-1) + 1)  # of the input, with the 1 of the bias
        of_gates = dict(zip(cell.gates, deltas.split(cell.gate_sizes, -1), strict=True)) if cell.gates else {}
        for name, delta in (of_gates or {"raw": deltas}).items():
            of_steps = (delta.norm(dim=-1) * (size if of_gates else 1)).sum(0).flip(0)
            weights[f"{number + 1}.{name}"] = (of_steps / of_steps.sum().clamp_min(1e-38)).cpu().numpy()
    return Flow(norms_of, weights)


def _run(cells: Sequence[Cell], x: Tensor, state: Any, residual: bool) -> tuple[list[Any], list[Tensor], list[Tensor]]:
    """The states of every step and layer; the projected inputs (B, K, G H) of each layer, or its inputs where its cell
    has no gates, to differentiate with respect to both; and the inputs (B, K, I) of each layer, followed by the output
    of the last."""
    states, projections, inputs = [], [], [x.detach().requires_grad_()]
    for number, cell in enumerate(cells):
        projected, now = cell.input_projection(inputs[-1]), state[number]
        after, outputs = list[Any](), list[Tensor]()
        if not projected.requires_grad:
            projected.requires_grad_()
        for each, of_each in zip(inputs[-1].unbind(1), projected.unbind(1), strict=True):
            output, now = cell.result(cell.step(cell.inputs(each, of_each), *now))
            after.append(now)
            outputs.append(output)
        output = torch.stack(outputs, 1)
        inputs.append(inputs[-1] + output if residual and number else output)
        states.append(after)
        projections.append(projected if cell.gates else inputs[number])
    return states, projections, inputs


def jacobian(cell: Cell, x: Tensor, state: Sequence[Tensor]) -> Tensor:
    """d new state / d state of one step, (n H, n H), for an input x (I,) and n states (H,), concatenated."""
    x = cell.inputs(x[None])

    def step(flat: Tensor) -> Tensor:
        _, new = cell.result(cell.step(x, *(part[None] for part in flat.split(cell.state_sizes))))
        return torch.cat(new, -1)[0]

    return torch.func.jacrev(step)(torch.cat(list(state)))


@dataclass(frozen=True)
class Spectrum:
    """The largest singular value of a matrix, and its spectral radius: the largest absolute value of an eigenvalue."""

    singular: float
    radius: float

    @staticmethod
    def of(matrix: Tensor) -> "Spectrum":
        """Of a square matrix."""
        matrix = matrix.detach().double()
        return Spectrum(float(torch.linalg.matrix_norm(matrix, 2)), float(torch.linalg.eigvals(matrix).abs().max()))


def matrices(layer: Recurrent) -> dict[str, Spectrum]:
    """The spectrum of every gate's recurrent matrix, by address: `1.U.f`. Only a square one has a spectrum."""
    found = {}
    for index, cell in enumerate(layer.cells):
        assert isinstance(cell, Cell)
        for name, matrix in cell.recurrent_matrices().items():
            kind, *gates = name.split("_")
            blocks = zip(gates, matrix.chunk(len(gates)), strict=True)
            for gate, block in ((gate, block) for gate, block in blocks if block.shape[0] == block.shape[1]):
                found[f"{layer.prefix(index)}{kind}.{gate}"] = Spectrum.of(block)
    return found


@styled
def chart(flows: dict[str, np.ndarray]) -> Any:
    """Norms (K,) by name over k, on a logarithmic scale."""
    figure, axis = axes()
    for name, norms in flows.items():
        axis.semilogy(np.where(norms > SMALLEST, norms, np.nan), label=name)
    label_plainly(axis.yaxis)
    axis.axhline(1, color="#80808080", linewidth=0.8)
    axis.set_xlabel("k, steps back")
    axis.set_ylabel("norm of d loss at T / d state at T - k\nrelative to k = 0")
    axis.set_ylim(max(SMALLEST, axis.get_ylim()[0]), min(1e12, axis.get_ylim()[1]))
    axis.legend(loc="best", ncols=2)
    return figure


@styled
def panel(layer: Recurrent, found: Flow, spectra: dict[str, list[Spectrum]], bptt: int) -> Panel:
    """Gradient flow of a trained layer. `spectra`: those of the step's Jacobians by layer; `bptt`: the steps that the
    gradient went back in training."""
    figure, axis = axes()
    for address, fractions in found.weights.items():
        axis.plot(fractions.cumsum(), label=address)
    axis.set_xlabel("k, steps back")
    axis.set_ylabel("fraction of the weight gradient\nfrom the last k steps")
    axis.legend(ncols=2)
    lives = {address: found.half_life(address) for address in found.states}
    recurrent = matrices(layer)
    rows = [[address, steps_of(lives[address], len(norms)), f"{norms[-1]:.1e}"]
            for address, norms in found.states.items()]  # fmt: skip
    largest = [[f"layer {name}: Jacobian of the step, largest of {len(each)} positions",
                max(s.singular for s in each), max(s.radius for s in each)]
               for name, each in spectra.items()]  # fmt: skip
    measured = len(next(iter(found.states.values())))
    return Panel(
        "gradient", "Gradient flow", summary(found, bptt),
        {"states": found.states, "half_life": lives, "weight_gradient": found.weights, "bptt": bptt,
         "recurrent_matrices": {name: vars(each) for name, each in recurrent.items()},
         "jacobians": {name: [vars(s) for s in each] for name, each in spectra.items()}},
        [Chart("gradient", chart(found.states)), Chart("weight_gradient", figure),
         Table(["state", "half-life, steps", f"relative norm after {measured - 1} steps"], rows),
         Table(["matrix", "largest singular value", "spectral radius"],
               [*largest, *([name, each.singular, each.radius] for name, each in recurrent.items())])],
    )  # fmt: skip


def steps_of(life: float, measured: int) -> Any:
    """A half-life for a table, of so many measured steps."""
    return int(life) if np.isfinite(life) else f"over {measured - 1}"


def reach(found: Flow) -> int:
    """Steps back from which at least nine tenths of every gate's weight gradient come."""
    return max(int(np.searchsorted(fractions.cumsum(), 0.9)) + 1 for fractions in found.weights.values())


def summary(found: Flow, bptt: int) -> str:
    """How far back the model learns, and whether `bptt` is further."""
    address, norms = found.longest, found.states[found.longest]
    life, far = found.half_life(address), reach(found)
    measured = (
        f"halves in {life:.0f} step{'s' * (life != 1)}."
        if np.isfinite(life)
        else f"has not halved after {len(norms) - 1} steps."
    )
    text = f"Nine tenths of the weight gradient come from the last {far} steps; the gradient of {address} {measured}"
    if bptt >= 2 * far:
        return f"{text} Truncated back-propagation went {bptt} steps back (`bptt`), further than the model learns from."
    if bptt < far:
        return f"{text} Truncated back-propagation went only {bptt} steps back: a larger `bptt` may improve the model."
    return f"{text} Truncated back-propagation went {bptt} steps back (`bptt`), which is enough."
