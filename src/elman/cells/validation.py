"""Values read from JSON, checked before anything is built from them. Every failure is a UserError that names the field
(`where`) and shows at most some characters of the value."""

import keyword
import math
from collections.abc import Collection, Mapping
from typing import Any

from elman.errors import UserError

LONGEST_NAME = 64
LARGEST = 1e38  # of a number: within the range of float32 and bfloat16


def shown(value: Any) -> str:
    """A value in an error message: one line, without control characters, and short."""
    if isinstance(value, str):
        return repr(value[:40]) + ("..." if len(value) > 40 else "")
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**30):
        return str(value)
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), f"a {type(value).__name__}")


def as_mapping(value: Any, where: str, keys: Collection[str] | None = None) -> Mapping[str, Any]:
    """An object, with exactly these keys where they are given."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{where} must be an object, not {shown(value)}")
    if keys is not None and value.keys() != set(keys):
        wrong = sorted(value.keys() ^ set(keys))[0]
        what = "is missing" if wrong in keys else f"is unknown: the keys are {', '.join(keys)}"
        raise UserError(f"{where}: {shown(wrong)} {what}")
    return value


def as_list(value: Any, where: str, most: int, least: int = 0) -> list[Any]:
    """A list of a bounded length."""
    if not isinstance(value, list):
        raise UserError(f"{where} must be a list, not {shown(value)}")
    if not least <= len(value) <= most:
        raise UserError(f"{where} must have {least} to {most} entries, not {len(value)}")
    return value


def as_integer(value: Any, where: str, low: int, high: int) -> int:
    """An integer from low to high."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{where} must be an integer from {low} to {high}, not {shown(value)}")
    return value


def as_number(value: Any, where: str, low: float = -LARGEST, high: float = LARGEST) -> float:
    """A finite number from low to high."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not low <= value <= high or not math.isfinite(value):
        raise UserError(f"{where} must be a finite number from {low:g} to {high:g}, not {shown(value)}")
    return float(value)


def as_text(value: Any, where: str) -> str:
    """A printable string of a bounded length."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise UserError(f"{where} must be 1 to {LONGEST_NAME} printable characters, not {shown(value)}")
    return value


def as_identifier(value: Any, where: str) -> str:
    """A Python identifier of a bounded length."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME or not value.isidentifier() or keyword.iskeyword(value):
        raise UserError(f"{where} must be an identifier of at most {LONGEST_NAME} characters, not {shown(value)}")
    return value
