"""Spans of C, from the tokens of Pygments."""

import re
from typing import Any

from pygments.lexers.c_cpp import CLexer
from pygments.token import Comment, Keyword, Name, Number, String

from elman.inspect.spans import OPENED_BY, Brackets, Spans, last_word, without_blank_lines

LEXER = CLexer()
# the start of a line outside of all functions, where functions are indented
TOP = re.compile(
    r"[{}]|(?:static|extern|inline|const|volatile|struct|union|enum|typedef|void|bool|char|short|int|long|float|double"
    r"|signed|unsigned)\b"
)
BEGINS = re.compile(rf"#|/[/*]|{TOP.pattern}")
COMMENT = re.compile(r"/\*|\*/")
# kinds that Pygments does not distinguish in a line of the preprocessor
OF_CODE = ("string", "brackets", "block", "condition", "identifier", "keyword", "number")


def read(text: str) -> Spans:
    """The spans of a text in C."""
    reader, begin = _Reader(text), _begin(text)
    reader.found.doubt(0, begin)
    # `get_tokens` changes the text first; some rules need the newline at its end
    for at, kind, word in LEXER.get_tokens_unprocessed(without_blank_lines(text[begin:]) + "\n"):
        reader.token(kind, word, begin + at)
    return reader.end()


def _begin(text: str) -> int:
    """The end of a comment, or of a line, whose start is cut off."""
    first = COMMENT.search(text)
    if first and first[0] == "*/":
        return first.end()
    return 0 if BEGINS.match(text) else text.find("\n") + 1 or len(text)


class _Reader:
    """A text as it is read, token by token."""

    def __init__(self, text: str):
        self.text, self.found = text, Spans(len(text))
        self.brackets = Brackets(self.found, {"(": "brackets", "[": "brackets", "{": "block"})
        self.settled = False  # a line outside of all functions was read: brackets are known
        self.string: int | None = None  # start of the open string
        self.condition: int | None = None
        self.round = 0  # open brackets of the condition
        self.before = ""  # the last word that was not blank

    def token(self, kind: Any, word: str, at: int) -> None:
        end = at + len(word)
        if kind in Comment.Preproc or kind is Comment.PreprocFile:
            self.found.add("preprocessor", at, at if word == "\n" and self.text[at - 1] != "\\" else end)
            self.found.doubt(at, end, *OF_CODE)
        elif kind in Comment:  # ends with a slash or a newline; each line of `#if 0` is one
            self.found.add("comment", at, end if kind is Comment else end - 1)
        elif kind in String:
            if kind is String and word == '"':
                self._quote(at)
        else:
            if self.string is not None:  # not closed on its line
                self.found.doubt(self.string, end, "string")
                self.string = None
            self._word(kind, word, at, end)

    def end(self) -> Spans:
        """The text ends, perhaps inside a span."""
        length = len(self.text)
        self.brackets.end()
        if self.condition is not None:
            self.found.add("condition", self.condition, length)
        if self.string is not None:
            self.found.doubt(self.string, length, "string")
        if not self.settled:
            self.found.doubt(0, length, "brackets", "block")
        self.found.doubt(last_word(self.text), length)
        return self.found

    def _quote(self, at: int) -> None:
        if self.string is None:
            self.string = at
        else:
            self.found.add("string", self.string, at)
            self.string = None

    def _word(self, kind: Any, word: str, at: int, end: int) -> None:
        if word.isspace():
            return
        top = (at == 0 or self.text[at - 1] == "\n") and TOP.match(self.text, at)
        if top:
            self._top(word, at)
        if kind in Name:
            self.found.add("identifier", at, end)
        elif kind in Keyword:
            self.found.add("keyword", at, end)
        elif kind in Number:
            self.found.add("number", at + word.startswith("-"), end)
        elif word in OPENED_BY or word in OPENED_BY.values():
            if not (top and word == "}"):  # which closes all brackets
                self.brackets.read(word, at)
            self._condition(word, at)
        self.before = word

    def _top(self, word: str, at: int) -> None:
        self.brackets.reset(at, closes=word == "}")
        if not self.settled:
            self.found.doubt(0, at, "brackets", "block")
        self.settled = True

    def _condition(self, word: str, at: int) -> None:
        if self.condition is None and word == "(" and self.before in ("if", "while"):
            self.condition, self.round = at, 0
        if self.condition is not None:
            self.round += (word == "(") - (word == ")")
            if self.round == 0:
                self.found.add("condition", self.condition, at)
                self.condition = None
            elif word in ("{", "}"):
                self.found.doubt(self.condition, at, "condition")
                self.condition = None
