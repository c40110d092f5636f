"""Typed values as JSON: dataclasses to JSON and back, every field checked against its type hint and its bounds.

A type is a dataclass, `bool`, `int`, `float`, `str`, `None`, `Literal`, a union, `list[X]`, `tuple[X, ...]`,
`tuple[X, Y]`, `dict[str, X]`, `Mapping[str, X]`, `Any` (plain JSON), or a class with `to_json()` and a classmethod
`from_json(value)`. `Annotated` adds bounds: `Limit`, `Decode`, everything that has `holds(value)` and `phrase`, such as
`elman.options.Bound`, and everything that has `names()`, the valid words, such as `elman.options.Choices`.
"""

import dataclasses
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from elman.errors import UserError, nearest

MAX_NUMBER = 10**9  # absolute value of an integer, unless its type has a `Limit`
MAX_LENGTH = 1_000_000  # characters of a string, entries of a list or an object
MAX_DEPTH = 20  # levels of nesting
MAX_BYTES = 64 << 20  # of a document
MAX_VALUES = 4_000_000  # of a document; an empty list takes 64 bytes of memory
SHOWN = 60  # characters of a value in a message

T = TypeVar("T")


@dataclass(frozen=True)
class Limit:
    """Bounds of a number in place of the default ones.

    - most: largest absolute value
    - finite: whether NaN and infinity are refused
    """

    most: float = MAX_NUMBER
    finite: bool = True


@dataclass(frozen=True)
class Decode:
    """How a value is read where its class is abstract: a function from JSON that raises ValueError or UserError."""

    from_json: Callable[[Any], Any]


LARGE = 2**62
Count = Annotated[int, Limit(LARGE)]
"""A number of units, which may be large."""


class _Problem(Exception):
    """What is wrong with the field called `name`; `value` is shown where there is one."""

    def __init__(self, name: str, phrase: str, *value: Any):
        super().__init__(phrase)
        self.name, self.phrase, self.value = name, phrase, value

    def line(self) -> str:
        shown = [_short(repr(value)) for value in self.value]
        return " ".join([*([self.name] if self.name else []), *shown, self.phrase])


