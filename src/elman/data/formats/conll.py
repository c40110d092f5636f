"""Sentences with a word a line, and something said of it in further columns."""

from dataclasses import dataclass, field

from elman.data.content import Content
from elman.data.formats.format import Form, How, Rows
from elman.errors import UserError

DOCUMENT = "-DOCSTART-"
LONGEST = 200  # words a sentence on average: with more, the blank lines of a file part no sentences
FORM, UPOS = 1, 3  # places of CoNLL-U's columns, https://universaldependencies.org/format.html


@dataclass
class Sentence:
    """Its lines as cells, the number of its first line, and what is wrong with it."""

    number: int
    words: list[list[str]] = field(default_factory=list)
    problem: tuple[int, str] | None = None


def _conll(content: Content, how: How) -> Rows:
    return _read(content, how, words=0, tags=-1)


def _conllu(content: Content, how: How) -> Rows:
    return _read(content, how, words=FORM, tags=UPOS)


def _read(content: Content, how: How, words: int, tags: int) -> Rows:
    lines = content.lines(how.encoding)
    width = _width(lines)
    if width <= max(words, tags):
        raise UserError(f"{content.name} has {width} columns: CoNLL-U has 10, with the words in the second")
    names = [str(place + 1) for place in range(width)]
    names[tags], names[words] = "tags", "words"
    good = list[Sentence]()
    sentences, comments = _sentences(lines, width, ranges=words == FORM)
    for sentence in sentences:
        if sentence.problem:
            line, problem = sentence.problem
            how.bad(f"{content.name} line {line}", problem)
        elif sentence.words:
            good.append(sentence)
    if comments:
        how.notes.append(f"{content.name}: {comments:,} lines are comments")
    columns = {name: [[cells[place] for cells in s.words] for s in good] for place, name in enumerate(names)}
    return Rows(columns, [sentence.number for sentence in good])


def _sentences(lines: list[str], width: int, ranges: bool) -> tuple[list[Sentence], int]:
    """The sentences, and how many lines are comments. With `ranges` the lines of a range of words (1-2) and of a word
    that is not there (1.1) are dropped. A line that begins with # is a word if it has as many columns as all, unless
    the # stands alone and no sentence has begun."""
    tabs, comments = _tabs(lines), 0
    found, open_ = list[Sentence](), False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            open_ = False
            continue
        cells = _cells(line, tabs)
        if line.startswith("#") and (len(cells) != width or (cells[0] == "#" and not open_)):
            comments += 1
            continue
        if cells[0] == DOCUMENT:
            continue
        if not open_:
            found.append(Sentence(number))
            open_ = True
        if len(cells) != width:
            found[-1].problem = found[-1].problem or (number, f"has {len(cells)} columns, not {width}")
        elif not (ranges and ("-" in cells[0] or "." in cells[0])):
            found[-1].words.append(cells)
    return found, comments


def _cells(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else line.split()


def _plain(lines: list[str]) -> list[str]:
    """The lines that are surely words; all that are not blank when there are none such."""
    full = [line for line in lines if line.strip() and not line.startswith(DOCUMENT)]
    return [line for line in full if not line.startswith("#")] or full


def _tabs(lines: list[str]) -> bool:
    return any("\t" in line for line in _plain(lines)[:1])


def _width(lines: list[str]) -> int:
    return len(_cells(next(iter(_plain(lines)), ""), _tabs(lines)))


def _parted(lines: list[str]) -> bool:
    """Whether all lines have as many columns, none with a space inside, and blank lines part them into sentences."""
    width = _width(lines)
    if width < 2 or (_tabs(lines) and any(" " in line for line in _plain(lines))):
        return False
    sentences, _ = _sentences(lines, width, ranges=False)
    words = sum(len(sentence.words) for sentence in sentences)
    whole = not any(sentence.problem for sentence in sentences)
    return whole and 1 < len(sentences) < words <= LONGEST * len(sentences)


CONLL = Form("conll", "sentences with a word a line", _conll, (".conll",), _parted)
CONLLU = Form("conllu", "sentences in CoNLL-U", _conllu, (".conllu",))
