"""Steppers (replaced at the merge)."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from elman.recurrent.state import State


class Stepper(nn.Module, ABC):
    @abstractmethod
    def begin(self, inputs: Any) -> State: ...

    @abstractmethod
    def step(self, x: Any, state: State) -> tuple[Tensor, State]: ...

    def forward(self, x: Any, state: State) -> tuple[Tensor, State]:
        return self.step(x, state)


class LayerStepper(Stepper):
    def __init__(self, layer: Any):
        super().__init__()
        self.layer, self.advance = layer, layer.unrolled()

    def begin(self, inputs: Any) -> State:
        return self.layer.initial(inputs)

    def step(self, x: Any, state: State) -> tuple[Tensor, State]:
        return self.advance(x, state)
