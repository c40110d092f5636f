"""Small generated data sets, so that a task can be tried without a file: `builtin:dates:count=5000,seed=1`.

To add one, write a file in this package with a function that is decorated with `builtin`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from elman.errors import UserError, unknown
from elman.options import Bound
from elman.registry import Registry

PREFIX = "builtin:"
Columns = Mapping[str, Sequence[Any]]  # of texts, lists of words, or images


@dataclass(frozen=True)
class Builtin:
    """A generated data set.

    - kind: the task that it is meant for
    - rows: `rows(seed, count, ...)` returns columns of equal length, the same for the same arguments. Its further
      parameters are the options of the data set: integers with a default, whose annotation may have a `Bound`. A column
      `split` has train, valid or test for each row
    """

    name: str
    summary: str
    kind: str
    rows: Callable[..., Columns]

    def options(self) -> dict[str, int]:
        """Every option, seed and count included, with its default."""
        return {name: parameter.default for name, parameter in inspect.signature(self.rows).parameters.items()}


DATASETS: Registry[Builtin] = Registry("built-in data", __name__)
F = TypeVar("F", bound=Callable[..., Columns])


def builtin(name: str, summary: str, kind: str) -> Callable[[F], F]:
    """Decorates the `rows` of a `Builtin`."""

    def register(rows: F) -> F:
        DATASETS.add(name, Builtin(name, summary, kind, rows))
        return rows

    return register


def datasets() -> dict[str, Builtin]:
    """All data sets by name."""
    return DATASETS.all()


def generate(spec: str) -> dict[str, list[Any]]:
    """The columns of `builtin:NAME` or `builtin:NAME:option=number,option=number`."""
    name, _, options = spec.removeprefix(PREFIX).partition(":")
    data = DATASETS.find(name)
    given = _options(data, options)
    try:
        return {name: list(values) for name, values in data.rows(**given).items()}
    except UserError as error:  # options that do not fit together
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
            raise UserError(f"{where} has {name} twice, {given[name]} and {value}: give it once")
        try:
            given[name] = int(value)
        except ValueError:
            raise UserError(f"{where} has {part}: write an integer, as in {name}={defaults[name]}") from None
        for bound in getattr(hints[name], "__metadata__", ()):
            if isinstance(bound, Bound) and not bound.holds(given[name]):
                raise UserError(f"{where} has {part}: {name} must be {bound.phrase}, as in {name}={defaults[name]}")
    return given
