"""State: nested tuples and dicts of tensors, batch first; always an argument and a result, never an attribute."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

State = Any


def over(state: State, function: Callable[[Tensor], Any]) -> State:
    """The state with a function applied to each of its tensors. None stays None."""
    if state is None or isinstance(state, Tensor):
        return state if state is None else function(state)
    if isinstance(state, Mapping):
        return {key: over(value, function) for key, value in state.items()}
    return tuple(over(value, function) for value in state)


def like(state: State, values: Tensor) -> State:
    """A state of the same structure and sizes from values (B, all sizes) in their order."""
    parts = iter(values.split([value.shape[-1] for value in flatten(state).values()], -1))
    return over(state, lambda _: next(parts))


def detach(state: State) -> State:
    """The state, detached from the autograd graph."""
    return over(state, Tensor.detach)


def flatten(state: State, prefix: str = "state") -> dict[str, Tensor]:
    """The tensors of a state by name, `state.0.1`; `unflatten` is the inverse."""
    if state is None:
        return {}
    if isinstance(state, Tensor):
        return {prefix: state}
    items = state.items() if isinstance(state, Mapping) else enumerate(state)
    return {key: value for name, part in items for key, value in flatten(part, f"{prefix}.{name}").items()}


def unflatten(tensors: Mapping[str, Tensor], prefix: str = "state") -> State:
    """The state that `flatten` took apart; None where it holds no tensor. The keys of a dict must be no numbers and
    hold no dot, and no part may be None."""
    if prefix in tensors:
        return tensors[prefix]
    start = len(prefix) + 1
    names = list(dict.fromkeys(key[start:].split(".")[0] for key in tensors if key.startswith(prefix + ".")))
    if not names:
        return None
    parts = {name: unflatten(tensors, f"{prefix}.{name}") for name in names}
    if all(name.isdigit() for name in names):
        return tuple(parts[name] for name in sorted(names, key=int))
    return parts
