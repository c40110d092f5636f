"""Text as it is displayed: in one line, without what has no glyph."""

from elman.printable import printable

SIGNS = {"\n": "⏎", "\t": "⇥", " ": "␣"}


def visible(piece: str) -> str:
    """A token with signs for blanks, ends of lines and what is not printable."""
    return "".join(SIGNS.get(char, char if char.isprintable() else "\ufffd") for char in piece)


def token_label(piece: str, most: int) -> str:
    """A visible token without the blanks around it, of at most so many characters."""
    return shortened(visible(piece.strip() or piece), most)


def shortened(text: str, most: int = 160) -> str:
    """A text in one line of at most so many characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def quoted(text: str, most: int = 40) -> str:
    """A shortened text in quotes."""
    return f"“{shortened(text, most)}”"
