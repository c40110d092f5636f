"""Spans of LaTeX and Markdown, from the tokens of Pygments."""

import re
from itertools import pairwise
from typing import Any

from pygments.lexer import bygroups, default, inherit
from pygments.lexers.markup import MarkdownLexer, TexLexer
from pygments.token import Comment, Generic, Keyword, Name, String

from elman.inspect import plain_text
from elman.inspect.spans import Brackets, Spans, without_blank_lines

MATHS = r"(?:(?:display)?math|equation|align(?:at)?|eqnarray|gather|multline|flalign)\*?"
MATH = re.compile(rf"\\(begin|end)\{{{MATHS}\}}")
PARTS = bygroups(Keyword, Name.Builtin, Name.Builtin, Name.Builtin)
# the start of a paragraph of LaTeX: what is never inside mathematics
PARAGRAPH = re.compile(
    r"\n[ \t]*\n|^(?=\\(?:documentclass|usepackage|chapter|(?:sub)*section|item|(?:begin|end)\{(?:document|abstract"
    r"|itemize|enumerate|theorem|lemma|proposition|corollary|definition|proof|remark|example|figure|table)\}))",
    re.MULTILINE,
)
FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)


class Tex(TexLexer):
    """The lexer of Pygments with more mathematical environments, and mathematics in square brackets."""

    tokens = {
        "root": [(rf"(\\begin)(\{{)({MATHS})(\}})", PARTS, "environmentmath"), inherit],
        "environmentmath": [(rf"(\\end)(\{{)({MATHS})(\}})", PARTS, "#pop"), inherit],
        "command": [(r"\*", Keyword), default("#pop")],
    }


TEX, MARKDOWN = Tex(), MarkdownLexer(handlecodeblocks=False)


def read_latex(text: str) -> Spans:
    """The spans of a text in LaTeX. Where mathematics is not closed, its paragraph alone is unknown."""
    found = Spans(len(text))
    brackets = Brackets(found, {"{": "brackets"})
    cuts = sorted({0, len(text), *(match.end() for match in PARAGRAPH.finditer(text))})
    for start, end in pairwise(cuts):
        brackets.reset(start)
        _paragraph(text[start:end], start, found, brackets)
    brackets.end()
    if not PARAGRAPH.match(text):  # it may start inside a paragraph
        found.doubt(0, cuts[min(1, len(cuts) - 1)], "math")
    return found


def _paragraph(text: str, start: int, found: Spans, brackets: Brackets) -> None:
    math: int | None = None
    # `get_tokens` changes the text first; some rules need the newline at its end
    for offset, kind, word in TEX.get_tokens_unprocessed(text + "\n"):
        at, end = start + offset, start + offset + len(word)
        if kind in Comment:
            found.add("comment", at, end - 1)
            continue
        if kind in (Keyword, Name.Variable) and word.startswith("\\"):
            found.add("command", at, end)
        elif word in ("{", "}"):
            brackets.read(word, at)
        environment = MATH.match(text, offset) if kind is Keyword else None
        if kind not in String and not environment:
            continue
        if math is None and (not environment or environment[1] == "begin"):
            math = at
        elif math is None:
            found.doubt(start, at, "math")  # opened before the start of the text
        else:
            found.add("math", math, (start + environment.end() if environment else end) - 1)
            math = None
    if math is not None:
        found.doubt(start, start + len(text), "math")


def read_markdown(text: str) -> Spans:
    """The spans of a text in Markdown."""
    found = Spans(len(text))
    begin = _begin_of_markdown(text)
    found.doubt(0, begin)
    ending = "\n" + "```\n" * (len(FENCE.findall(text, begin)) % 2)  # code may be open at the end of the text
    fence: int | None = None
    for offset, kind, word in MARKDOWN.get_tokens_unprocessed(without_blank_lines(text[begin:]) + ending):
        at = begin + offset + len(word) - len(word.lstrip())
        end = begin + offset + len(word.rstrip())
        if kind is String.Backtick and word.strip() == "```":
            if fence is not None:
                found.add("code", fence, end - 1)
            fence = at if fence is None else None
        elif fence is None:
            _markdown(kind, word.strip(), at, end, found)
    _add_prose(text, found)
    return found


def _begin_of_markdown(text: str) -> int:
    """The end of a block of code, or of a line, whose start is cut off."""
    if (first := FENCE.search(text)) and first[0].strip() == "```":
        after_text = first.start() > 1 and text[first.start() - 2] != "\n"
        if after_text and text[first.end() : first.end() + 2] in ("", "\n", "\n\n"):
            return first.end()
    return text.find("\n") + 1 or len(text) if text[:1].isalnum() else 0


def _markdown(kind: Any, word: str, at: int, end: int, found: Spans) -> None:
    if kind is String.Backtick:
        found.add("code", at, end - 1)
    elif kind in (Generic.Heading, Generic.Subheading):
        found.add("heading", at, end)
    elif kind in (Generic.Emph, Generic.Strong, Generic.EmphStrong) and word[:1] in ("*", "_"):
        found.add("emphasis", at, end - 1)
    elif kind in (Name.Tag, Name.Attribute, Name.Label):
        found.add("link", at, end)


def _add_prose(text: str, found: Spans) -> None:
    """Adds quotations and brackets outside of code."""
    code = found.depth("code") > 0
    prose = "".join(" " if inside and char != "\n" else char for char, inside in zip(text, code.tolist(), strict=True))
    plain_text.read_into(found, prose)
