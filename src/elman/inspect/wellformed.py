"""How well-formed a written text is, where that can be counted: brackets, quotes, and Python that parses."""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from elman.errors import unknown

BRACKET = r"(?P<open>[(\[{])|(?P<close>[)\]}])"
# `end` is the quote again; "" or a backslash where the text ends before it; missing where only the line does
ENDING = r"(?:\\[\s\S]|(?!(?P=quote))[^\\\n])*(?P<end>(?P=quote)|\\?\Z)?"
STRING = rf"(?P<quote>[\"']){ENDING}"
TRIPLE = r"(?P<triple>\"\"\"|''')(?:\\[\s\S]|[\s\S])*?(?:(?P=triple)|\Z)"
# what is looked for in one pass over the text, so that nothing is found in a comment or a string; in a text, where
# neither is known, brackets and quotes have a pass each
LANGUAGES = {
    **dict.fromkeys(("text", "markdown"), (BRACKET, rf"(?P<quote>\"){ENDING}")),
    "python": (rf"#[^\n]*|{TRIPLE}|{STRING}|{BRACKET}",),
    "c": (rf"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|{STRING}|{BRACKET}",),
    "latex": (r"%[^\n]*|\\[^a-zA-Z]|(?P<open>\\begin\{[^{}\n]*\}|\{)|(?P<close>\\end\{[^{}\n]*\}|\})",),
}
OPENS = {")": "(", "]": "[", "}": "{"}
# at column 0 these go on with the statement before, as do comments and closing brackets
GOES_ON = ("else", "elif", "except", "finally")
BEGIN = re.compile(rf"^(?!(?:{'|'.join(GOES_ON)})\b)[^\s#)\]}}]", re.MULTILINE)
DEFINITION = re.compile(r"@|(?:async|def|class)\b")


@dataclass(frozen=True)
class Score:
    """How many of `count` are right."""

    right: int
    count: int

    @property
    def fraction(self) -> float:
        """NaN where there are none."""
        return self.right / self.count if self.count else float("nan")


def wellformed(samples: Sequence[str], language: str) -> dict[str, Score]:
    r"""What is right in samples of a language: `text`, `python`, `c`, `latex` or `markdown`.

    It is no fault that a sample is cut off at its end. Pieces of the text that a model was trained on give the figures
    to compare with.

    - closers: closing brackets that close the bracket opened last; in LaTeX, } and \end{...}
    - balanced: samples with closing brackets, and all of them right
    - quotes: quotes closed before the end of their line, unless it is the text that ends; in text only double quotes,
      in LaTeX none, in python none in threes
    - parses, in python: blocks that parse, a block being a statement at column 0 with what is under it. The first and
      the last of a sample may be cut and do not count, nor does what follows a string in threes that is never closed
    - definitions, in python: the same, of the blocks that define a function or a class
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
    """Whether each closing bracket closes the one opened last. One that closes an earlier one closes all between."""
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
    """Whether each quote is closed on its line; nothing for one that the end of the text has cut."""
    for match in _found(text, language):
        groups = match.groupdict()
        if groups.get("quote") and groups["end"] in (groups["quote"], None):
            yield groups["end"] is not None


def _blocks(text: str) -> list[str]:
    """The top-level blocks of Python but the first and the last."""
    head, _, line = text.rpartition("\n")
    if any(word.startswith(line) for word in GOES_ON):  # maybe a word that was cut
        text = head
    strings = [match.span() for match in _found(text, "python") if match["triple"]]  # may have lines at column 0
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
            warnings.simplefilter("ignore")  # a backslash that escapes nothing is no error
            ast.parse(block)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # NUL, and nesting that is too deep for the parser
        return False
    return True
