"""Parameters of the command line, derived from the dataclasses of options.

Below `cli` an option is a field with a type, a default, and a docstring; this module adds what cyclopts needs: the name
of the flag, the help, the choices, and converters.
"""

import ast
import collections.abc
import dataclasses
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from cyclopts import Parameter, Token

from elman.options import choices

F = TypeVar("F", bound=Callable[..., Any])


def flag(field: str) -> str:
    """The flag of a field: `clip_by` is `--clip-by`, `for_` is `--for`."""
    return "--" + field.strip("_").replace("_", "-")


def flags(text: str) -> str:
    """A message whose options, fields in backticks, are written as flags."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda match: flag(match[1]), text)


def command(function: F) -> F:
    """Makes every dataclass among the parameters of a function a group of flags."""
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    parameters = []
    for parameter in signature.parameters.values():
        hint = hints[parameter.name]
        if dataclasses.is_dataclass(hint):
            kind = _annotated(hint)
            hint, parameter = Annotated[kind, Parameter(name="*")], parameter.replace(default=kind())
        elif get_origin(hint) is tuple:
            hint = Annotated[hint, Parameter(negative=())]
        parameters.append(parameter.replace(annotation=hint))
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def _annotated(kind: Any) -> type:
    """A subclass of a dataclass, its fields annotated for cyclopts."""
    hints, docs = get_type_hints(kind, include_extras=True), field_docs(kind)
    fields = [(field.name, _hint(field, hints[field.name], docs.get(field.name, "")), field)
              for field in dataclasses.fields(kind)]  # fmt: skip
    made = dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)
    made.__doc__ = kind.__doc__
    made.__module__ = kind.__module__  # cyclopts treats a class of the module `types` as builtin
    return made


def _hint(field: dataclasses.Field, hint: Any, help: str) -> Any:
    """The type of a field with its parameter. One that cyclopts annotates already keeps what it has."""
    members = list(_members(hint))
    if not is_parsed(hint):
        return Annotated[hint, Parameter(parse=False)]
    settings: dict[str, Any] = {"name": flag(field.name), "help": flags(help)}
    if field.name.startswith("no_") or any(get_origin(member) is tuple for member in members):
        settings["negative"] = ()
    words = choices(hint)
    if words:  # an invalid word is reported by `options.check`, with all that is invalid beside it
        optional = type(None) in members
        hint = Annotated[Literal[words] | None if optional else Literal[words], Parameter(converter=_word)]  # type: ignore[valid-type]
    elif int in members:
        settings["converter"] = _integer
    own = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Parameter)]
    return Annotated[(hint, Parameter(**settings), *own)]  # type: ignore[return-value]


def is_parsed(hint: Any) -> bool:
    """Whether a field of this type can be given on the command line: functions cannot."""
    return not any(get_origin(member) is collections.abc.Callable for member in _members(hint))


def _members(hint: Any) -> Iterator[Any]:
    """A type, and the types that it is made of."""
    yield hint
    for part in get_args(hint):
        yield from _members(part)


def _integer(kind: type, tokens: Sequence[Token]) -> int:
    """An integer, where `int` would be given 8 for 8.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value} is not a whole number") from None


def _word(kind: type, tokens: Sequence[Token]) -> str:
    """A word as it was written."""
    return tokens[0].value


def field_docs(kind: type) -> dict[str, str]:
    """The docstring of each field of a dataclass, those of its base classes included, each in one line."""
    docs: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if dataclasses.is_dataclass(each):
            body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body  # type: ignore[attr-defined]
            for field, doc in itertools.pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    docs.pop(field.target.id, None)
                    if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                        docs[field.target.id] = " ".join(str(doc.value.value).split())
    return docs
