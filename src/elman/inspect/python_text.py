"""Spans of Python, from the tokens of the standard library's `tokenize`.

A text that was cut out of a file may begin inside a string, where code and prose are confused. So reading begins at a
line that resembles the first of a definition or an import. If that was prose, or an example in it, the grammar soon
breaks (two names in a row), and everything since the last certain position is unknown; so it is at any error. Reading
resumes at the next such line.
"""

import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from keyword import iskeyword

from elman.inspect.spans import OPENED_BY, Spans

BEGINS = re.compile(
    r"^(?:[ \t]*(?:async def|def) \w+[ \t]*[(\[]"
    r"|[ \t]*class \w+[ \t]*[(:\[]"
    r"|import \w[\w.]*(?: as \w+)?[ \t]*(?:[,;#]|$)"
    r"|from [.\w]+ import\b"
    r"|@\w[\w.]*[ \t]*(?:[(#]|$)"
    r"|if __name__\b)"
    r"|\A(?:#.*\n(?=[#\n\w\"'])|[rR]?(?:\"{3}|'{3}))",  # a whole file
    re.MULTILINE,
)
CONDITIONS = {"if", "elif", "while"}
BLOCKS = CONDITIONS | {"else", "for", "try", "except", "finally", "with", "def", "class", "async"}
YOUNG = 20  # statements: examples in docstrings are shorter
CERTAIN = {"def", "class", "import", "from", "async", "@"}  # prose never completes such a statement
# keywords that begin a statement and are never in brackets
BARE = BLOCKS - {"if", "else", "for", "async"} | {
    *("assert", "break", "continue", "del", "global", "import", "nonlocal", "pass", "raise", "return")
}
SOFT = {"match", "case", "type", "print", "exec"}  # may begin a statement before a name
VALUES = {"None", "True", "False"}
IGNORED = {getattr(tokenize, name) for name in ("NL", "INDENT", "DEDENT", "ENDMARKER")}
QUOTED = {"'": "single_quoted", '"': "double_quoted"}
# the parts of an f-string are tokens from Python 3.12 on, those of a t-string from 3.14 on
PARTED_BEGINS = {getattr(tokenize, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
PARTED_ENDS = {getattr(tokenize, name, -1) for name in ("FSTRING_END", "TSTRING_END")}
PARTED = PARTED_BEGINS | PARTED_ENDS
# characters at which tokenize fails, and replacements of the same length
CLEAN = {0: "\ufffd", 0x0D: " ", 0xFEFF: "\f"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def read(text: str) -> Spans:
    """The spans of a text in Python."""
    found = Spans(len(text))
    text = text.translate(CLEAN)
    lines = [line + "\n" for line in text.split("\n")]
    offsets = [0, *accumulate(map(len, lines))]
    begins = [bisect_right(offsets, match.start()) - 1 for match in BEGINS.finditer(text)]
    end = begins[0] if begins else len(lines)
    found.doubt(0, offsets[end])
    patience = 20 * len(lines) + 1000  # bounds the time for adversarial text
    eaten = False
    while end < len(lines) and patience > 0:
        part = _Part(text, lines, offsets, begins, end)
        trouble, end = part.read()
        if eaten and end == len(lines) and part.young:  # the text may begin in that string
            trouble = part.begin
        eaten |= part.eaten
        for kind, start, stop in part.spans:
            found.add(kind, start, min(stop, offsets[end]))
            if kind == "string":  # a unit may respond to either kind of quote
                found.add(QUOTED[text[start]], start, min(stop, offsets[end]))
        found.doubt(trouble, offsets[end])
        patience -= part.rows
    found.doubt(offsets[end], len(text))
    return found


class _Trouble(Exception):
    """The text is not Python."""


class _Part:
    """The text from a line on, to its end or to the first error."""

    def __init__(self, text: str, lines: list[str], offsets: list[int], begins: list[int], row: int):
        self.text, self.lines, self.offsets, self.begins, self.row = text, lines, offsets, begins, row
        self.spans = list[tuple[str, int, int]]()
        self.begin = self.last = self.done = offsets[row]  # its start; start and end of the last token
        self.unsure: int | None = None  # from here on code and prose may be confused
        self.sure = False  # the text after a string of several lines was certainly code
        self.brackets = list[tuple[str, int]]()  # open ones, and where they were opened
        self.statements, self.rows = 0, 0  # read so far
        self.eaten = False  # an unclosed string reached the end of the text
        self.parted = 0  # depth of f-strings
        self._new_statement()

    def read(self) -> tuple[int, int]:
        """The offset from which, and the line before which, nothing is known. Reading resumes at that line."""
        try:
            while not self._reaches_end():
                pass
            return self._end()
        except (tokenize.TokenError, SyntaxError) as error:
            if "EOF in multi-line statement" in str(error):
                return self._end()
            self.eaten = "triple" in str(error) or "multi-line string" in str(error)
        except _Trouble:
            pass
        trouble = self.done if self.statement is None else self.statement
        if self.unsure is not None:
            trouble = min(trouble, self.unsure)
        end = self._next(trouble)
        if self.young or (self.eaten and not self.sure and end < len(self.lines)):
            trouble, end = self.begin, self._next(self.begin)
        return trouble, end

    def _reaches_end(self) -> bool:
        """Reads to the end of the text; False at a line whose indentation matches none before, which is no error of its
        tokens: the text was cut, or is of several files."""
        try:
            for token in tokenize.generate_tokens(self._lines().__next__):
                self._token(token)
        except IndentationError as error:
            if error.lineno is None or error.lineno < 2:
                raise
            self.row += error.lineno - 1
            return False
        return True

    @property
    def young(self) -> bool:
        """Whether all that was read may be an example in a docstring."""
        return not self.sure and self.statements < YOUNG

    def _lines(self) -> Iterator[str]:
        for row in range(self.row, len(self.lines)):
            self.rows += 1
            yield self.lines[row]

    def _next(self, offset: int) -> int:
        """The next line at which reading may resume."""
        row = bisect_right(self.offsets, offset) - 1
        at = bisect_right(self.begins, row)
        return self.begins[at] if at < len(self.begins) else len(self.lines)

    def _end(self) -> tuple[int, int]:
        """The text ends: open spans extend to it, and its last word may be cut off."""
        self.spans += [("brackets", start, len(self.text)) for _, start in self.brackets]
        if self.condition is not None:
            self.spans.append(("condition", self.condition, len(self.text)))
        return self.last if self.done == len(self.text) else len(self.text), len(self.lines)

    def _new_statement(self) -> None:
        self.statement: int | None = None  # its start
        self.condition: int | None = None
        self.first, self.tokens = "", 0  # its first word, and its number of tokens
        self.operand = ""  # the kind of the last token, if no other operand may follow it
        self.in_threes: int | None = None  # the index of its span, if it begins with a triple-quoted string

    def _end_statement(self, at: int) -> None:
        if self.condition is not None:
            self.spans.append(("condition", self.condition, at))
        if self.in_threes is not None and self.tokens == 1:
            self.spans[self.in_threes] = ("docstring", *self.spans[self.in_threes][1:])
        if self.unsure is not None and self.first in CERTAIN:
            self.unsure, self.sure = None, True
        self.statements += self.tokens > 0
        self._new_statement()

    def _token(self, token: tokenize.TokenInfo) -> None:
        kind, word = token.type, token.string
        if kind in IGNORED:
            return
        start, end = (self.offsets[self.row + row - 1] + column for row, column in (token.start, token.end))
        if kind == tokenize.NEWLINE:
            self._end_statement(start)
            return
        if self.parted or kind in PARTED:
            self._part_of_string(kind, word, start, end)
            return
        self.last, self.done = start, end
        if kind == tokenize.COMMENT:
            self.spans.append(("comment", start, end))
        else:
            self._next_word(word, start)
            self._word(kind, word, start, end)

    def _word(self, kind: int, word: str, start: int, end: int) -> None:
        if kind == tokenize.STRING:
            self._string(start, end)
        elif kind == tokenize.NUMBER:
            self._takes_operand("number")
            self.spans.append(("number", start, end))
        elif kind == tokenize.NAME:
            self._name(word, start, end)
        elif kind == tokenize.OP and word not in ("$", "?", "!", "`"):
            self._operator(word, start)
        else:
            raise _Trouble

    def _next_word(self, word: str, start: int) -> None:
        if self.statement is None:
            self.statement, self.first = start, word
        self.tokens += 1

    def _part_of_string(self, kind: int, word: str, start: int, end: int) -> None:
        """A token of an f-string, which counts as one string with all that is in it."""
        if kind in PARTED_BEGINS and not self.parted:
            self._next_word(word, start)
            self.last = start
        self.parted += (kind in PARTED_BEGINS) - (kind in PARTED_ENDS)
        self.done = end
        if not self.parted:
            self._string(self.last, end)

    def _string(self, start: int, end: int) -> None:
        self._takes_operand("string")
        word = self.text[start:end]
        inside = word.lstrip("rRbBuUfFtT")
        prefix = word[: len(word) - len(inside)]
        if inside[:3] in ('"""', "'''"):
            if self.tokens == 1 and not set(prefix.lower()) & set("bft"):
                self.in_threes = len(self.spans)
            if "\n" in inside and self.unsure is None:
                assert self.statement is not None
                self.unsure = self.statement if self.sure else self.begin
            if "\n" in inside and inside[3] in ")]},":  # the end of another string, inside brackets
                raise _Trouble
        self.spans.append(("string", start + len(prefix), end - 1))

    def _name(self, word: str, start: int, end: int) -> None:
        if word in BARE and self.brackets:
            raise _Trouble
        known = iskeyword(word)
        if not known or word in VALUES:
            self._takes_operand("" if self.tokens == 1 and word in SOFT else "name")
        else:
            self.operand = ""
        self.spans.append(("keyword" if known else "identifier", start, end))
        if self.tokens == 1 and word in CONDITIONS:
            self.condition = end

    def _operator(self, word: str, start: int) -> None:
        self.operand = ""
        if word in OPENED_BY.values():
            self.brackets.append((word, start))
        elif word in OPENED_BY:
            if not self.brackets or self.brackets[-1][0] != OPENED_BY[word]:
                raise _Trouble
            self.spans.append(("brackets", self.brackets.pop()[1], start))
            self.operand = "bracket"
        elif not self.brackets and (word == ";" or (word == ":" and self.first in BLOCKS)):
            self.tokens -= 1  # not one of its tokens
            self._end_statement(start)

    def _takes_operand(self, kind: str) -> None:
        """An operand: a name, number or string. None may follow another, except a string after a string."""
        if self.operand and not self.operand == kind == "string":
            raise _Trouble
        self.operand = kind
