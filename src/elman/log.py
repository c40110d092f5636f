"""Where messages of library code go: a function that takes one line."""

from collections.abc import Callable

Log = Callable[[str], None]


def discard(line: str) -> None:
    """A `Log` that drops its messages."""
