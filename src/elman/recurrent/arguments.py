"""Checks of what a layer is called with."""

from collections.abc import Mapping

import torch
from torch import Tensor

from elman.cells.cell import Cell
from elman.cells.tap import holding
from elman.cells.trace import value_sizes
from elman.errors import UserError, unknown
from elman.recurrent.state import State, over
from elman.recurrent.transforms import dispatched


def check_sizes(**sizes: int) -> None:
    """Raises UserError for a size that is not above 0."""
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{name}={size} must be above 0")


def check_probabilities(**probabilities: float) -> None:
    """Raises UserError for a probability of dropout that is not in [0, 1)."""
    for name, p in probabilities.items():
        if not 0 <= p < 1:
            raise UserError(f"{name} must be in [0, 1), not {p}")


def check_input(x: object, size: int, batch_first: bool) -> None:
    """Raises UserError for an input that is not (B, T, size)."""
    if not isinstance(x, Tensor):
        raise UserError(f"x must be a tensor (B, T, {size}) or a PackedSequence, not {type(x).__name__}")
    if x.dim() != 3 or x.shape[-1] != size or not x.shape[1]:
        axes = "B, T" if batch_first else "T, B"
        raise UserError(f"x must be ({axes}, {size}) with T above 0, not {tuple(x.shape)}")


def check_dtype(name: str, value: Tensor, weights: torch.dtype) -> None:
    """Raises UserError for a dtype that is not that of the weights; under autocast any floating point will do."""
    autocast = torch.is_autocast_enabled(value.device.type)
    if not (value.is_floating_point() if autocast else value.dtype == weights):
        variable = name.split()[-1]
        raise UserError(
            f"{name} is {value.dtype}, the weights are {weights}: convert one, as with {variable}.to({weights})"
        )


def check_lengths(lengths: Tensor, x: Tensor) -> None:
    """Raises UserError for lengths that are not B integers from 0 to T, of x (B, T, I)."""
    if lengths.shape != x.shape[:1] or lengths.is_floating_point():
        given = f"{lengths.dtype} {tuple(lengths.shape)}"
        raise UserError(f"lengths must be {x.shape[0]} integers, one for each row, not {given}")
    # only on the CPU: reading them back from another device would wait for it
    if lengths.device.type == "cpu" and not dispatched():
        check_bounds(lengths, x.shape[1])


def check_bounds(lengths: Tensor, steps: int) -> None:
    """Raises UserError for lengths (B,) that are not from 0 to `steps`."""
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps:
        raise UserError(f"lengths must be from 0 to {steps}, not {lengths.min()} to {lengths.max()}")


def check_reset(reset: Tensor, x: Tensor) -> None:
    """Raises UserError for a mask that is not bool (B, T), of x (B, T, I)."""
    if reset.shape != x.shape[:2] or reset.dtype != torch.bool:
        raise UserError(f"reset must be bool {tuple(x.shape[:2])}, not {reset.dtype} {tuple(reset.shape)}")


def check_state(state: State, rows: int, count: int, cell: Cell) -> None:
    """Raises UserError for a state that has not, `count` times, the states of the cell for so many rows."""
    right = [(rows, size) for size in cell.state_sizes]
    if len(state) != count or any([v.shape for v in of] != right for of in state):
        raise UserError(
            f"the state must be a tuple of {count}, one for each layer and direction, of {len(right)} tensors "
            f"{', '.join(map(str, dict.fromkeys(right)))} ({', '.join(cell.states)}), not "
            f"{over(state, lambda value: tuple(value.shape))}"
        )
    for value in (value for of in state for value in of):
        check_dtype("the state", value, cell.dtype)


def check_holds(cells: Mapping[str, Cell]) -> None:
    """Raises UserError for held units that these cells, by the prefix of their addresses, do not have."""
    sizes = {prefix + name: size for prefix, cell in cells.items() for name, size in value_sizes(cell).items()}
    for key in holding():
        address, _, unit = key.rpartition(".")
        if address not in sizes:
            raise unknown("named value", address, sizes)
        if int(unit) >= sizes[address]:
            raise UserError(f"there is no unit {unit}: {address} has the units 0 to {sizes[address] - 1}")
