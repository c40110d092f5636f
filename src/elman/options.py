"""Options: dataclasses whose fields carry their own bounds, so that the command line, a TOML file and Python
are checked in one place and every wrong value is reported at once."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from elman.errors import UserError, nearest


@dataclass(frozen=True)
class Bound:
    """What a value must be: a phrase for the message and a test."""

    phrase: str
    holds: Callable[[Any], bool]


Positive = Bound("a number above 0", lambda value: value > 0)
NotNegative = Bound("0 or more", lambda value: value >= 0)
Share = Bound("from 0 up to, not including, 1", lambda value: 0 <= value < 1)
Probability = Bound("above 0 and at most 1", lambda value: 0 < value <= 1)

PositiveInt = Annotated[int, Positive]
PositiveFloat = Annotated[float, Positive]
CountInt = Annotated[int, NotNegative]
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
        value = getattr(options, field.name)
        for bound in _metadata(hints[field.name], Bound):
            # NaN passes no comparison, and None is a value that the program chooses
            if value is not None and not bound.holds(value):
                yield f"{flag(field.name)} {value} must be {bound.phrase}"
        for choices in _choices(hints[field.name]):
            if value is not None and value not in choices:
                near = nearest(str(value), choices, cutoff=0.0)
                yield f"{flag(field.name)} '{value}' must be one of {', '.join(choices)}: did you mean '{near}'?"


def _metadata(hint: Any, kind: type) -> Iterable[Any]:
    """The annotations of a kind in a type, also inside `X | None`."""
    if get_origin(hint) is Annotated:
        yield from (item for item in hint.__metadata__ if isinstance(item, kind))
    for part in get_args(hint):
        yield from _metadata(part, kind)


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


_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str) -> float:
    """A span of time in seconds: `90`, `90s`, `5m`, `1h30m`."""
    match = _SPAN.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise UserError(f"--for '{text}' is not a span of time: write 90s, 5m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if total <= 0:
        raise UserError(f"--for {text} must be longer than 0 seconds")
    return total
