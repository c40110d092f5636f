"""Text made safe to print: in a terminal, a page or a figure."""

import re

# control characters but tab and line feed; directional formatting, which reorders what follows; unpaired surrogates
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
REPLACEMENT = "\ufffd"
SPACES = str.maketrans("\t\n\u2028\u2029", "    ")


def printable(text: str, encoding: str | None = None) -> str:
    """The text with every character that would steer a terminal, reorder a line or cannot be encoded replaced by a
    visible one. Tabs and line feeds stay. `encoding`: that of the output, any where it is None."""
    shown = UNPRINTABLE.sub(REPLACEMENT, text)
    return shown.encode(encoding, "replace").decode(encoding) if encoding else shown


def one_line(text: str, encoding: str | None = None) -> str:
    """The text in one line: as `printable`, with spaces for tabs and line breaks."""
    return printable(text.replace("\r\n", "\n").translate(SPACES), encoding)
