"""The language of a text: by the suffixes of its files, or by typical lines."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

SUFFIXES = {
    "python": "py pyi pyw",
    "c": "c h cc cpp cxx hpp hh hxx cu ino",
    "latex": "tex ltx sty cls",
    "markdown": "md markdown mdown",
}
LANGUAGE = {f".{suffix}": language for language, suffixes in SUFFIXES.items() for suffix in suffixes.split()}
FILES = 300  # of a folder that are examined
LENGTH = 50_000  # characters of a text that are examined
LEAST = 0.05  # fraction of lines that must be typical
TYPICAL = {
    "python": r"\s*(?:async )?def \w+\(|\s*class \w+\s*[(:]|\s*(?:el)?if .*:$|import [\w.]+$|from [\w.]+ import |@\w",
    "c": r"#\s*(?:include|define|undef|if|ifdef|ifndef|else|endif)\b|\s*/\*|\s+\*[ /]|.*\)\s*[;{]$|\s*\}|.*\w->\w",
    "latex": r".*\\(?:begin|end|label|ref|cite|section|item|documentclass|usepackage|emph|textbf)\b|.*(?<!\\)\$[^$]+\$",
    "markdown": r"#{2,6} \S|```|[-*] \S|\d+\. \S|.*\]\(\S+\)|.*`[^`]+`",
}


def guess(paths: Sequence[str], text: str) -> str:
    """The language of a text from these files and folders: the most frequent one by suffix, else (`.txt`, standard
    input) by the lines of the text; "text" for no known language."""
    languages = Counter(LANGUAGE.get(suffix) for path in paths for suffix in _suffixes(path))
    [(most, _)] = languages.most_common(1) or [(None, 0)]
    return most or _of_text(text)


def _suffixes(path: str) -> list[str]:
    found = _in_folder(path) if os.path.isdir(path) else [path]
    return [Path(name).suffix.lower() for name in islice(found, FILES)]


def _in_folder(folder: str) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from sorted(name for name in files if not name.startswith("."))


def _of_text(text: str) -> str:
    lines = [line[:500] for line in text[:LENGTH].splitlines() if line.strip()]
    counts = {language: sum(map(bool, map(re.compile(pattern).match, lines))) for language, pattern in TYPICAL.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] > LEAST * len(lines) else "text"
