"""Properties of the characters of any text: lines, words, letters.

Each is a function of the text that returns the values and where they are known; its docstring is the meaning. A text
may have been cut out of another, so that its first line, its first word and its end are not known.
"""

import re
from collections.abc import Callable

import numpy as np

NEAR = 5
WORD = re.compile(r"\w+")
URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>\"'`{}|\\^]+")

Truth = tuple[np.ndarray, np.ndarray]


def upper(text: str) -> Truth:
    """an upper case letter"""
    return _each(text, str.isupper)


def digit(text: str) -> Truth:
    """a digit"""
    return _each(text, str.isdigit)


def line_start(text: str) -> Truth:
    """the first character of a line"""
    # not known of the first character, even where it is a newline
    return np.append(False, _newlines(text))[: len(text)], _lines(text)[1] & (np.arange(len(text)) > 0)


def near_line_end(text: str) -> Truth:
    """a newline within the next five characters"""
    indices, never = np.arange(len(text)), len(text) + NEAR
    ends = np.where(_newlines(text), indices, never)
    following = np.append(np.minimum.accumulate(ends[::-1])[::-1], never)[1:]
    near = following - indices <= NEAR
    return near, near | (indices + NEAR < len(text))


def line_position(text: str) -> Truth:
    """characters of the line so far"""
    return _lines(text)


def indentation(text: str) -> Truth:
    """indentation of the line"""
    values, start = np.zeros(len(text), np.float32), 0
    for line in text.split("\n"):
        column, end = 0, start + len(line) + 1
        for char in line:
            if char not in " \t":
                break
            column += 1 if char == " " else 8 - column % 8
            values[start] = column
            start += 1
        values[start:end] = column
        start = end
    return values, np.append(False, _lines(text)[1])[: len(text)]


def word_position(text: str) -> Truth:
    """letters of the word so far"""
    values = np.zeros(len(text), np.float32)
    for match in WORD.finditer(text):
        values[match.start() : match.end()] = np.arange(1, match.end() - match.start() + 1)
    return values, _after_first_word(text)


def url(text: str) -> Truth:
    """inside a URL"""
    values = np.zeros(len(text), bool)
    for match in URL.finditer(text):
        values[match.start() : match.end()] = True
    return values, _after_first_word(text)


EVERYWHERE: tuple[Callable[[str], Truth], ...] = (
    upper, digit, url, line_start, near_line_end, line_position, indentation, word_position,
)  # fmt: skip


def _each(text: str, holds: Callable[[str], bool]) -> Truth:
    return np.fromiter(map(holds, text), bool, len(text)), np.ones(len(text), bool)


def _newlines(text: str) -> np.ndarray:
    return np.fromiter((char == "\n" for char in text), bool, len(text))


def _lines(text: str) -> Truth:
    """Characters of the line so far, 0 at its end; known from the first end on."""
    indices = np.arange(len(text))
    last = np.maximum.accumulate(np.where(_newlines(text), indices, -1))
    return (indices - last).astype(np.float32), last >= 0


def _after_first_word(text: str) -> np.ndarray:
    first = re.match(r"\S*", text)
    return np.arange(len(text)) >= (first.end() if first else 0)
