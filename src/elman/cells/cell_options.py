"""The options of a cell, as they are given: by keyword, or as text in `rhn:depth=3`."""

import math
from collections.abc import Mapping
from typing import Any, get_args

from elman.errors import UserError, unknown


def converted(cell: str, given: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """The values of options converted to their types."""
    for name in given:
        if name not in types:
            raise unknown(f"option of the cell {cell}", name, types)
    return {name: _convert(f"{cell}:{name}", given[name], types[name]) for name in given}


def _convert(what: str, value: Any, kind: Any) -> Any:
    """The value of an option converted to its type: of `rhn:depth=3` it is the text '3'."""
    choices = {"true": True, "false": False} if kind is bool else {str(choice): choice for choice in get_args(kind)}
    if choices:
        text = str(value).lower() if kind is bool else str(value)
        if text not in choices:
            raise unknown(f"value of {what}", text, choices)
        return choices[text]
    try:
        converted = kind(value)
        exact = math.isfinite(float(value)) and converted == float(value) if kind in (int, float) else True
    except (ValueError, TypeError, OverflowError):
        exact = False
    if not exact:
        raise UserError(f"{what}={value} must be a finite {getattr(kind, '__name__', kind)}")
    return converted  # type: ignore[possibly-unbound]
