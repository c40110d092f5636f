"""Token steppers (replaced at the merge)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.tap import observed
from elman.recurrent.state import State
from elman.recurrent.stepper import Stepper


class TokenStepper(Stepper):
    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def block(
        self, token: Tensor, state: State, uniforms: Tensor, temperature: float, greedy: bool
    ) -> tuple[Tensor, State] | None:
        return None

    def attention(self, state: State) -> Tensor | None:
        return None


class RecurrentTokenStepper(TokenStepper):
    def __init__(self, recurrent: Any, embedding: Tensor, head: nn.Linear):
        super().__init__()
        self.recurrent, self.advance = recurrent, recurrent.unrolled()
        self.weight, self.head = embedding, head
        self.decoder = recurrent.decoder(embedding, head)

    def begin(self, inputs: Any) -> State:
        return self.recurrent.initial(len(inputs["input"]))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        x = token.to(self.weight) @ self.weight if token.is_floating_point() else F.embedding(token, self.weight)
        y, state = self.advance(x, state)
        return self.head(y), state

    def block(self, token, state, uniforms, temperature, greedy):
        if self.decoder is None or observed() or token.is_floating_point():
            return None
        return self.decoder(token, state, uniforms, temperature, greedy)
