"""One step at a time: the interface of what decodes, streams or is exported, and that of a recurrent layer."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from elman.cells.tap import holding, recording
from elman.errors import UserError
from elman.recurrent.backend import States, StepFunction
from elman.recurrent.state import State
from elman.recurrent.transforms import transform


class Stepper(nn.Module, ABC):
    """A network that advances by one step a call. It holds its weights; the state is an argument and a result, tuples
    and dicts of tensors. Make a new one after the weights have changed: what is the same at every step is prepared
    once."""

    @abstractmethod
    def begin(self, inputs: Any) -> State:
        """The state before the first step, from what the network is conditioned on."""

    @abstractmethod
    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        """One step: the output and the new state. x may be None where the network takes no input."""

    def forward(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        """`step`."""
        return self.step(x, state)


class Steppable(Protocol):
    """The members of a recurrent layer that a stepper uses."""

    training: bool
    directions: int

    def initial(self, batch_size: int) -> tuple[States, ...]: ...

    def step_functions(self) -> list[StepFunction]: ...

    def between(self, layer: int, x: Tensor, y: Tensor) -> Tensor: ...

    def check_state(self, state: State, rows: int) -> None: ...


class LayerStepper(Stepper):
    """A `Recurrent` one step at a time: x (B, I) gives the output (B, H). Raises UserError for a bidirectional layer,
    whose backward direction begins at the end."""

    def __init__(self, layer: Steppable):
        super().__init__()
        if layer.directions == 2:
            raise UserError("a bidirectional layer has no steps: its backward direction begins at the end")
        self.layer = layer
        self._prepared: dict[tuple[Any, ...], list[StepFunction]] = {}
        self._functions(layer)

    def begin(self, inputs: int | Tensor) -> State:
        """The initial state for a batch size, or for the batch of a tensor (B, ...)."""
        return self.layer.initial(inputs if isinstance(inputs, int) else len(inputs))

    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        assert x is not None
        layer, after = self.layer, []
        layer.check_state(state, len(x))
        for number, function in enumerate(self._functions(layer)):
            output, new = function(x, state[number])
            after.append(new)
            x = layer.between(number, x, output)
        return x, tuple(after)

    def _functions(self, layer: Steppable) -> list[StepFunction]:
        """The step of each layer, prepared once for each way in which it can be called."""
        key = (recording() is not None, bool(holding()), layer.training, transform())
        functions = self._prepared.get(key)
        if functions is None:
            functions = self._prepared[key] = layer.step_functions()
        return functions
