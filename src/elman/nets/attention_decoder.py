"""Decoders that attend to an image before each token (Xu et al. 2015): soft, a mean over all positions, or hard, at
one.

Shapes: B rows, T tokens, L positions of the grid, D features of each, E size of an embedding.
"""

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.tap import keep
from elman.nets.attention import Scaled, at_least_float32
from elman.nets.reinforce import Reinforce, discounted_mean
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import like
from elman.recurrent.stepper import Stepper

SCORED = 128  # features by which a query and a position are compared
SAMPLED = 0.2  # probability, in training, that a row uses hard attention
DISCOUNT = 0.5  # of the reward of each later token


class Recurrence(Protocol):
    """Makes a `Recurrent` for inputs of a size."""

    def __call__(self, input_size: int, /) -> Recurrent: ...


class SoftDecoder(nn.Module):
    """Soft attention: the context is z = beta sum_i alpha_i a_i (section 4.2), alpha the softmax of scores of [h; x]
    against a_i, beta a gate of h, the state before the step, whose inputs are x, the token, and z. The input of the
    head is tanh(x + L_h h + L_z z) (equation 7). The initial state is computed from the mean of the grid.

    Three things differ from the paper. x enters the scores, since h does not depend on the last token yet. Scores are
    scaled products, see `Scaled`: those of the paper, with tanh, distinguish positions only after long training. And
    dropout on the mean, in training, keeps most of the image out of the initial state, so that attention is needed.

    - coverage: weight of doubly stochastic attention: every position should get the same total attention
    - entropy: weight of the entropy of the attention. Above 0 it stays spread; below 0 it becomes narrow, perhaps at
      wrong positions, where that is before it has learned to attend
    """

    hard: ClassVar[bool] = False
    entropy: ClassVar[float] = 0.0  # the default of the option
    state_dropout: ClassVar[float] = 0.9  # dropout probability of the mean that makes the initial state

    def __init__(self, grid: int, embedding: int, recurrence: Recurrence, options: Any, entropy: float):
        super().__init__()
        self.recurrent = recurrence(embedding + grid)
        sizes = self.recurrent.state_sizes
        self.first = nn.Linear(grid, self.recurrent.layers * sum(sizes))
        self.attention = Scaled(sizes[0] + embedding, grid, SCORED)
        self.gate = nn.Linear(sizes[0], 1)
        self.of_state = nn.Linear(self.recurrent.output_size, embedding)
        self.of_context = nn.Linear(grid, embedding, bias=False)
        self.coverage, self.entropy_weight = options.coverage, entropy

    def begin(self, grid: Tensor) -> dict[str, Any]:
        """The state before the first token, from a grid (B, L, D)."""
        mean = F.dropout(grid.mean(1), self.state_dropout, self.training)
        first = at_least_float32(torch.tanh(self.first(mean)))
        return {
            "layers": like(self.recurrent.initial(len(grid)), first),
            "grid": grid,
            "keys": self.attention.keys(grid),
            "attention": grid.new_zeros(grid.shape[:2], dtype=torch.float32),
        }

    def attend(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """After the token x (B, E): the weights of the positions (B, L) for the context; and what `penalty` needs, with
        the attention weights (B, L)."""
        query = torch.cat((state["layers"][-1][0], x), -1)
        scores = self.attention.scores(query[:, None], state["keys"])[:, 0]
        logs = at_least_float32(scores).log_softmax(-1)
        weights = logs.exp()
        keep("attention", weights[:, None])
        return weights, {"weights": weights, "entropy": -(weights * logs).sum(-1)}

    def advance(self, layer: Stepper, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One step with the token x (B, E): what the head is given (B, E), and the state. `layer`: the stepper of
        `recurrent`."""
        y, context, state, _ = self._advance(layer, x, state)
        return self._output(x, y, context), state

    def _advance(
        self, layer: Stepper, x: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, Tensor, dict[str, Any], dict[str, Tensor]]:
        weights, attended = self.attend(x, state)
        context = (weights.to(state["grid"].dtype)[:, None] @ state["grid"])[:, 0]
        context = torch.sigmoid(self.gate(state["layers"][-1][0])) * context
        y, layers = layer.step(torch.cat((x, context), -1), state["layers"])
        return y, context, state | {"layers": layers, "attention": attended["weights"]}, attended

    def _output(self, x: Tensor, y: Tensor, context: Tensor) -> Tensor:
        return torch.tanh(x + self.of_state(y) + self.of_context(context))

    def decode(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """All tokens (B, T, E) of a text: what the head is given (B, T, E), and what `penalty` needs, (B, T, ...)."""
        layer, ys, contexts, found = self.recurrent.stepper(), list[Tensor](), list[Tensor](), list[dict]()
        for token in x.unbind(1):
            y, context, state, attended = self._advance(layer, token, state)
            ys.append(y)
            contexts.append(context)
            found.append(attended)
        stacked = {name: torch.stack([each[name] for each in found], 1) for name in found[0]}
        return self._output(x, torch.stack(ys, 1), torch.stack(contexts, 1)), stacked

    def penalty(self, attended: dict[str, Tensor], nats: Tensor, mask: Tensor) -> Tensor:
        """What is added to the mean loss per token, from the loss (B, T) of each and the mask of those that count:
        coverage times sum_i (1 - sum_t alpha_ti)^2 of a text (equation 14), less the weighted entropy of alpha."""
        total = (attended["weights"] * mask[..., None]).sum(1)
        uneven, entropy = ((1 - total) ** 2).sum(), (attended["entropy"] * mask).sum()
        return (self.coverage * uneven - self.entropy_weight * entropy) / mask.sum()


class HardDecoder(SoftDecoder):
    """Hard attention: one position, sampled from alpha and learned by REINFORCE (section 4.1); outside of training the
    most probable one.

    In most rows, at random, the context is the soft one, which makes the gradient less noisy; in the paper, in half of
    the rows. The reward of a position is the discounted mean of the log-probabilities of the tokens from its own on; in
    the paper, that of all tokens of the text.

    - reinforce_weight: weight of the surrogate objective, which is added to the loss
    """

    hard = True
    entropy = 0.002
    state_dropout = 0.7

    def __init__(self, grid: int, embedding: int, recurrence: Recurrence, options: Any, entropy: float):
        super().__init__(grid, embedding, recurrence, options, entropy)
        self.coverage = 0.0
        self.reinforce_weight, self.reinforce = options.reinforce_weight, Reinforce()

    def begin(self, grid: Tensor) -> dict[str, Any]:
        state = super().begin(grid)
        if not self.training:
            return state
        return state | {"sampled": torch.rand(len(grid), 1, device=grid.device) < SAMPLED}

    def attend(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        weights, attended = super().attend(x, state)
        positions = torch.multinomial(weights.detach(), 1) if self.training else weights.argmax(-1, keepdim=True)
        one = F.one_hot(positions[:, 0], weights.shape[1]).to(weights)
        if not self.training:
            return one, attended
        log_probability = torch.where(state["sampled"], weights.gather(1, positions).log(), 0.0)[:, 0]
        return torch.where(state["sampled"], one, weights), attended | {"log_probability": log_probability}

    def penalty(self, attended: dict[str, Tensor], nats: Tensor, mask: Tensor) -> Tensor:
        reward = discounted_mean(-nats.detach(), mask, DISCOUNT)
        surrogate = self.reinforce(attended["log_probability"], reward, mask)
        return super().penalty(attended, nats, mask) - self.reinforce_weight * surrogate
