"""Gradient flow: how strongly the loss of one step still depends on the state many steps before.

Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063): the gradient that goes back k steps is multiplied by k Jacobians of
the step. Where their singular values stay below 1 it vanishes, above 1 it explodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.inspect.chart import axes, styled
from elman.inspect.panel import Panel, table
from elman.recurrent.layer import Recurrent

GONE = 1e-12  # a norm below it is drawn no further


@dataclass(frozen=True)
class Flow:
    """Gradients of the losses of one step, T, with respect to what was T - k before it, k from 0.

    - states: by place (`1.c`), (K,) the norm of d loss / d state, geometric mean over the rows, relative to k = 0
    - shares: by place of a gate (`1.i`), (K,) the step's share of the gradient of the gate's input weights
    """

    states: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]

    def half_life(self, place: str) -> float:
        """Steps after which the norm has halved for good; infinite when it never does within what was measured."""
        below = self.states[place] < 0.5
        last = np.flatnonzero(~below)
        return float(last[-1] + 1) if below[-1] else float("inf")

    @property
    def longest(self) -> str:
        """The place of the state that lives longest."""
        return max(self.states, key=lambda place: (self.half_life(place), float(self.states[place][-1])))


def flow(layer: Recurrent, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Flow:
    """Runs the layer over x (B, K, I) from the initial state and takes the gradient of `loss`, a function of the last
    output (B, H) that gives a loss a row (B,)."""
    if layer.directions == 2:
        raise ValueError("gradient flow is that of one direction")
    cells = [cell for cell in layer.cells if isinstance(cell, Cell)]
    with torch.enable_grad():
        states, shares, inputs = _run(cells, x, layer.initial(len(x)), layer.residual)
        total = loss(inputs[-1][:, -1]).sum()  # rows do not touch each other: each keeps its own gradient
        wanted = [value for steps in states for state in steps for value in state]
        grads = iter(torch.autograd.grad(total, [*wanted, *shares], materialize_grads=True))
    found: dict[str, np.ndarray] = {}
    parts: dict[str, np.ndarray] = {}
    for number, cell in enumerate(cells):
        norms = [[next(grads).norm(dim=-1) for _ in cell.states] for _ in range(x.shape[1])]
        for place, name in enumerate(cell.states):
            by_step = torch.stack([norm[place] for norm in norms][::-1])  # (K, B), the last step first
            mean = by_step.clamp_min(1e-38).log().mean(1).exp()
            found[f"{number + 1}.{name}"] = (mean / mean[0].clamp_min(1e-38)).cpu().numpy()
    for number, cell in enumerate(cells):
        deltas = next(grads)  # (B, K, G H)
        read = inputs[number].detach()
        size = torch.sqrt(read.square().sum(-1) + 1)  # of the step's input, with the 1 of the bias
        for name, delta in zip(cell.gates, deltas.chunk(len(cell.gates), -1), strict=True):
            share = (delta.norm(dim=-1) * size).sum(0).flip(0)
            parts[f"{number + 1}.{name}"] = (share / share.sum().clamp_min(1e-38)).cpu().numpy()
    return Flow(found, parts)


def _run(cells: Sequence[Cell], x: Tensor, state: Any, residual: bool) -> tuple[list[Any], list[Tensor], list[Tensor]]:
    """Every state of every layer, and the gates' shares of each layer's inputs (B, K, G H), to differentiate by; and
    what each layer reads (B, K, I), the last entry being the output."""
    states, shares, inputs = [], [], [x.detach()]
    for number, cell in enumerate(cells):
        share, now, after = cell.project(inputs[-1]), state[number], []
        if not share.requires_grad:
            share.requires_grad_()
        for each in share.unbind(1):
            now = cell.step(cell.split(cell.gates, each), *now)
            after.append(now)
        output = torch.stack([each[0] for each in after], 1)
        inputs.append(inputs[-1] + output if residual and number else output)
        states.append(after)
        shares.append(share)
    return states, shares, inputs


def jacobian(cell: Cell, x: Tensor, state: Sequence[Tensor]) -> Tensor:
    """d new state / d state of one step, (n H, n H), for an input x (I,) and states (H,), all n next to each other."""
    size, share = cell.hidden_size, cell.project(x).detach()

    def step(flat: Tensor) -> Tensor:
        new = cell.step(cell.split(cell.gates, share[None]), *(part[None] for part in flat.split(size)))
        return torch.cat(new, -1)[0]

    return torch.func.jacrev(step)(torch.cat(list(state)))


@dataclass(frozen=True)
class Stretching:
    """How a matrix stretches: its largest singular value, and the largest absolute value of an eigenvalue."""

    singular: float
    radius: float

    @staticmethod
    def of(matrix: Tensor) -> "Stretching":
        """Of a square matrix."""
        matrix = matrix.detach().double()
        return Stretching(float(torch.linalg.matrix_norm(matrix, 2)), float(torch.linalg.eigvals(matrix).abs().max()))


def matrices(layer: Recurrent) -> dict[str, Stretching]:
    """Of every gate's recurrent matrix, by place: `1.U.f`."""
    found = {}
    for index, cell in enumerate(layer.cells):
        assert isinstance(cell, Cell)
        for name, matrix in cell.matrices().items():
            kind, *gates = name.split("_")
            for gate, block in zip(gates, matrix.split(cell.hidden_size), strict=True):
                found[f"{layer.prefix(index)}{kind}.{gate}"] = Stretching.of(block)
    return found


