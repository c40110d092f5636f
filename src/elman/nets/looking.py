"""Writers that look at the picture before each word (Xu et al. 2015): softly, a mean over all places, or hard, at one.

Shapes: B rows, T tokens, L places of the grid, D numbers at each, E size of a token's vector.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.tap import keep
from elman.nets.attention import Scaled, wide
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State, like

SCORED = 128  # numbers by which a query and a place are compared
DRAWN = 0.2  # of the rows, in training: those that look hard
CREDIT = 0.5  # of a word, by what it counts less for a place than the word before


class Soft(nn.Module):
    """What is read is z = beta sum_i alpha_i a_i (section 4.2): alpha the softmax of scores that are made of [h; x] and
    a_i, beta a number from 0 to 1 made of h, the state before the step, in which z enters beside the token x. The head
    is given tanh(x + L_h h + L_z z) (equation 7). The first state is made of the mean of the grid.

    Three things are not theirs. x has a say in alpha: h does not know yet which word was said, so of several things
    that it might have begun to name it could not look at the one that it did. Scores are scaled products, see `Scaled`:
    with tanh, as theirs, a word hardly tells one place from another at first, and for long. And in training most of the
    mean is dropped before it makes the first state.

    coverage: how much every place should be looked at as often as every other. entropy: how much evenly spread weights
    count; below 0 they become narrow, but on anything, if they do before it is known where to look.
    """

    forgotten: ClassVar[float] = 0.9  # of the mean, in training: what the first state were told, nobody would look for

    def __init__(
        self, grid: int, embedding: int, hidden: int, cell: Any, layers: int,
        coverage: float = 0.0, entropy: float = 0.0, **common: Any,
    ):  # fmt: skip
        super().__init__()
        self.recurrent = Recurrent(embedding + grid, hidden, cell, layers, **common)
        self.first = nn.Linear(grid, layers * len(self.recurrent.initial(1)[0]) * hidden)
        self.attention = Scaled(hidden + embedding, grid, SCORED)
        self.gate = nn.Linear(hidden, 1)
        self.of_state, self.of_read = nn.Linear(hidden, embedding), nn.Linear(grid, embedding, bias=False)
        self.coverage, self.entropy = coverage, entropy

    def begin(self, grid: Tensor) -> dict[str, Any]:
        """The state before the first token."""
        first = wide(torch.tanh(self.first(F.dropout(grid.mean(1), self.forgotten, self.training))))
        return {
            "layers": like(self.recurrent.initial(len(grid)), first),
            "grid": grid,
            "keys": self.attention.keys(grid),
        }

    def look(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """After the token x (B, E): the weights of the places (B, L) by which the grid is read; and what `penalty`
        needs, with where is looked (B, L), from 0 to 1 with the sum 1."""
        query = torch.cat((state["layers"][-1][0], x), -1)
        logs = wide(self.attention.scores(query[:, None], state["keys"])[:, 0]).log_softmax(-1)
        weights = logs.exp()
        keep("attention", weights[:, None])
        return weights, {"weights": weights, "spread": -(weights * logs).sum(-1)}

    def advance(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], x: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """One token (B, E) on: what the head is given (B, E), and the state. `step`: `recurrent.stepper()`."""
        y, read, state, _ = self._advance(step, x, state)
        return self._told(x, y, read), state

    def _advance(
        self, step: Any, x: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, Tensor, dict[str, Any], dict[str, Tensor]]:
        weights, looked = self.look(x, state)
        read = (weights.to(state["grid"].dtype)[:, None] @ state["grid"])[:, 0]
        read = torch.sigmoid(self.gate(state["layers"][-1][0])) * read
        y, layers = step(torch.cat((x, read), -1), state["layers"])
        return y, read, state | {"layers": layers}, looked

    def _told(self, x: Tensor, y: Tensor, read: Tensor) -> Tensor:
        return torch.tanh(x + self.of_state(y) + self.of_read(read))

    def whole(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same for all tokens (B, T, E) of a text; and what was looked at, each (B, T, ...)."""
        step, ys, reads, seen = self.recurrent.stepper(), list[Tensor](), list[Tensor](), list[dict[str, Tensor]]()
        for token in x.unbind(1):
            y, read, state, looked = self._advance(step, token, state)
            ys.append(y)
            reads.append(read)
            seen.append(looked)
        looked = {name: torch.stack([each[name] for each in seen], 1) for name in seen[0]}
        return self._told(x, torch.stack(ys, 1), torch.stack(reads, 1)), looked

    def penalty(self, looked: dict[str, Tensor], nats: Tensor, counted: Tensor) -> Tensor:
        """Added to the loss of a token, from nats (B, T) and which of the tokens count: coverage times sum_i (1 - sum_t
        alpha_ti)^2 of a text (equation 14), less entropy times that of alpha."""
        seen = (looked["weights"] * counted[..., None]).sum(1)
        uneven, spread = ((1 - seen) ** 2).sum(), (looked["spread"] * counted).sum()
        return (self.coverage * uneven - self.entropy * spread) / counted.sum()


