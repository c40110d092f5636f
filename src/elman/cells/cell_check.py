"""What a cell must declare, and what its step must return."""

import keyword
from typing import Any

from torch import Tensor

from elman.errors import UserError, unknown


def check_names(cell: Any) -> None:
    """Raises UserError where the class attributes of a cell are no names, or no sizes."""
    lists = {"gates": (cell.gates, 0), "states": (cell.states, 1)}
    for what, (names, least) in lists.items():
        if len(names) < least or len(set(names)) < len(names) or not all(map(_is_name, names)):
            raise UserError(f"the {what} of the cell {cell.name} must each be different words of letters and "
                            f"digits{', at least one' if least else ''}, not {names}")  # fmt: skip
    if "raw" in cell.gates:
        raise UserError(f"no gate of the cell {cell.name} can be named raw: x.raw is the input itself")
    if not set(cell.biased) <= set(cell.gates):
        raise unknown(f"gate in {cell.name}.bias", (set(cell.biased) - set(cell.gates)).pop(), cell.gates)
    for name, size in cell.sizes.items():
        if name == "raw" and size == cell.input_size:
            continue
        if name == "raw":
            raise UserError(f"the cell {cell.name} needs input_size={size}, not {cell.input_size}")
        known = (*cell.gates, *cell.states, cell.output)
        if name not in known and not name.startswith("p_"):
            raise unknown(f"gate or state in {cell.name}.sizes", name, [*known, "p_..."])
        if not isinstance(size, int) or size < 1:
            raise UserError(f"{cell.name}.sizes: the size of {name} must be an integer above 0, not {size}")


def check_results(cell: Any, new: Any) -> None:
    """Raises UserError where a step has returned other tensors than its output and states, of one row."""
    expected = [(cell.output, cell.output_size)] if cell.output else []
    expected += zip(cell.states, cell.state_sizes, strict=True)
    right = isinstance(new, tuple) and len(new) == len(expected)
    if not right or any(
        not isinstance(value, Tensor) or value.shape != (1, size)
        for value, (_, size) in zip(new, expected, strict=True)
    ):
        names = ", ".join(f"{name} (B, {size})" for name, size in expected)
        tensors = f"{len(expected)} tensor{'s' if len(expected) > 1 else ''}"
        raise UserError(f"the step of the cell {cell.name} must return a tuple of {tensors}, "
                        f"{'the output and ' if cell.output else ''}the new states: {names}")  # fmt: skip


def _is_name(word: str) -> bool:
    """Whether a word can name a gate: an identifier without _, which joins the gates in the name of a matrix."""
    return word.isidentifier() and "_" not in word and not keyword.iskeyword(word)
