"""The network of a task."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from elman.data.source import Batch, Source
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.loss import Context, Loss
from elman.tasks.spec import Spec


class Model(nn.Module, ABC):
    """A network that is built from a `Spec` and gives the loss of a batch. It knows nothing of files."""

    spec: Any  # of the task's own type

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec

    @abstractmethod
    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """The loss of a batch; `state` is that of the batch before, None at the first of an epoch."""

    def forward(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """`loss`, so that what wraps a module (DistributedDataParallel) wraps a model."""
        return self.loss(batch, state, context)

    def load_pretrained(self) -> None:
        """Loads pretrained weights before a new training. A model without any does nothing."""

    def initialize(self, source: Source) -> None:
        """Sets initial weights that depend on the training split, before a new training. A model without any does
        nothing."""

    def describe(self) -> str:
        """The sizes of the network in a few words."""
        return ", ".join(layer.sizes for layer in self.layers())

    def layers(self) -> list[Recurrent]:
        """The recurrent layers."""
        return [module for module in self.modules() if isinstance(module, Recurrent)]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