def to_json(value: Any) -> Any:
    """A value as dicts with string keys, lists, strings, numbers, booleans and None."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init}
    if isinstance(value, Mapping):
        return {_key(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def from_json(kind: type[T], value: Any, where: str, name: str = "") -> T:
    """The value of a type that `to_json` turned into JSON. Whatever does not fit is a UserError of one line, which
    names the file (`where`) and the field, called `name` at the top."""
    try:
        return _read(kind, value, name, 0)
    except _Problem as problem:
        raise UserError(f"{where}: {problem.line()}") from None


def problem(hint: Any, value: Any) -> str | None:
    """Why a value is none of the type `hint`, as the end of a sentence; None where it is one."""
    if _kind(hint) is Any:  # `Decode` reads what is stored, which may differ from what is given
        return None
    try:
        _read(hint, value, "", 0)
    except _Problem as error:
        return error.line() if error.name else error.phrase
    return None


def parse(content: bytes, where: str) -> Any:
    """JSON within bounds of size, number of values and depth. Whatever is beyond, or no JSON, is a UserError."""
    if len(content) > MAX_BYTES:
        raise UserError(f"{where} is too large: {len(content):,} bytes of JSON, where {MAX_BYTES:,} are allowed")
    if sum(content.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise UserError(f"{where} is too large: it has more than {MAX_VALUES:,} values")
    try:
        value = json.loads(content)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError:
        raise UserError(f"{where} is damaged: it is not whole JSON") from None
    _check_depth(value, where)
    return value


def _check_depth(value: Any, where: str) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise _too_deep(where)
        items = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level, depth = [item for each in items for item in each if isinstance(item, dict | list)], depth + 1


def _too_deep(where: str) -> UserError:
    return UserError(f"{where} is nested too deep: {MAX_DEPTH} levels are allowed")


def _read(hint: Any, value: Any, name: str, depth: int) -> Any:
    """The value of type `hint` that `value` is, or is the JSON of."""
    if hint in _SCALARS:
        return _scalar(hint, value, name, Limit())
    if depth > MAX_DEPTH:
        raise _Problem(name, f"is nested too deep: {MAX_DEPTH} levels are allowed")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(hint.__origin__, hint.__metadata__, value, name, depth)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, name, depth)
    if origin is Literal:
        return _literal(arguments, value, name)
    if hint is Any:
        return _plain(value, name, depth)
    kind = origin or hint
    if kind in (list, tuple, Sequence):
        return _sequence(kind, arguments, value, name, depth)
    if kind in (dict, Mapping):
        return _mapping(arguments, value, name, depth)
    return _instance(kind, value, name, depth)


def _annotated(hint: Any, metadata: Sequence[Any], value: Any, name: str, depth: int) -> Any:
    for item in metadata:
        if isinstance(item, Decode) and (hint is Any or not isinstance(value, _kind(hint))):
            return _decoded(item.from_json, value, name)
        names: Callable[[], Iterable[str]] | None = getattr(item, "names", None)
        if names is not None and value is not None:
            return _literal(tuple(names()), value, name)
    limits = [item for item in metadata if isinstance(item, Limit)]
    found = _scalar(hint, value, name, limits[0]) if limits else _read(hint, value, name, depth)
    for item in metadata:
        if found is not None and hasattr(item, "phrase") and not item.holds(found):
            raise _Problem(name, f"must be {item.phrase}", value)
    return found


def _union(members: Sequence[Any], value: Any, name: str, depth: int) -> Any:
    """The first member that fits; a number is read as the member of its own type where there is one."""
    if value is None and type(None) in members:
        return None
    others = [member for member in members if member is not type(None)]
    problems = []
    for member in sorted(others, key=lambda member: _kind(member) is not type(value)):
        try:
            return _read(member, value, name, depth)
        except _Problem as problem:
            problems.append(problem)
    # the problem of a member of the right type, whose bounds or fields do not fit, is the one to report
    if len(problems) == 1 or not problems[0].phrase.startswith("must be of type"):
        raise problems[0]
    raise _Problem(name, f"must be of type {' or '.join(_called(member) for member in others)}", value)


def _literal(words: Sequence[Any], value: Any, name: str) -> Any:
    if any(type(word) is type(value) and word == value for word in words):
        return value
    near = nearest(str(value), map(str, words), cutoff=0.0)
    raise _Problem(name, f"must be one of {', '.join(map(str, words))}: did you mean '{near}'?", value)


_SCALARS = (bool, int, float, str, type(None))


def _scalar(kind: Any, value: Any, name: str, limit: Limit) -> Any:
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise _Problem(name, f"must be of type {_called(kind)}", value)
    if isinstance(value, str) and len(value) > MAX_LENGTH:
        raise _Problem(name, f"must have at most {MAX_LENGTH:,} characters", value[:SHOWN])
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > limit.most:
        raise _Problem(name, f"must be from {-limit.most:,} to {limit.most:,}", value)
    return _float(value, name, limit) if kind is float else value


def _float(value: Any, name: str, limit: Limit) -> float:
    if limit.finite and not math.isfinite(value):
        raise _Problem(name, "must be finite", value)
    return float(value)


def _sequence(kind: Any, arguments: Sequence[Any], value: Any, name: str, depth: int) -> Any:
    if not isinstance(value, list | tuple):
        raise _Problem(name, "must be a list", value)
    _check_length(value, name)
    fixed = kind is tuple and Ellipsis not in arguments and bool(arguments)
    if fixed and len(value) != len(arguments):
        raise _Problem(name, f"must have {len(arguments)} entries", value)
    hints = arguments if fixed else [*arguments, Any][:1] * len(value)
    pairs = zip(hints, value, strict=True)
    items = (_read(hint, item, f"{name}[{at}]", depth + 1) for at, (hint, item) in enumerate(pairs))
    return list(items) if kind is list else tuple(items)


def _mapping(arguments: Sequence[Any], value: Any, name: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _Problem(name, "must be an object", value)
    _check_length(value, name)
    hint = arguments[1] if arguments else Any
    return {_key(key): _read(hint, item, _below(name, key), depth + 1) for key, item in value.items()}


def _instance(kind: Any, value: Any, name: str, depth: int) -> Any:
    if isinstance(value, kind):
        return value
    if hasattr(kind, "from_json"):
        return _decoded(kind.from_json, value, name)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise TypeError(f"{name} is declared as {kind!r}, which has no form in JSON")
    if not isinstance(value, Mapping):
        raise _Problem(name, "must be an object", value)
    hints = _fields(kind)
    for key in value:
        if key not in hints:
            near = nearest(str(key), hints, cutoff=0.0)
            raise _Problem(_below(name, key), f"is no field: did you mean '{near}'?" if near else "is no field")
    for key in hints:
        if key not in value:
            raise _Problem(_below(name, key), "is missing")
    fields = {key: _read(hint, value[key], _below(name, key), depth + 1) for key, hint in hints.items()}
    return _decoded(lambda fields: kind(**fields), fields, name)  # a `__post_init__` may refuse them


def _decoded(decode: Callable[[Any], Any], value: Any, name: str) -> Any:
    try:
        return decode(value)
    except (UserError, ValueError) as error:
        raise _Problem(name, f"is not valid: {error}") from None


def _plain(value: Any, name: str, depth: int) -> Any:
    """JSON of any kind, whose integers may be large."""
    if isinstance(value, Mapping):
        return _mapping((str, Any), value, name, depth)
    if isinstance(value, list | tuple):
        return _sequence(list, (Any,), value, name, depth)
    if type(value) not in _SCALARS:
        raise _Problem(name, "must be JSON", value)
    return _scalar(type(value), value, name, Limit(LARGE))


def _check_length(value: Any, name: str) -> None:
    if len(value) > MAX_LENGTH:
        raise _Problem(name, f"must have at most {MAX_LENGTH:,} entries, and has {len(value):,}")


@cache
def _fields(kind: type) -> dict[str, Any]:
    """The type hint of each field that the constructor takes."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind) if each.init}


def _kind(hint: Any) -> Any:
    """The class of a type hint."""
    while get_origin(hint) is Annotated:
        hint = hint.__origin__
    return get_origin(hint) or hint


def _called(hint: Any) -> str:
    return getattr(_kind(hint), "__name__", str(hint)).replace("NoneType", "None")


def _below(name: str, key: object) -> str:
    shown = _short(str(key)) if str(key).isidentifier() else _short(repr(key))
    return f"{name}.{shown}" if name else shown


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key must be of type str, not {type(key).__name__}")
    return key


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
