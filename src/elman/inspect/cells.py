"""Gradient flow through untrained cells: which gradient vanishes, which explodes, and the effect of clipping, of the
activation and of the forget bias; and the same in feed-forward stacks, over depth instead of time."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.inspect.blocks import Chart, Table
from elman.inspect.chart import axes, label_plainly, styled
from elman.inspect.flow import chart, flow, reach, steps_of
from elman.inspect.panel import Panel
from elman.inspect.report import Report
from elman.recurrent.layer import Recurrent

STEPS, ROWS, INPUTS, HIDDEN, CLASSES = 100, 16, 64, 128, 50
DEPTHS = (10, 20, 30, 40, 50)


def compare(specs: Sequence[str], gain: float = 1.0, steps: int = STEPS, clip: float = 1.0, seed: int = 0) -> Report:
    """Gradient flow through untrained cells over random inputs. `gain` multiplies their recurrent matrices."""
    norms, rows, metrics = {}, [], {}
    for spec in specs:
        torch.manual_seed(seed)
        layer, head = Recurrent(INPUTS, HIDDEN, spec), nn.Linear(HIDDEN, CLASSES)
        for cell in layer.cells:
            for matrix in cell.matrices().values():  # type: ignore[operator]
                matrix.data.mul_(gain)
        x, target = torch.randn(ROWS, steps, INPUTS), torch.randint(CLASSES, (ROWS,))
        found = flow(layer, x, lambda h, head=head, target=target: F.cross_entropy(head(h), target, reduction="none"))
        address = found.longest
        state = address.partition(".")[2]
        norms[f"{spec} ({state})"] = found.states[address]
        size = _gradient_norm(layer, head, x, target)
        rows.append([spec, state, steps_of(found.half_life(address), steps), reach(found),
                     f"{found.states[address][-1]:.1e}", _kind(found.states[address]), f"{size:.2g}",
                     f"{min(1.0, clip / size):.2g}"])  # fmt: skip
        metrics[spec] = {"states": found.states, "weight_gradient": found.weights, "gradient_norm": size}
    head = ["cell", "state", "half-life, steps", "9/10 of the gradient from", f"relative norm after {steps - 1} steps",
            "", "norm of the total gradient", f"clipping at {clip:g} multiplies it by"]  # fmt: skip
    scaled = f", recurrent matrices multiplied by {gain:g}" if gain != 1 else ""
    summary = (
        f"Untrained cells of {HIDDEN} units over {steps} random steps{scaled}. Only the last step has a loss: a "
        "falling line is a vanishing gradient, a rising one an exploding gradient. Clipping bounds an exploding "
        "gradient; it cannot restore one that has vanished."
    )
    return Report("Gradient flow through untrained cells", [
        Panel("cells", "Through time", summary, metrics, [Chart("cells", chart(norms)), Table(head, rows)]),
        stacks(seed),
    ])  # fmt: skip


def _gradient_norm(layer: Recurrent, head: nn.Module, x: Tensor, target: Tensor) -> float:
    """The norm of the gradient of the mean loss with respect to all weights."""
    layer.backend = "loop"  # nothing is compiled for a single pass
    loss = F.cross_entropy(head(layer(x)[0][:, -1]), target)
    return float(nn.utils.get_total_norm(torch.autograd.grad(loss, list(layer.parameters()), materialize_grads=True)))


def _kind(norms: np.ndarray) -> str:
    return "vanishes" if norms[-1] < 1e-3 else "explodes" if norms[-1] > 1e3 else "flows"


@styled
def stacks(seed: int = 0, width: int = HIDDEN) -> Panel:
    """Gradients through feed-forward stacks of depth 10 to 50: plain, residual (He et al. 2015), highway (Srivastava
    et al. 2015, arXiv 1505.00387, gate bias -4), their matrices initialised as those of `nn.Linear`."""
    depth = max(DEPTHS)
    found = {name: _through(layer, depth, width, seed) for name, layer in STACKS.items()}
    figure, axis = axes()
    for name, norms in found.items():
        axis.semilogy(norms, label=name)
    label_plainly(axis.yaxis)
    axis.set_xlabel("layers below the loss")
    axis.set_ylabel("norm of d loss / d layer\nrelative to the last")
    axis.legend()
    rows = [[name, *(f"{norms[depth]:.1e}" for depth in DEPTHS)] for name, norms in found.items()]
    return Panel(
        "stacks", "Through depth",
        "Feed-forward stacks of tanh layers without recurrence: the gradient of a plain stack vanishes with depth; "
        "residual and gated (highway) connections preserve it, as the cell state of an LSTM does through time.",
        found, [Chart("stacks", figure), Table(["stack", *(f"{depth} layers" for depth in DEPTHS)], rows)],
    )  # fmt: skip


def _plain(h: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    return torch.tanh(h @ draw())


def _residual(h: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    return h + torch.tanh(h @ draw())


def _highway(h: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    t = torch.sigmoid(h @ draw() - 4.0)
    return t * torch.tanh(h @ draw()) + (1 - t) * h


STACKS = {"plain": _plain, "residual": _residual, "highway": _highway}


def _through(layer: Callable[[Tensor, Callable[[], Tensor]], Tensor], depth: int, width: int, seed: int) -> np.ndarray:
    """Norms of d loss / d layer, the last layer first."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return (torch.rand(width, width, generator=generator) * 2 - 1) / width**0.5

    layers = [torch.randn(ROWS, width, generator=generator).requires_grad_()]
    for _ in range(depth):
        layers.append(layer(layers[-1], draw))
    loss = (layers[-1] * torch.randn(ROWS, width, generator=generator)).sum()
    norms = torch.stack([grad.norm() for grad in torch.autograd.grad(loss, layers)][::-1])
    return (norms / norms[0]).numpy()
