"""Messages beside what a command prints."""

import sys

from elman.cli.parameters import flags
from elman.printable import printable


def log(*lines: str) -> None:
    """Prints lines to standard error, so that standard output holds results only."""
    for line in lines:
        print("elman:", printable(flags(line)), file=sys.stderr)
