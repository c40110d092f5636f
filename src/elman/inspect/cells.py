"""Fresh cells side by side: which gradient vanishes, which explodes, and what clipping, the activation and the forget
bias change; and the same in feed-forward stacks, where depth takes the place of time."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.inspect.chart import axes, styled
from elman.inspect.flow import chart, flow, reach, whole
from elman.inspect.panel import Panel, Report, table
from elman.recurrent.layer import Recurrent

STEPS, ROWS, INPUTS, HIDDEN, CLASSES = 100, 16, 64, 128, 50
DEPTHS = (10, 20, 30, 40, 50)


def compare(specs: Sequence[str], gain: float = 1.0, steps: int = STEPS, clip: float = 1.0, seed: int = 0) -> Report:
    """Gradient flow through fresh cells over random inputs. `gain` multiplies their recurrent matrices."""
    norms, rows, figures = {}, [], {}
    for spec in specs:
        torch.manual_seed(seed)
        layer, head = Recurrent(INPUTS, HIDDEN, spec), nn.Linear(HIDDEN, CLASSES)
        for cell in layer.cells:
            for matrix in cell.matrices().values():  # type: ignore[operator]
                matrix.data.mul_(gain)
        x, target = torch.randn(ROWS, steps, INPUTS), torch.randint(CLASSES, (ROWS,))
        found = flow(layer, x, lambda h, head=head, target=target: F.cross_entropy(head(h), target, reduction="none"))
        place = found.longest
        norms[f"{spec} ({place.partition('.')[2]})"] = found.states[place]
        size = _gradient(layer, head, x, target)
        rows.append([spec, place.partition(".")[2], whole(found.half_life(place), steps), reach(found),
                     f"{found.states[place][-1]:.1e}", _kind(found.states[place]), f"{size:.2g}",
                     f"{min(1.0, clip / size):.2g}"])  # fmt: skip
        figures[spec] = {"states": found.states, "shares": found.shares, "gradient_norm": size}
    drawn = chart(norms)
    head = ["cell", "state", "half-life, steps", "9/10 of the gradient from", f"left after {steps - 1} steps", "",
            "norm of the whole gradient", f"clipping at {clip:g} multiplies it by"]  # fmt: skip
    rise = f", their recurrent matrices multiplied by {gain:g}" if gain != 1 else ""
    says = (
        f"Fresh cells of {HIDDEN} units over {steps} random steps{rise}. Only the last step has a loss: where a line "
        "falls, the gradient vanishes; where it rises, it explodes. Clipping makes an exploding gradient short again; "
        "it cannot bring back one that has vanished."
    )
    return Report("Gradient flow through fresh cells", [
        Panel("cells", "Through time", says, figures, {"cells": drawn}, table(head, rows)), stacks(seed),
    ])  # fmt: skip


def _gradient(layer: Recurrent, head: nn.Module, x: Tensor, target: Tensor) -> float:
    """The norm of the gradient of the mean loss, all weights together."""
    layer.backend = "loop"  # so that nothing is compiled for one pass
    loss = F.cross_entropy(head(layer(x)[0][:, -1]), target)
    return float(nn.utils.get_total_norm(torch.autograd.grad(loss, list(layer.parameters()), materialize_grads=True)))


def _kind(norms: np.ndarray) -> str:
    return "vanishes" if norms[-1] < 1e-3 else "explodes" if norms[-1] > 1e3 else "flows"


@styled
def stacks(seed: int = 0, width: int = HIDDEN) -> Panel:
    """Gradients through feed-forward stacks of depth 10 to 50: plain, residual (He et al. 2015), highway (Srivastava
    et al. 2015, arXiv 1505.00387, the bias of its gate at -4), their matrices as `nn.Linear` begins."""
    depth = max(DEPTHS)
    found = {name: _through(layer, depth, width, seed) for name, layer in STACKS.items()}
    figure, axis = axes()
    for name, norms in found.items():
        axis.semilogy(norms, label=name)
    axis.set_xlabel("layers down from the loss")
    axis.set_ylabel("norm of d loss / d layer\nrelative to the last")
    axis.legend()
    rows = [[name, *(f"{norms[depth]:.1e}" for depth in DEPTHS)] for name, norms in found.items()]
    return Panel(
        "stacks", "Through depth",
        "The same in feed-forward stacks of tanh layers without recurrence: a plain stack loses its gradient with "
        "depth; what is added (residual) or gated (highway) keeps it, as the LSTM's cell state does through time.",
        found, {"stacks": figure}, table(["stack", *(f"{depth} layers" for depth in DEPTHS)], rows),
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
