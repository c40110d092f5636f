"""Well-formedness of generated text: brackets, quotes, and Python that parses."""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from elman.errors import unknown

BRACKET = r"(?P<open>[(\[{])|(?P<close>[)\]}])"
# `end` is the closing quote; "" or a backslash where the text ends before it; missing where the line does
ENDING = r"(?:\\[\s\S]|(?!(?P=quote))[^\\\n])*(?P<end>(?P=quote)|\\?\Z)?"
STRING = rf"(?P<quote>[\"']){ENDING}"
TRIPLE = r"(?P<triple>\"\"\"|''')(?:\\[\s\S]|[\s\S])*?(?:(?P=triple)|\Z)"
# patterns, each matched in one pass over the text, so that nothing is found inside a comment or a string; plain text
# has neither, and so a pass for brackets and one for quotes
LANGUAGES = {
    **dict.fromkeys(("text", "markdown"), (BRACKET, rf"(?P<quote>\"){ENDING}")),
    "python": (rf"#[^\n]*|{TRIPLE}|{STRING}|{BRACKET}",),
    "c": (rf"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|{STRING}|{BRACKET}",),
    "latex": (r"%[^\n]*|\\[^a-zA-Z]|(?P<open>\\begin\{[^{}\n]*\}|\{)|(?P<close>\\end\{[^{}\n]*\}|\})",),
}
OPENS = {")": "(", "]": "[", "}": "{"}
# at column 0 these continue the statement before, as comments and closing brackets do
CONTINUES = ("else", "elif", "except", "finally")
BEGIN = re.compile(rf"^(?!(?:{'|'.join(CONTINUES)})\b)[^\s#)\]}}]", re.MULTILINE)
DEFINITION = re.compile(r"@|(?:async|def|class)\b")


@dataclass(frozen=True)
class Score:
    """How many of `count` are correct."""

    right: int
    count: int

    @property
    def fraction(self) -> float:
        """The fraction that is correct, NaN where there are none."""
        return self.right / self.count if self.count else float("nan")


def wellformed(samples: Sequence[str], language: str) -> dict[str, Score]:
    r"""Scores of samples in a language: `text`, `python`, `c`, `latex` or `markdown`.

    That a sample is cut off at its end is not an error. Pieces of the training text are the baseline.

    - closers: closing brackets that match the last open bracket; in LaTeX, } and \end{...}
    - balanced: samples with closing brackets in which all of them match
    - quotes: quotes closed on their line, unless the text ends; double quotes in text, none in LaTeX, no triple quotes
      in python
    - parses, in python: blocks that parse; a block is a statement at column 0 with what is indented below it. The first
      and the last of a sample may be cut and do not count, nor does text after an unclosed triple-quoted string
    - definitions, in python: the same for blocks that define a function or a class
    """
    if language not in LANGUAGES:
        raise unknown("language", language, LANGUAGES)
    closers = [list(_closers(sample, language)) for sample in samples]
    scores = {
        "closers": _score(right for sample in closers for right in sample),
        "balanced": _score(all(sample) for sample in closers if sample),
        "quotes": _score(right for sample in samples for right in _quotes(sample, language)),
    }
    if language == "python":
        parsed = [(block, _parses(block)) for sample in samples for block in _blocks(sample)]
        scores["parses"] = _score(right for _, right in parsed)
        scores["definitions"] = _score(right for block, right in parsed if DEFINITION.match(block))
    return scores


def _score(right: Iterable[bool]) -> Score:
    right = list(right)
    return Score(sum(right), len(right))


def _found(text: str, language: str) -> Iterator[re.Match[str]]:
    for pattern in LANGUAGES[language]:
        yield from re.finditer(pattern, text)


def _closers(text: str, language: str) -> Iterator[bool]:
    """Whether each closing bracket matches the last open one. One that matches an earlier one closes all in between."""
    opened = list[str]()
    for match in _found(text, language):
        groups = match.groupdict()
        if groups.get("open"):
            opened.append(groups["open"])
        elif close := groups.get("close"):
            opener = OPENS.get(close) or close.replace("end", "begin", 1)
            yield opened[-1:] == [opener]
            if opener in opened:
                while opened.pop() != opener:
                    pass


def _quotes(text: str, language: str) -> Iterator[bool]:
    """Whether each quote is closed on its line; one that is open at the end of the text does not count."""
    for match in _found(text, language):
        groups = match.groupdict()
        if groups.get("quote") and groups["end"] in (groups["quote"], None):
            yield groups["end"] is not None


def _blocks(text: str) -> list[str]:
    """The top-level blocks of Python, without the first and the last."""
    head, _, line = text.rpartition("\n")
    if any(word.startswith(line) for word in CONTINUES):  # perhaps a keyword that is cut off
        text = head
    strings = [match.span() for match in _found(text, "python") if match["triple"]]  # their lines may be at column 0
    starts, decorated = list[int](), False
    for match in BEGIN.finditer(text):
        at = match.start()
        if any(begin < at < end for begin, end in strings):
            continue
        if not decorated:
            starts.append(at)
        decorated = text[at] == "@"
    return [text[begin:end] for begin, end in pairwise(starts[1:])]


def _parses(block: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is no error
            ast.parse(block)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # NUL, or nesting too deep for the parser
        return False
    return True
