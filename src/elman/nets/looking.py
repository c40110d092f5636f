"""Writers that look at the picture before each word (Xu et al. 2015): softly, a mean over all places, or hard, at one.

Shapes: B rows, T tokens, L places of the grid, D numbers at each, E size of a token's vector.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.tap import keep
from elman.nets.attention import Additive, wide
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State, like

SCORED = 128  # numbers from which a place is scored: the step's cost is mostly theirs


class Soft(nn.Module):
    """What is read is z = beta sum_i alpha_i a_i (section 4.2): alpha the softmax of v . tanh(W [h; x] + U a_i), beta a
    number from 0 to 1 made of h, the state before the step, in which z enters beside the token x. The head is given
    tanh(x + L_h h + L_z z) (equation 7). The first state is made of the mean of the grid.

    That x has a say in alpha is not theirs: h does not know yet which word was said, so of several things that it might
    have begun to name it could not look at the one that it did.
    """

    def __init__(
        self, grid: int, embedding: int, hidden: int, cell: Any, layers: int, coverage: float = 0.0, **common: Any
    ):
        super().__init__()
        self.recurrent = Recurrent(embedding + grid, hidden, cell, layers, **common)
        self.first = nn.Linear(grid, layers * len(self.recurrent.initial(1)[0]) * hidden)
        self.attention = Additive(hidden + embedding, grid, SCORED)
        self.gate = nn.Linear(hidden, 1)
        self.of_state, self.of_read = nn.Linear(hidden, embedding), nn.Linear(grid, embedding, bias=False)
        self.coverage = coverage

    def begin(self, grid: Tensor) -> dict[str, Any]:
        """The state before the first token."""
        first = wide(torch.tanh(self.first(grid.mean(1))))
        return {
            "layers": like(self.recurrent.initial(len(grid)), first),
            "grid": grid,
            "keys": self.attention.keys(grid),
        }

    def weights(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """After the token x (B, E): where is looked (B, L), from 0 to 1 with the sum 1; and its logarithm."""
        query = torch.cat((state["layers"][-1][0], x), -1)
        scores = self.attention.scores(query[:, None], state["keys"])[:, 0]
        logs = wide(scores).log_softmax(-1)
        weights = logs.exp()
        keep("attention", weights[:, None])
        return weights, logs

    def look(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights of the places (B, L) by which the grid is read; and what `penalty` needs."""
        weights, _ = self.weights(x, state)
        return weights, {"weights": weights}

    def advance(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], x: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """One token (B, E) on: what the head is given (B, E), and the state. `step`: `recurrent.unrolled()`."""
        out, state, _ = self._advance(step, x, state)
        return out, state

    def _advance(self, step: Any, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any], dict[str, Tensor]]:
        weights, looked = self.look(x, state)
        read = (weights.to(state["grid"].dtype)[:, None] @ state["grid"])[:, 0]
        read = torch.sigmoid(self.gate(state["layers"][-1][0])) * read
        y, layers = step(torch.cat((x, read), -1), state["layers"])
        return torch.tanh(x + self.of_state(y) + self.of_read(read)), state | {"layers": layers}, looked

    def whole(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same for all tokens (B, T, E) of a text; and what was looked at, each (B, T, ...)."""
        step, outs, seen = self.recurrent.unrolled(), list[Tensor](), list[dict[str, Tensor]]()
        for token in x.unbind(1):
            out, state, looked = self._advance(step, token, state)
            outs.append(out)
            seen.append(looked)
        return torch.stack(outs, 1), {name: torch.stack([each[name] for each in seen], 1) for name in seen[0]}

    def penalty(self, looked: dict[str, Tensor], nats: Tensor, counted: Tensor) -> Tensor:
        """Added to the loss of a token, from nats (B, T) and which of the tokens count: every place should be looked at
        as often as every other, coverage times sum_i (1 - sum_t alpha_ti)^2 of a text (equation 14)."""
        seen = (looked["weights"] * counted[..., None]).sum(1)
        return self.coverage * ((1 - seen) ** 2).sum() / counted.sum()


class Hard(Soft):
    """One place is looked at, drawn by alpha; learned by REINFORCE (section 4.1): the gradient of log p(place) counts
    as far as the text was likelier than `baseline`, a moving average of how likely texts were. When not in training the
    likeliest place is taken.

    reinforce: how much that counts beside the loss. entropy: how much evenly spread weights count, which keeps
    attention from settling early. In every second row, by chance, alpha is used as it is: the gradient is less noisy.
    """

    baseline: Tensor

    def __init__(
        self, grid: int, embedding: int, hidden: int, cell: Any, layers: int,
        reinforce: float = 0.1, entropy: float = 0.002, **common: Any,
    ):  # fmt: skip
        super().__init__(grid, embedding, hidden, cell, layers, 0.0, **common)
        self.reinforce, self.entropy = reinforce, entropy
        self.register_buffer("baseline", torch.zeros(()))

    def begin(self, grid: Tensor) -> dict[str, Any]:
        state = super().begin(grid)
        return state | {"drawn": torch.rand(len(grid), 1, device=grid.device) < 0.5} if self.training else state

    def look(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        weights, logs = self.weights(x, state)
        places = torch.multinomial(weights.detach(), 1) if self.training else weights.argmax(-1, keepdim=True)
        one = F.one_hot(places[:, 0], weights.shape[1]).to(weights)
        if not self.training:
            return one, {"weights": weights}
        said = torch.where(state["drawn"], logs.gather(1, places), 0.0)[:, 0]
        spread = -(weights * logs).sum(-1)
        return torch.where(state["drawn"], one, weights), {"weights": weights, "log_place": said, "spread": spread}

    def penalty(self, looked: dict[str, Tensor], nats: Tensor, counted: Tensor) -> Tensor:
        if not self.training:
            return nats.new_zeros(())
        lengths = counted.sum(1).clamp(min=1)
        reward = -(nats * counted).sum(1).detach() / lengths
        surprise = reward - self.baseline
        self.baseline.mul_(0.9).add_(reward.mean(), alpha=0.1)
        score = (surprise[:, None] * looked["log_place"] * counted).sum()
        return -(self.reinforce * score + self.entropy * (looked["spread"] * counted).sum()) / counted.sum()
