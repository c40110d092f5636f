"""Checks of stored vocabularies, which may come from a stranger's run."""

from collections.abc import Iterable
from typing import Any

from elman.errors import UserError

MAX_SYMBOLS = 1_000_000
MAX_LENGTH = 1_000_000  # characters of a symbol


def check_fields(fields: dict[str, Any], required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """UserError where a stored tokenizer lacks a field or has another one."""
    required = set(required)
    missing, other = required - fields.keys(), fields.keys() - required - set(optional)
    if missing:
        raise UserError(f"a stored tokenizer lacks the field {min(missing)}")
    if other:
        raise UserError(f"a stored tokenizer has an unknown field {min(map(str, other))[:60]!r}")


def symbols(value: Any, name: str) -> list[str]:
    """A list of distinct strings that are not empty. UserError for any other value of the field `name`."""
    if not isinstance(value, list) or not all(isinstance(symbol, str) for symbol in value):
        raise UserError(f"{name} of a stored tokenizer must be a list of strings")
    if len(value) > MAX_SYMBOLS:
        raise UserError(f"{name} of a stored tokenizer has {len(value):,} symbols: at most {MAX_SYMBOLS:,} are allowed")
    if len(set(value)) != len(value):
        raise UserError(f"{name} of a stored tokenizer has a symbol twice")
    if not all(0 < len(symbol) <= MAX_LENGTH for symbol in value):
        raise UserError(f"{name} of a stored tokenizer has a symbol that is empty or longer than {MAX_LENGTH:,}")
    return value


def boolean(value: Any, name: str) -> bool:
    """A boolean. UserError for any other value of the field `name`."""
    if not isinstance(value, bool):
        raise UserError(f"{name} of a stored tokenizer must be true or false")
    return value
