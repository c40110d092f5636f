"""Options: dataclasses whose fields carry their own bounds, so that the command line, a TOML file and Python
are checked in one place and every wrong value is reported at once."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

from cyclopts import Parameter, Token

from elman.errors import UserError, nearest
from elman.schema import problem


@dataclass(frozen=True)
class Bound:
    """What a value must be: a phrase for the message and a test."""

    phrase: str
    holds: Callable[[Any], bool]


Positive = Bound("a number above 0", lambda value: 0 < value < math.inf)
NotNegative = Bound("0 or more", lambda value: 0 <= value < math.inf)
Share = Bound("from 0 up to, not including, 1", lambda value: 0 <= value < 1)
Probability = Bound("above 0 and at most 1", lambda value: 0 < value <= 1)


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
        phrase = problem(hint, value)
        if phrase is not None:
            yield f"{flag(field.name)} {value!r} {phrase}"


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
