"""A text as stretches: from where to where it is a string, a comment, a condition; and from where to where it cannot be
told."""

import re
from collections import Counter, defaultdict

import numpy as np

BLANK = re.compile(r"\n\s{20,}\n")
OPENED_BY = {")": "(", "]": "[", "}": "{"}


class Spans:
    """What a reader of a language found, by kind. Spans of a kind may lie in each other, as brackets do."""

    def __init__(self, length: int):
        self.length = length
        self._found = defaultdict[str, list[tuple[int, int]]](list)

    def add(self, kind: str, start: int, end: int) -> None:
        """From `start` to before `end` the text is of this kind."""
        start, end = max(start, 0), min(end, self.length)
        if start < end:
            self._found[kind].append((start, end))

    def doubt(self, start: int, end: int, *kinds: str) -> None:
        """From `start` to before `end` it cannot be told whether the text is of these kinds, or of any."""
        for kind in kinds or ("",):
            self.add(f"?{kind}", start, end)

    def depth(self, kind: str) -> np.ndarray:
        """(T,) in how many stretches of the kind each character lies."""
        change = np.zeros(self.length + 1, np.int32)
        if self._found[kind]:
            starts, ends = np.array(self._found[kind]).T
            np.add.at(change, starts, 1)
            np.subtract.at(change, ends, 1)
        return change[:-1].cumsum()

    def known(self, kind: str) -> np.ndarray:
        """(T,) where the depth of the kind can be told."""
        return (self.depth("?") == 0) & (self.depth(f"?{kind}") == 0)


class Brackets:
    """Brackets as they are read. A pair is a stretch; what finds no partner is in doubt."""

    def __init__(self, found: Spans, kinds: dict[str, str], start: int = 0):
        self._found, self._kinds, self._start = found, kinds, start  # an opening bracket and what is inside it
        self._open = list[tuple[str, int]]()
        self._counts = Counter[str]()

    def read(self, char: str, at: int) -> None:
        """A bracket of any kind."""
        if char in self._kinds:
            self._open.append((char, at))
            self._counts[char] += 1
        elif (opener := OPENED_BY[char]) in self._kinds:
            if self._counts[opener]:
                self._close(opener, at)
            else:  # it was opened before the text began
                self._found.doubt(self._start, at + 1, self._kinds[opener])
                self._start = at + 1

    def reset(self, at: int, closes: bool = False) -> None:
        """Here no bracket is open: those that were have never been closed, or the outermost now."""
        for number, (char, start) in enumerate(self._open):
            if closes and number == 0:
                self._found.add(self._kinds[char], start, at)
            else:
                self._found.doubt(start, at, self._kinds[char])
        self._open.clear()
        self._counts.clear()
        self._start = at

    def end(self) -> None:
        """The text ends, maybe inside brackets."""
        for char, start in self._open:
            self._found.add(self._kinds[char], start, self._found.length)

    def _close(self, opener: str, at: int) -> None:
        while True:
            char, start = self._open.pop()
            self._counts[char] -= 1
            if char == opener:
                return self._found.add(self._kinds[char], start, at)
            self._found.doubt(start, at, self._kinds[char])


def without_blank_lines(text: str) -> str:
    """Many blank lines as one of the same length: some lexers look through all of them from each."""
    return BLANK.sub(lambda match: f"\n{' ' * (len(match[0]) - 2)}\n", text)


def last_word(text: str) -> int:
    """Where the word begins at which the text ends, and which may have been cut."""
    start = len(text)
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return start
