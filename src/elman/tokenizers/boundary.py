"""Where a text can be cut so that its parts, tokenized separately, have the tokens of the whole."""

import re
from collections.abc import Iterable, Iterator

# the last end of a word for all tokenizers here: none has a token that continues from another character than a space
# into a space or a line feed, or depends on what follows
BOUNDARY = re.compile(r".*\S(?=[ \n])", re.DOTALL)


def last_boundary(text: str) -> int:
    """The last index at which a text can be cut; 0 when there is none between its ends."""
    found = BOUNDARY.match(text)
    return found.end() if found else 0


def at_boundaries(texts: Iterable[str]) -> Iterator[str]:
    """The same text in other chunks, which end at boundaries."""
    tail = ""
    for text in texts:
        tail += text
        if cut := last_boundary(tail):
            yield tail[:cut]
            tail = tail[cut:]
    if tail:
        yield tail
