"""Text as it may be shown, in a terminal, a page or a picture."""

import re

UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # controls but \t and \n, halves of pairs


def printable(text: str) -> str:
    """The text without what would steer a terminal, or is no character: a sign stands in its place."""
    return UNFIT.sub("\ufffd", text)
