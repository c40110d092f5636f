"""Options: frozen dataclasses whose fields carry their own constraints, so that the command line, a TOML file and
Python are checked alike and every invalid value is reported at once.

    decoder: Annotated[str, Choices(decoders)] = "soft"
    entropy_weight: Annotated[CountFloat, OnlyWith("decoder", "hard")] = 0.01
"""

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from elman.errors import UserError, nearest
from elman.schema import problem

T = TypeVar("T")


@dataclass(frozen=True)
class Bound:
    """A constraint on a value: a phrase for the message and a predicate."""

    phrase: str
    holds: Callable[[Any], bool]


def at_most(most: int) -> Bound:
    """The bound of a size that no data or weights bound."""
    return Bound(f"at most {most:,}", lambda value: value <= most)


Positive = Bound("a number above 0", lambda value: 0 < value < math.inf)
NotNegative = Bound("0 or more", lambda value: 0 <= value < math.inf)
Share = Bound("from 0 up to, not including, 1", lambda value: 0 <= value < 1)
Probability = Bound("above 0 and at most 1", lambda value: 0 < value <= 1)

PositiveInt = Annotated[int, Positive]
PositiveFloat = Annotated[float, Positive]
CountInt = Annotated[int, NotNegative]
CountFloat = Annotated[float, NotNegative]
ShareFloat = Annotated[float, Share]


@dataclass(frozen=True)
class Choices:
    """The valid words of an option, where they come from a registry: `Annotated[str, Choices(names)]`. `names` is
    called at each check and for the help, never at import."""

    names: Callable[[], Iterable[str]]


class OnlyWith:
    """An option that has an effect only where another, `field`, has one of `values`; without values, where the other is
    set (not None, False, 0 or empty). Where the other is None and so chosen later, nothing is checked."""

    def __init__(self, field: str, *values: Any):
        self.field, self.values = field, values

    def effective(self, other: Any) -> bool:
        """Whether the option has an effect with that value of the other."""
        if not self.values:
            return bool(other)
        return other is None or other in self.values

    def remedy(self) -> str:
        """What to change, for the message."""
        return "leave it out, or pass " + _phrase(self.field, " or ".join(map(str, self.values)))


class NotWith(OnlyWith):
    """An option that has no effect where another, `field`, has one of `values`."""

    def effective(self, other: Any) -> bool:
        return other not in self.values

    def remedy(self) -> str:
        return "leave one of them out"


@dataclass(frozen=True)
class OpensFile:
    """An option whose value may name a file that is opened. For a run that was made elsewhere, a value for
    which `is_file` holds is replaced by `instead`."""

    instead: Any
    is_file: Callable[[Any], bool]


def without_files(options: T) -> T:
    """The options, none of which names a file."""
    changes = {
        field.name: mark.instead
        for field, hint in _hints(options)
        for mark in _metadata(hint, OpensFile)
        if mark.is_file(getattr(options, field.name))
    }
    return dataclasses.replace(options, **changes)  # type: ignore[type-var]


def changed(*options: Any) -> list[str]:
    """The names of the fields of some dataclasses that differ from their defaults."""
    return [field.name for each in options for field in dataclasses.fields(each)
            if getattr(each, field.name) != field.default]  # fmt: skip


def check(*options: Any, given: Collection[str] | None = None) -> None:
    """Raises one UserError that lists every invalid field of the dataclasses. `given`: the fields that the user has
    written, those that differ from their defaults if None; of them, one without effect is an error."""
    values = {field.name: getattr(each, field.name) for each in options for field in dataclasses.fields(each)}
    problems = [
        problem
        for each in options
        for check_all in (_invalid(each), _without_effect(each, values, given))
        for problem in check_all
    ]
    if problems:
        raise UserError("; ".join(problems))


def _invalid(options: Any) -> Iterable[str]:
    """The fields that are out of their bounds, not of their type, or none of their choices."""
    for field, hint in _hints(options):
        value = getattr(options, field.name)
        phrase = problem(hint, value)
        if phrase is not None:
            yield f"`{field.name}` {value!r} {phrase}"


def _without_effect(options: Any, values: Mapping[str, Any], given: Collection[str] | None) -> Iterable[str]:
    """The fields that were given and do nothing because of the value of another."""
    for field, hint in _hints(options):
        value = values[field.name]
        if value == field.default if given is None else field.name not in given:
            continue
        for condition in _metadata(hint, OnlyWith):
            other = values.get(condition.field, dataclasses.MISSING)
            if other is not dataclasses.MISSING and not condition.effective(other):
                given_one, why = _phrase(field.name, value), _beside(condition.field, other)
                yield f"{given_one} has no effect {why}: {condition.remedy()}"


def _phrase(name: str, value: Any) -> str:
    """An option and its value, as a user would write them."""
    return f"`{name}`" if isinstance(value, bool) or value == "" else f"`{name}` {value}"


def _beside(name: str, value: Any) -> str:
    return f"with {_phrase(name, value)}" if value else f"without `{name}`"


def _hints(options: Any) -> Iterable[tuple[dataclasses.Field, Any]]:
    """The fields of a dataclass and their types, annotations included."""
    hints = get_type_hints(type(options), include_extras=True)
    return [(field, hints[field.name]) for field in dataclasses.fields(options)]


def choices(hint: Any) -> tuple[str, ...]:
    """The valid words of a type, by `Literal` or by `Choices`; () where any word is valid."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) is Annotated:
        for each in hint.__metadata__:
            if isinstance(each, Choices):
                return tuple(each.names())
    return next((found for part in get_args(hint) if (found := choices(part))), ())


def _metadata(hint: Any, kind: type) -> Iterable[Any]:
    """The annotations of a kind in a type, also inside `X | None`."""
    if get_origin(hint) is Annotated:
        yield from (item for item in hint.__metadata__ if isinstance(item, kind))
    for part in get_args(hint):
        yield from _metadata(part, kind)


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """`kind(**values)`; an unknown key is an error that names the nearest field."""
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(f"unknown option '{key}': did you mean '{nearest(key, fields, cutoff=0.0)}'?")
    return kind(**values)


def restore(kind: type[T], stored: Mapping[str, Any]) -> T:
    """The options of a kind among those that a run has stored; one that is missing has its default."""
    return kind(**{each.name: stored[each.name] for each in dataclasses.fields(kind) if each.name in stored})  # type: ignore[arg-type]


_NUMBER = r"(\d+(?:\.\d+)?)"
_SPAN = re.compile(f"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def seconds(text: str) -> float:
    """A span of time in seconds: `90`, `90s`, `5m`, `1h30m`."""
    plain = text.strip()
    match = _SPAN.fullmatch(plain + "s" if re.fullmatch(_NUMBER, plain) else plain)
    if not plain or match is None:
        raise UserError(f"`for_` '{text}' is not a span of time: write 90s, 5m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if total <= 0:
        raise UserError(f"`for_` {text} must be longer than 0 seconds")
    return total
