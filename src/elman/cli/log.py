"""Lines beside what a command prints."""

import sys


def log(*lines: str) -> None:
    """On standard error, so that what is piped on holds answers only."""
    for line in lines:
        print("elman:", line, file=sys.stderr)
