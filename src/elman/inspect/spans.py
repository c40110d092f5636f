"""A text as spans by kind: strings, comments, conditions; and the spans in which a kind is unknown."""

import re
from collections import Counter, defaultdict

import numpy as np

BLANK = re.compile(r"\n\s{20,}\n")
OPENED_BY = {")": "(", "]": "[", "}": "{"}


class Spans:
    """The spans that a reader of a language finds, by kind. Spans of a kind may be nested, as brackets are."""

    def __init__(self, length: int):
        self.length = length
        self._found = defaultdict[str, list[tuple[int, int]]](list)

    def add(self, kind: str, start: int, end: int) -> None:
        """From `start` to before `end` the text is of this kind."""
        start, end = max(start, 0), min(end, self.length)
        if start < end:
            self._found[kind].append((start, end))

    def doubt(self, start: int, end: int, *kinds: str) -> None:
        """From `start` to before `end` it is unknown whether the text is of these kinds; without kinds, of any."""
        for kind in kinds or ("",):
            self.add(f"?{kind}", start, end)

    def depth(self, kind: str) -> np.ndarray:
        """(T,) the number of spans of the kind that each character is in."""
        change = np.zeros(self.length + 1, np.int32)
        if self._found[kind]:
            starts, ends = np.array(self._found[kind]).T
            np.add.at(change, starts, 1)
            np.subtract.at(change, ends, 1)
        return change[:-1].cumsum()

    def known(self, kind: str) -> np.ndarray:
        """(T,) bool: where the depth of the kind is known."""
        return (self.depth("?") == 0) & (self.depth(f"?{kind}") == 0)


class Brackets:
    """Brackets, one after another. A pair is a span; up to an unmatched bracket the kind is unknown."""

    def __init__(self, found: Spans, kinds: dict[str, str], start: int = 0):
        self._found, self._kinds, self._start = found, kinds, start  # kinds by opening bracket
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
            else:  # opened before the start of the text
                self._found.doubt(self._start, at + 1, self._kinds[opener])
                self._start = at + 1

    def reset(self, at: int, closes: bool = False) -> None:
        """At this position no bracket is open: open ones are unmatched; with `closes` the outermost is closed here."""
        for number, (char, start) in enumerate(self._open):
            if closes and number == 0:
                self._found.add(self._kinds[char], start, at)
            else:
                self._found.doubt(start, at, self._kinds[char])
        self._open.clear()
        self._counts.clear()
        self._start = at

    def end(self) -> None:
        """The text ends, perhaps inside brackets."""
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
    """Successive blank lines as one of the same length: some lexers take quadratic time over them."""
    return BLANK.sub(lambda match: f"\n{' ' * (len(match[0]) - 2)}\n", text)


def last_word(text: str) -> int:
    """The start of the last word of the text, which may be cut off."""
    start = len(text)
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return start
