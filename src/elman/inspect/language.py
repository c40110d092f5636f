"""In what language a text is: by the names of its files, or by lines that log."""

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
FILES = 300  # looked at in a folder
LENGTH = 50_000  # of the text that is looked at
SHARE = 0.05  # of lines that must log
TELLTALES = {
    "python": r"\s*(?:async )?def \w+\(|\s*class \w+\s*[(:]|\s*(?:el)?if .*:$|import [\w.]+$|from [\w.]+ import |@\w",
    "c": r"#\s*(?:include|define|undef|if|ifdef|ifndef|else|endif)\b|\s*/\*|\s+\*[ /]|.*\)\s*[;{]$|\s*\}|.*\w->\w",
    "latex": r".*\\(?:begin|end|label|ref|cite|section|item|documentclass|usepackage|emph|textbf)\b|.*(?<!\\)\$[^$]+\$",
    "markdown": r"#{2,6} \S|```|[-*] \S|\d+\. \S|.*\]\(\S+\)|.*`[^`]+`",
}


def guess(paths: Sequence[str], text: str) -> str:
    """The language of a text from these files and folders: that of the most of them, by suffix. Where that says nothing
    (`.txt`, standard input) the text itself says it; a text in no known language is "text"."""
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
    counts = {language: sum(map(bool, map(re.compile(tells).match, lines))) for language, tells in TELLTALES.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] > SHARE * len(lines) else "text"
