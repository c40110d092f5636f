"""Steps over tokens: what decoding knows of a model."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.tap import observed
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.recurrent.stepper import Stepper


class TokenStepper(Stepper):
    """A stepper from a token to the logits of the next. `begin` takes a batch: tensors by name."""

    device: torch.device

    @abstractmethod
    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        """A token (B,) int64, or a distribution over the tokens (B, V), gives the logits (B, V) of the next token, and
        the state."""

    def block(
        self, token: Tensor, state: State, uniforms: Tensor, temperature: float, greedy: bool
    ) -> tuple[Tensor, State] | None:
        """The next n tokens (n, B) after a token (B,), sampled with the uniform numbers (n, B) in [0, 1), and the
        state: the same as step by step, but at once. None where that cannot be done."""
        return None

    def attention(self, state: State) -> Tensor | None:
        """The attention weights (B, L) of the step that returned this state; None where there is no attention."""
        return None


class RecurrentTokenStepper(TokenStepper):
    """Embedding (V, E), recurrent layer and linear head. A distribution is taken as the mean of the embeddings."""

    embedding: Tensor

    def __init__(self, recurrent: Recurrent, embedding: Tensor, head: nn.Linear):
        super().__init__()
        self.recurrent, self.head, self.device = recurrent.stepper(), head, embedding.device
        self.register_buffer("embedding", embedding)
        self.decoder = recurrent.decoder(embedding, head)

    def begin(self, inputs: Mapping[str, Tensor]) -> State:
        """The initial state for the batch of `inputs["input"]` (B, ...)."""
        return self.recurrent.begin(inputs["input"])

    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        assert x is not None
        embedding, head = self.embedding, self.head
        x = x.to(embedding) @ embedding if x.is_floating_point() else torch.embedding(embedding, x)
        y, state = self.recurrent.step(x, state)
        return F.linear(y, head.weight, head.bias), state

    def block(
        self, token: Tensor, state: State, uniforms: Tensor, temperature: float, greedy: bool
    ) -> tuple[Tensor, State] | None:
        if self.decoder is None or observed() or token.is_floating_point():
            return None
        return self.decoder(token, state, uniforms, temperature, greedy)