@styled
def chart(flows: dict[str, np.ndarray]) -> Any:
    """Norms (K,) by name over k, on a logarithmic scale."""
    figure, axis = axes()
    for name, norms in flows.items():
        drawn = np.where(norms > GONE, norms, np.nan)
        axis.semilogy(drawn, label=name)
    axis.axhline(1, color="#80808080", linewidth=0.8)
    axis.set_xlabel("k, steps back")
    axis.set_ylabel("norm of d loss at T / d state at T - k\nrelative to k = 0")
    axis.set_ylim(max(GONE, axis.get_ylim()[0]), min(1e12, axis.get_ylim()[1]))
    axis.legend(loc="best", ncols=2)
    return figure


@styled
def panel(layer: Recurrent, found: Flow, stretched: dict[str, list[Stretching]], back: int | None) -> Panel:
    """Gradient flow of a trained layer. `stretched`: Jacobians of the step by layer; `back`: the steps that the
    gradient went back in training."""
    states = chart(found.states)
    figure, axis = axes()
    for place, share in found.shares.items():
        axis.plot(share.cumsum(), label=place)
    axis.set_xlabel("k, steps back")
    axis.set_ylabel("share of the weight gradient\nfrom the last k steps")
    axis.legend(ncols=2)
    lives = {place: found.half_life(place) for place in found.states}
    recurrent = matrices(layer)
    rows = [[place, whole(lives[place], len(norms)), f"{norms[-1]:.1e}"]
            for place, norms in found.states.items()]  # fmt: skip
    body = table(["state", "half-life, steps", f"left after {len(next(iter(found.states.values()))) - 1} steps"], rows)
    steps = [[f"layer {name}: the step's Jacobian, most of {len(each)} places", max(s.singular for s in each),
              max(s.radius for s in each)] for name, each in stretched.items()]  # fmt: skip
    body += table(["matrix", "largest singular value", "spectral radius"],
                  [*steps, *([name, each.singular, each.radius] for name, each in recurrent.items())])  # fmt: skip
    return Panel(
        "gradient", "Gradient flow", verdict(found, back),
        {"states": found.states, "half_life": lives, "weight_gradient_shares": found.shares, "back": back,
         "recurrent_matrices": {name: vars(each) for name, each in recurrent.items()},
         "jacobians": {name: [vars(s) for s in each] for name, each in stretched.items()}},
        {"gradient": states, "weight_gradient": figure}, body,
    )  # fmt: skip


def whole(life: float, steps: int) -> Any:
    """A half-life for a table."""
    return int(life) if np.isfinite(life) else f"over {steps - 1}"


def reach(found: Flow) -> int:
    """Steps back within which nine tenths of every gate's weight gradient come about."""
    return max(int(np.searchsorted(share.cumsum(), 0.9)) + 1 for share in found.shares.values())


def verdict(found: Flow, back: int | None) -> str:
    """In a sentence: how far back this model learns, and whether `back` is further."""
    place, norms = found.longest, found.states[found.longest]
    life, far = found.half_life(place), reach(found)
    said = f"Nine tenths of the weight gradient come from the last {far} steps; the gradient of {place} " + (
        f"halves in {life:.0f} step{'s' * (life != 1)}."
        if np.isfinite(life)
        else f"has not halved after {len(norms) - 1} steps."
    )
    if back is None:
        return said
    if back >= 2 * far:
        return f"{said} Training went back {back} steps (--bptt), further than this model learns from."
    if back < far:
        return f"{said} Training went back only {back} steps: a larger --bptt may teach it more."
    return f"{said} Training went back {back} steps (--bptt), which is enough."
