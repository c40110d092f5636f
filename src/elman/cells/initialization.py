"""Where the parameters of a cell start."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import UserError, unknown

Start = Mapping[str, float | str | Tensor | Callable[[Tensor], Any]]

INITIALIZERS = {"orthogonal": nn.init.orthogonal_, "identity": nn.init.eye_}


def _glorot(matrix: Tensor) -> None:
    matrix.uniform_(-1, 1).mul_(math.sqrt(6 / sum(matrix.shape)))


def fill(parameter: Tensor, start: Any) -> None:
    """Gives a parameter its initial value; see `Cell.start`."""
    if isinstance(start, str):
        if start not in INITIALIZERS:
            raise unknown("initialization", start, INITIALIZERS)
        INITIALIZERS[start](parameter)
    elif isinstance(start, Tensor):
        if start.shape != parameter.shape:
            raise UserError(f"an initial value must be {tuple(parameter.shape)}, not {tuple(start.shape)}")
        parameter.copy_(start)
    elif callable(start):
        start(parameter)
    elif parameter.dim() == 2:
        parameter.normal_(0.0, float(start))
    else:
        parameter.fill_(start)


def initialize(cell: Any, start: Start) -> None:
    """Initializes every parameter of a cell; see `Cell.start`."""
    known = {"W", "U", *cell.biased, *cell.matrices(), *cell.vectors()}
    if not known >= start.keys():
        raise unknown(f"entry of {cell.name}.start", (start.keys() - known).pop(), known)
    with torch.no_grad():
        for rows in cell.W.split(cell.gate_sizes) if cell.gates else ():
            fill(rows, start.get("W", _glorot))
        for gate, rows in cell.biases().items():
            fill(rows, start.get(gate, 0.0))
        for name, matrix in cell.matrices().items():
            _, *gates = name.split("_")
            if name in start:
                fill(matrix, start[name])
                continue
            for rows in matrix.chunk(len(gates)):
                fill(rows, start.get("W", _glorot) if name in cell.projections else start.get("U", "orthogonal"))
        for name, vector in cell.vectors().items():
            fill(vector, start.get(name, 0.0))
