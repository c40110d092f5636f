"""Exceptions that end a command with one line instead of a traceback.

A message names an option by its field in backticks, "`batch_size` 0 must be a number above 0", and the command line
prints it as a flag: "--batch-size 0 must be ...". Every other word is quoted with '...'; backticks are for options.
"""

import difflib
from collections.abc import Iterable


class Stopped(Exception):
    """Ends a command. The message is the line to print, `code` the exit code."""

    code = 1


class UserError(Stopped):
    """A mistake of the user. The message names what was given, what would be right, and the nearest valid word."""

    code = 2


class Unreadable(UserError):
    """A part of the data, such as an image, cannot be read, which may be found only while training."""


def unknown(what: str, given: str, valid: Iterable[str]) -> UserError:
    """The error for a word that is not one of `valid`: names the nearest, or all when none is near."""
    valid = sorted(valid)
    near = nearest(given, valid)
    hint = f"did you mean '{near}'?" if near else f"there is {', '.join(valid) or 'none'}"
    return UserError(f"unknown {what} '{given}': {hint}")


def nearest(given: str, valid: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The valid word most similar to the given one, ignoring case; None where none is."""
    folded = {word.lower(): word for word in valid}
    near = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None
