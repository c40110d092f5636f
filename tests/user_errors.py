"""Assertions about the one line that a user's mistake gets."""

from collections.abc import Callable
from typing import Any

import pytest

from elman.errors import UserError


def fails(action: Callable[[], Any], *words: str) -> str:
    """Asserts that an action raises a UserError of one line that has these words; returns the line."""
    with pytest.raises(UserError) as raised:
        action()
    line = str(raised.value)
    assert "\n" not in line
    assert all(word in line for word in words), line
    return line
