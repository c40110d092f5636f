"""Weights of `torch.nn.RNN`, `torch.nn.LSTM` and `torch.nn.GRU`, by the names of their `state_dict`."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.errors import UserError, unknown
from elman.recurrent.native import kernel_name, torch_weights

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def to_torch(cells: list[Cell], directions: int) -> dict[str, Tensor]:
    """The `state_dict` of torch's module for these cells, detached."""
    return {
        f"{name}_{suffix}": value.detach()
        for cell, suffix in _suffixes(cells, directions)
        for name, value in zip(NAMES, torch_weights(cell), strict=True)
    }


def from_torch(state_dict: Mapping[str, Tensor], cells: list[Cell], directions: int) -> list[dict[str, Tensor]]:
    """The weights of each cell, by name, from the `state_dict` of torch's module. A module without biases has none."""
    wanted = [f"{name}_{suffix}" for _, suffix in _suffixes(cells, directions) for name in NAMES]
    for name in state_dict:
        if name not in wanted:
            raise unknown("weight of torch's module", name, wanted)
    return [
        _weights(cell, suffix, {name: state_dict.get(f"{name}_{suffix}") for name in NAMES})
        for cell, suffix in _suffixes(cells, directions)
    ]


def _suffixes(cells: list[Cell], directions: int) -> Iterator[tuple[Cell, str]]:
    for index, cell in enumerate(cells):
        if kernel_name(cell) is None:
            raise UserError(f"torch has no module with the equation of the cell {cell.name}")
        layer, direction = divmod(index, directions)
        yield cell, f"l{layer}" + "_reverse" * direction


def _weights(cell: Cell, suffix: str, given: dict[str, Tensor | None]) -> dict[str, Tensor]:
    found = list[Tensor]()
    for (name, value), own in zip(given.items(), torch_weights(cell), strict=True):
        value = torch.zeros_like(own) if value is None and name.startswith("bias") else value
        if value is None or value.shape != own.shape:
            shape = "missing" if value is None else tuple(value.shape)
            raise UserError(f"{name}_{suffix} must be {tuple(own.shape)}, not {shape}")
        found.append(value)
    W, matrix, first, second = found
    (matrix_name,), vectors = cell.matrices(), cell.vectors()
    kept = len(second) - sum(map(len, vectors.values()))  # the rest is the vector of a gru, added inside its product
    b = first + torch.cat((second[:kept], torch.zeros_like(second[kept:])))
    return {"W": W, "b": b, matrix_name: matrix, **dict.fromkeys(vectors, second[kept:])}
