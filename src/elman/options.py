"""Options: dataclasses whose fields carry their own bounds, so that the command line, a TOML file and Python
are checked in one place and every wrong value is reported at once."""

import dataclasses
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cyclopts import Parameter, Token

from elman.errors import UserError, nearest


@dataclass(frozen=True)
class Bound:
    """What a value must be: a phrase for the message and a test."""

    phrase: str
    holds: Callable[[Any], bool]


Positive = Bound("a number above 0", lambda value: 0 < value < math.inf)
NotNegative = Bound("0 or more", lambda value: 0 <= value < math.inf)
Share = Bound("from 0 up to, not including, 1", lambda value: 0 <= value < 1)
Probability = Bound("above 0 and at most 1", lambda value: 0 < value <= 1)


@dataclass(frozen=True)
class Choices:
    """The valid words of an option, where they come from a registry: `Annotated[str, Choices(names)]`. `names` is called
    at each check and for the help, never at import."""

    names: Callable[[], Iterable[str]]


def whole(kind: type, tokens: Sequence[Token]) -> int:
    """A whole number from the command line, where `int` would be given 8 for 8.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value} is not a whole number") from None


Whole = Parameter(converter=whole)
PositiveInt = Annotated[int, Positive, Whole]
PositiveFloat = Annotated[float, Positive]
CountInt = Annotated[int, NotNegative, Whole]
CountFloat = Annotated[float, NotNegative]
ShareFloat = Annotated[float, Share]


def flag(field: str) -> str:
    """The command-line spelling of a field: `clip_by` is `--clip-by`, `for_` is `--for`."""
    return "--" + field.strip("_").replace("_", "-")


def check(*options: Any) -> None:
    """Raises one UserError that lists every field, of all the dataclasses given, that is out of its bounds."""
    problems = [problem for each in options for problem in _problems(each)]
    if problems:
        raise UserError("; ".join(problems))


def _problems(options: Any) -> Iterable[str]:
    hints = get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        parts = list(_parts(hint))
        if value is None and type(None) in parts:  # chosen by the program
            continue
        kinds = [part for part in parts if isinstance(part, type) and part not in (type(None), Any)]
        accepted = (*kinds, int) if float in kinds else (*kinds,)
        if kinds and (not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds)):
            yield f"{flag(field.name)} {value!r} must be of type {kinds[0].__name__}"
            continue
        for bound in _metadata(hint, Bound):
            if not bound.holds(value):
                yield f"{flag(field.name)} {value} must be {bound.phrase}"
        for choices in (*_choices(hint), *(tuple(each.names()) for each in _metadata(hint, Choices))):
            if value not in choices:
                near = nearest(str(value), choices, cutoff=0.0)
                yield f"{flag(field.name)} '{value}' must be one of {', '.join(choices)}: did you mean '{near}'?"


def _metadata(hint: Any, kind: type) -> Iterable[Any]:
    """The annotations of a kind in a type, also inside `X | None`."""
    if get_origin(hint) is Annotated:
        yield from (item for item in hint.__metadata__ if isinstance(item, kind))
    for part in get_args(hint):
        yield from _metadata(part, kind)


def _parts(hint: Any) -> Iterable[Any]:
    """The members of a union, without their annotations."""
    if get_origin(hint) is Annotated:
        yield from _parts(hint.__origin__)
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _parts(part)
    else:
        yield hint


def _choices(hint: Any) -> Iterable[tuple[str, ...]]:
    if get_origin(hint) is Literal:
        yield get_args(hint)
    else:
        for part in get_args(hint):
            yield from _choices(part)


T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """`kind(**values)`, where an unknown key is an error that names the nearest field."""
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(f"unknown option '{key}': did you mean '{nearest(key, fields, cutoff=0.0)}'?")
    return kind(**values)


def restore(kind: type[T], stored: Mapping[str, Any]) -> T:
    """The options of a kind among those that a run has stored. One that is younger than the run is at its default."""
    return kind(**{each.name: stored[each.name] for each in dataclasses.fields(kind) if each.name in stored})  # type: ignore[arg-type]


_NUMBER = r"(\d+(?:\.\d+)?)"
_SPAN = re.compile(f"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def seconds(text: str) -> float:
    """A span of time in seconds: `90`, `90s`, `5m`, `1h30m`."""
    plain = text.strip()
    match = _SPAN.fullmatch(plain + "s" if re.fullmatch(_NUMBER, plain) else plain)
    if not plain or match is None:
        raise UserError(f"--for '{text}' is not a span of time: write 90s, 5m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if total <= 0:
        raise UserError(f"--for {text} must be longer than 0 seconds")
    return total
