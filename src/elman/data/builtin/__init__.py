"""Small data that is generated, so that a task can be tried without a file: `builtin:dates:count=5000,seed=1`.

A file here makes a `Builtin`; adding one is all there is to do.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_type_hints

from elman.data.image import LazyImage
from elman.errors import UserError, unknown
from elman.options import Bound

PREFIX = "builtin:"
Columns = dict[str, list[str] | list[list[str]] | list[LazyImage]]


@dataclass(frozen=True)
class Builtin:
    """Generated data. `kind` is the task that it is meant for; `rows(seed, count, ...)` gives its columns, all of one
    length and the same for the same arguments. Its further parameters are the options of the data: whole numbers with a
    default, whose annotation may carry a `Bound`. A column `split` says train, valid or test of each row."""

    name: str
    summary: str
    kind: str
    rows: Callable[..., Columns]

    def options(self) -> dict[str, int]:
        """Every option, seed and count among them, with its default."""
        return {name: parameter.default for name, parameter in inspect.signature(self.rows).parameters.items()}


def datasets() -> dict[str, Builtin]:
    """The data of this package by name."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Builtin)]
    return {data.name: data for data in sorted(found, key=lambda data: data.name)}


def generate(spec: str) -> Columns:
    """The columns of `builtin:NAME` or `builtin:NAME:option=number,option=number`."""
    name, _, options = spec.removeprefix(PREFIX).partition(":")
    if name not in datasets():
        raise unknown("built-in data", name, datasets())
    data = datasets()[name]
    given = _options(data, options)
    try:
        return data.rows(**given)
    except UserError as error:  # of what the options ask for together
        raise UserError(f"{spec}: {error}") from None


def _options(data: Builtin, text: str) -> dict[str, int]:
    defaults, hints, where = data.options(), get_type_hints(data.rows, include_extras=True), PREFIX + data.name
    given: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"'{part}' is not an option of {where}: write name=number, as in {where}:count=1000")
        if name not in defaults:
            raise unknown(f"option of {where}", name, defaults)
        if name in given:
            raise UserError(f"{where} is given {name} twice, {given[name]} and {value}: say it once")
        try:
            given[name] = int(value)
        except ValueError:
            raise UserError(f"{where} has {part}: write a whole number, as in {name}={defaults[name]}") from None
        for bound in getattr(hints[name], "__metadata__", ()):
            if isinstance(bound, Bound) and not bound.holds(given[name]):
                raise UserError(f"{where} has {part}: {name} must be {bound.phrase}, as in {name}={defaults[name]}")
    return given
