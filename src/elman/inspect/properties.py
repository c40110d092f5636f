"""Properties of each character of a text: whether it is inside a string or a comment, the depth of brackets.

The value of a character is that after reading it: an opening quote is inside its string and the closing one is not;
after "(" the depth is 1, after ")" 0. Of delimiters of several characters (three quotes, /* and */) the first opens and
the last closes. A word that is one token (a name, a number) is so in all its characters.

A property is `known` where it can be determined: a text that was cut out of a file may begin inside a string.

A property of any text is a function in `line_text.py`. One of a language is a kind of span that its reader finds, added
to `INSIDE` and to `LANGUAGES`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import UserError, unknown
from elman.inspect import c_text, markup_text, plain_text, python_text
from elman.inspect.language import guess
from elman.inspect.line_text import EVERYWHERE, Truth
from elman.inspect.spans import Spans

__all__ = ["LANGUAGES", "Property", "guess", "properties"]

INSIDE = {
    "string": "inside a string",  # in Python docstrings apart
    "single_quoted": "inside a string in single quotes",
    "double_quoted": "inside a string in double quotes",
    "docstring": "inside a docstring",
    "comment": "inside a comment",
    "condition": "inside the condition of an if or a while",
    "brackets": "inside brackets",
    "block": "inside a block in braces",
    "preprocessor": "in a line for the preprocessor",
    "identifier": "in an identifier",
    "keyword": "in a keyword",
    "number": "in a number",
    "math": "inside mathematics",
    "command": "in a command",
    "heading": "in a heading",
    "code": "inside code",
    "emphasis": "inside emphasis",
    "link": "in the text or the address of a link",
    "quotation": "inside quotation marks",
    "label": "in a line that is a few words and a colon",
}
DEPTHS = {
    "brackets": ("bracket_depth", "how many brackets are open"),
    "block": ("block_depth", "how many blocks in braces are open"),
}
WORDS = ["identifier", "keyword", "number"]

Reader = Callable[[str], Spans]
LANGUAGES: dict[str, tuple[Reader, list[str]]] = {
    "python": (
        python_text.read,
        ["string", "single_quoted", "double_quoted", "docstring", "comment", "condition", "brackets", *WORDS],
    ),
    "c": (c_text.read, ["string", "comment", "condition", "brackets", "block", "preprocessor", *WORDS]),
    "latex": (markup_text.read_latex, ["math", "command", "comment", "brackets"]),
    "markdown": (markup_text.read_markdown, ["heading", "code", "emphasis", "link", "quotation", "brackets"]),
    "text": (plain_text.read, ["quotation", "brackets", "label"]),
}


@dataclass(frozen=True, eq=False)
class Property:
    """A property of each character: `values` (T,) are bool, or float32 for a number; `known` (T,) is bool."""

    name: str
    meaning: str
    values: np.ndarray
    known: np.ndarray

    @property
    def binary(self) -> bool:
        """Whether its values are bool."""
        return self.values.dtype == bool


def properties(text: str, language: str, own: Sequence[Callable[[str], Any]] = (), least: int = 20) -> list[Property]:
    """The properties of each character of a text in a language.

    `own` are functions of the text that return a value for each character: bools, or numbers, NaN where it is unknown.
    Such a property has the name of the function, replacing one of that name, and the first line of its docstring as
    meaning. A property is left out if fewer than `least` characters differ from its most frequent value.
    """
    if language not in LANGUAGES:
        raise unknown("language", language, LANGUAGES)
    plain = text.replace("\r\n", "\n")
    kept = np.ones(len(text), bool)
    kept[[match.start() for match in re.finditer("\r\n", text)]] = False
    index = kept.cumsum() - kept  # of each character in `plain`; a \r has that of its newline
    made = {
        name: Property(name, meaning, values[index], known[index])
        for name, meaning, (values, known) in [*_everywhere(plain), *_of_language(plain, language)]
    }
    made |= {each.name: each for each in (_own(function, text) for function in own)}
    return [each for each in made.values() if _rare(each) >= least]


def _everywhere(text: str) -> list[tuple[str, str, Truth]]:
    return [(function.__name__, function.__doc__ or "", function(text)) for function in EVERYWHERE]


def _of_language(text: str, language: str) -> list[tuple[str, str, Truth]]:
    read, kinds = LANGUAGES[language]
    found, made = read(text), list[tuple[str, str, Truth]]()
    for kind in kinds:
        depth, known = found.depth(kind), found.known(kind)
        made.append((kind, INSIDE[kind], (depth > 0, known)))
        if kind in DEPTHS:
            made.append((*DEPTHS[kind], (depth.astype(np.float32), known)))
    return made


def _rare(each: Property) -> int:
    """The number of characters that differ from the most frequent value."""
    counts = np.unique(each.values[each.known], return_counts=True)[1]
    return int(counts.sum() - counts.max(initial=0))


def function_name(function: Callable[[str], Any]) -> str:
    """The name of a property of the user's own, from its function."""
    return getattr(function, "__name__", type(function).__name__)


def _own(function: Callable[[str], Any], text: str) -> Property:
    name = function_name(function)
    try:
        given = function(text)
    except Exception as error:
        message = " ".join(str(error).split())
        raise UserError(f"the property {name} failed: {type(error).__name__}{message and f': {message}'}") from error
    right = "a property returns one bool or number for each character"
    try:
        values = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # nested lists, or a tensor on another device
        values = np.array(None)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        array = values.ndim and f"an array {values.shape} of {values.dtype}"
        raise UserError(
            f"the property {name} returned {array or f'a {type(given).__name__}'}: {right}, here {len(text)}"
        )
    if len(values) != len(text):
        raise UserError(f"the property {name} returned {len(values)} values for {len(text)} characters: {right}")
    meaning = (function.__doc__ or "").strip().split("\n")[0].strip() or name
    if values.dtype == bool:
        return Property(name, meaning, values, np.ones(len(text), bool))
    known = ~np.isnan(values)
    with np.errstate(over="ignore"):
        return Property(name, meaning, np.where(known, values, 0).astype(np.float32), known)
