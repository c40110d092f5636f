"""A writer that sees the whole picture at once: the decoder of a caption without attention."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from elman.nets.attention import wide
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State, like

Enters = Literal["add", "state", "first"]


class Plain(nn.Module):
    """The mean v of a grid (B, L, D) enters the recurrence as a term at every step, tanh(W x + U h + V v + b) where the
    cell is Elman's and in the same way in every gate of another (`add`); as its first state (`state`); or as what it is
    given before the first token (`first`, Vinyals et al. 2015)."""

    def __init__(
        self, grid: int, embedding: int, hidden: int, cell: Any, layers: int, enters: Enters = "add", **common: Any
    ):
        super().__init__()
        self.enters = enters
        # [W V] applied to [x; v] is W x + V v
        self.recurrent = Recurrent(embedding + (embedding if enters == "add" else 0), hidden, cell, layers, **common)
        states = layers * len(self.recurrent.initial(1)[0])
        self.image = nn.Linear(grid, states * hidden if enters == "state" else embedding)
        self.out = nn.Linear(hidden, embedding)

    def begin(self, grid: Tensor) -> dict[str, Any]:
        """The state before the first token."""
        image = torch.tanh(self.image(grid.mean(1)))
        layers = self.recurrent.initial(len(grid))
        if self.enters == "state":
            return {"layers": like(layers, wide(image))}
        if self.enters == "first":
            return {"layers": self.recurrent(image[:, None], layers)[1]}
        return {"layers": layers, "image": image}

    def advance(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], x: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """One token (B, E) on: what the head is given (B, E), and the state. `step`: `recurrent.stepper()`."""
        y, layers = step(torch.cat((x, state["image"]), -1) if "image" in state else x, state["layers"])
        return torch.tanh(self.out(y)), state | {"layers": layers}

    def whole(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same for all tokens (B, T, E) of a text; and what was looked at: nothing."""
        if "image" in state:
            x = torch.cat((x, state["image"][:, None].expand(-1, x.shape[1], -1)), -1)
        return torch.tanh(self.out(self.recurrent(x, state["layers"])[0])), {}

    def penalty(self, looked: dict[str, Tensor], nats: Tensor, counted: Tensor) -> Tensor:
        """What is added to the loss of a token: nothing."""
        return nats.new_zeros(())
