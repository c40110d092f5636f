"""A decoder that is given the mean of an image's grid: captions without attention."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from elman.nets.attention import at_least_float32
from elman.nets.attention_decoder import Recurrence
from elman.recurrent.state import like
from elman.recurrent.stepper import Stepper


class PooledDecoder(nn.Module):
    """The mean v of a grid (B, L, D) enters the recurrence as a term at every step, tanh(W x + U h + V v + b) for a
    vanilla RNN and in the same way in every gate of another cell (`image_enters` add); as its initial state (`state`);
    or as the input before the first token (`first`, Vinyals et al. 2015)."""

    hard: ClassVar[bool] = False
    entropy: ClassVar[float] = 0.0

    def __init__(self, grid: int, embedding: int, recurrence: Recurrence, options: Any, entropy: float):
        super().__init__()
        self.enters = options.image_enters
        # [W V] applied to [x; v] is W x + V v
        self.recurrent = recurrence(embedding + (embedding if self.enters == "add" else 0))
        states = self.recurrent.layers * sum(self.recurrent.state_sizes)
        self.image = nn.Linear(grid, states if self.enters == "state" else embedding)
        self.out = nn.Linear(self.recurrent.output_size, embedding)

    def begin(self, grid: Tensor) -> dict[str, Any]:
        """The state before the first token, from a grid (B, L, D)."""
        image = torch.tanh(self.image(grid.mean(1)))
        layers = self.recurrent.initial(len(grid))
        if self.enters == "state":
            return {"layers": like(layers, at_least_float32(image))}
        if self.enters == "first":
            return {"layers": self.recurrent(image[:, None], layers)[1]}
        return {"layers": layers, "image": image}

    def advance(self, layer: Stepper, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One step with the token x (B, E): what the head is given (B, E), and the state. `layer`: the stepper of
        `recurrent`."""
        y, layers = layer.step(torch.cat((x, state["image"]), -1) if "image" in state else x, state["layers"])
        return torch.tanh(self.out(y)), state | {"layers": layers}

    def decode(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """All tokens (B, T, E) of a text: what the head is given (B, T, E), and what `penalty` needs: nothing."""
        if "image" in state:
            x = torch.cat((x, state["image"][:, None].expand(-1, x.shape[1], -1)), -1)
        return torch.tanh(self.out(self.recurrent(x, state["layers"])[0])), {}

    def penalty(self, attended: dict[str, Tensor], nats: Tensor, mask: Tensor) -> Tensor:
        """What is added to the mean loss per token: nothing."""
        return nats.new_zeros(())
