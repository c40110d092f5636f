"""The vanilla recurrence."""

from typing import Literal

import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.initialization import Start

Activation = Literal["tanh", "sigmoid", "relu", "linear"]
ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "linear": lambda value: value}


class RNN(Cell, name="rnn"):
    """The Elman network, the vanilla recurrence (Elman 1990, "Finding Structure in Time").

    h' = tanh(W x + U h + b)

    Options: `activation`: tanh, sigmoid, relu or linear.
    """

    gates = ("h",)
    activation: Activation = "tanh"

    def step(self, x, h: Tensor):
        return (ACTIVATIONS[self.activation](x.h + self.recur("h", of=h).h),)


class IRNN(RNN, name="irnn"):
    """A ReLU network initialized as the identity (Le, Jaitly & Hinton 2015, arXiv 1504.00941).

    h' = relu(W x + U h + b), U initialized as the identity and W small

    Options: `activation` as in `rnn`.
    """

    activation: Activation = "relu"

    @property
    def start(self) -> Start:
        return {"U": "identity", "W": 0.001}