class Hard(Soft):
    """One place is looked at, drawn by alpha; learned by REINFORCE (section 4.1): the gradient of log p(place) counts
    as far as the words were likelier than `baseline`, a moving average of how likely words were. When not in training
    the likeliest place is taken.

    reinforce: how much that counts beside the loss. entropy: how much evenly spread weights count, which keeps
    attention from settling early. In some rows, by chance, alpha is used as it is: the gradient is less noisy. Theirs
    is half of the rows, and all words of a text count alike for each of its places; here a place answers for the words
    from its own on, each half as much as the one before.
    """

    forgotten: ClassVar[float] = 0.7
    baseline: Tensor

    def __init__(
        self, grid: int, embedding: int, hidden: int, cell: Any, layers: int,
        reinforce: float = 0.02, entropy: float = 0.002, **common: Any,
    ):  # fmt: skip
        super().__init__(grid, embedding, hidden, cell, layers, 0.0, entropy, **common)
        self.reinforce = reinforce
        self.register_buffer("baseline", torch.zeros(()))

    def begin(self, grid: Tensor) -> dict[str, Any]:
        state = super().begin(grid)
        return state | {"drawn": torch.rand(len(grid), 1, device=grid.device) < DRAWN} if self.training else state

    def look(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        weights, looked = super().look(x, state)
        places = torch.multinomial(weights.detach(), 1) if self.training else weights.argmax(-1, keepdim=True)
        one = F.one_hot(places[:, 0], weights.shape[1]).to(weights)
        if not self.training:
            return one, looked
        said = torch.where(state["drawn"], weights.gather(1, places).log(), 0.0)[:, 0]
        return torch.where(state["drawn"], one, weights), looked | {"log_place": said}

    def penalty(self, looked: dict[str, Tensor], nats: Tensor, counted: Tensor) -> Tensor:
        reward = _ahead(-nats.detach(), counted)
        mean = (reward * counted).sum() / counted.sum()
        score = ((reward - self.baseline) * looked["log_place"] * counted).sum()
        self.baseline.mul_(0.9).add_(mean, alpha=0.1)
        return super().penalty(looked, nats, counted) - self.reinforce * score / counted.sum()


def _ahead(values: Tensor, counted: Tensor) -> Tensor:
    """Of each of the values (B, T) the mean of it and those that follow, of which each has CREDIT times the weight of
    the one before."""
    total, weight, means = values.new_zeros(len(values)), values.new_zeros(len(values)), list[Tensor]()
    for value, counts in zip(values.flip(1).unbind(1), counted.to(values).flip(1).unbind(1), strict=True):
        total, weight = counts * value + CREDIT * total, counts + CREDIT * weight
        means.append(total / weight.clamp(min=1))
    return torch.stack(means[::-1], 1)
