"""The one kind of error that is the user's to mend: it prints as a single line, without a traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user. The message says what was given, what would be right, and the nearest valid word."""


def unknown(what: str, given: str, valid: Iterable[str]) -> UserError:
    """The error for a word that is not one of `valid`: names the nearest, or all when they are few."""
    valid = sorted(valid)
    folded = {word.lower(): word for word in valid}
    near = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=0.5)
    hint = f"did you mean '{folded[near[0]]}'?" if near else f"there is {', '.join(valid) or 'none'}"
    return UserError(f"unknown {what} '{given}': {hint}")
