"""Spans of plain text: quotations and brackets, by paragraph, so that an unmatched quote affects no other; and lines
that are labels, such as the name of a speaker."""

import re

from elman.inspect.spans import Brackets, Spans

QUOTES = {'"': '"', "“": "”", "„": "“”", "«": "»", "「": "」", "『": "』"}  # opening quote: closing quotes
# without the brackets of enumerations, 1) and 12), and of smileys
MARK = re.compile(r"\n[ \t]*\n|[\"“”„«»「」『』(\[\]]|(?<!^\w)(?<!^\w\w)(?<![:;])\)", re.MULTILINE)
LABEL = re.compile(r"^[^\n:]{1,60}:(?=\n)", re.MULTILINE)


def read(text: str) -> Spans:
    """The spans of a text."""
    found = Spans(len(text))
    read_into(found, text)
    for match in LABEL.finditer(text):
        found.add("label", *match.span())
    found.doubt(0, text.find("\n"), "label")
    found.doubt(text.rfind("\n") + 1, len(text), "label")
    return found


def read_into(found: Spans, text: str) -> None:
    """Adds quotations and brackets."""
    brackets = Brackets(found, {"(": "brackets", "[": "brackets"})
    paragraph, quotation = 0, None  # their starts
    for match in MARK.finditer(text):
        mark, at = match[0], match.start()
        if mark in ("(", ")", "[", "]"):
            brackets.read(mark, at)
        elif mark.startswith("\n"):
            _lost(found, quotation, at)
            brackets.reset(at)
            paragraph, quotation = match.end(), None
        elif quotation is None:
            if _opens(text, at):
                quotation = at
            else:  # opened before the start of the text
                found.doubt(paragraph, at + 1, "quotation")
        elif mark in QUOTES[text[quotation]]:
            found.add("quotation", quotation, at)
            quotation = None
    _lost(found, quotation, len(text))
    brackets.reset(len(text))


def _lost(found: Spans, quotation: int | None, end: int) -> None:
    if quotation is not None:
        found.doubt(quotation, end, "quotation")


def _opens(text: str, at: int) -> bool:
    """Whether a quote opens a quotation: not a straight one after a word and before a space."""
    after_word = at > 0 and not text[at - 1].isspace() and text[at - 1] not in "([{—"
    return text[at] in QUOTES and not (text[at] == '"' and after_word and text[at + 1 : at + 2].strip() == "")
