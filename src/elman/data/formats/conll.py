"""Sentences with one word a line, annotated in further columns."""

from dataclasses import dataclass, field

from elman.data.content import Content
from elman.data.formats.format import Format, RawTable, ReadContext, register
from elman.errors import UserError

DOCUMENT = "-DOCSTART-"
MAX_MEAN = 200  # words of a sentence on average: with more, blank lines do not separate sentences
FORM, UPOS = 1, 3  # columns of CoNLL-U, https://universaldependencies.org/format.html


@dataclass
class Sentence:
    """The cells of its lines, the number of its first line, and the first problem, with its line."""

    number: int
    words: list[list[str]] = field(default_factory=list)
    problem: tuple[int, str] | None = None


def _read_conll(content: Content, context: ReadContext) -> RawTable:
    return _read(content, context, words=0, tags=-1)


def _read_conllu(content: Content, context: ReadContext) -> RawTable:
    return _read(content, context, words=FORM, tags=UPOS)


def _read(content: Content, context: ReadContext, words: int, tags: int) -> RawTable:
    lines = content.lines(context.encoding)
    width = _width(lines)
    if width <= max(words, tags):
        raise UserError(f"{content.name} has {width} columns: CoNLL-U has 10, with the words in the second")
    names = [str(index + 1) for index in range(width)]
    names[tags], names[words] = "tags", "words"
    good = list[Sentence]()
    sentences, comments = _sentences(lines, width, ranges=words == FORM)
    for sentence in sentences:
        if sentence.problem:
            line, problem = sentence.problem
            context.bad(f"{content.name} line {line}", problem)
        elif sentence.words:
            good.append(sentence)
    if comments:
        context.notes.append(f"{content.name}: {comments:,} lines are comments")
    columns = {name: [[cells[index] for cells in s.words] for s in good] for index, name in enumerate(names)}
    return RawTable(columns, [sentence.number for sentence in good])


def _sentences(lines: list[str], width: int, ranges: bool) -> tuple[list[Sentence], int]:
    """The sentences, and the number of comments. With `ranges`, the lines of a range of words (1-2) and of an empty
    word (1.1) are dropped. A line that starts with # is a word if it has as many columns as all, unless the # is a cell
    of its own at the start of a sentence."""
    tabs, comments = _has_tabs(lines), 0
    found, inside = list[Sentence](), False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            inside = False
            continue
        cells = _cells(line, tabs)
        if line.startswith("#") and (len(cells) != width or (cells[0] == "#" and not inside)):
            comments += 1
            continue
        if cells[0] == DOCUMENT:
            continue
        if not inside:
            found.append(Sentence(number))
            inside = True
        if len(cells) != width:
            found[-1].problem = found[-1].problem or (number, f"has {len(cells)} columns, not {width}")
        elif not (ranges and ("-" in cells[0] or "." in cells[0])):
            found[-1].words.append(cells)
    return found, comments


def _cells(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else line.split()


def _word_lines(lines: list[str]) -> list[str]:
    """The lines that are certainly words; all that are not blank when there are none."""
    full = [line for line in lines if line.strip() and not line.startswith(DOCUMENT)]
    return [line for line in full if not line.startswith("#")] or full


def _has_tabs(lines: list[str]) -> bool:
    return any("\t" in line for line in _word_lines(lines)[:1])


def _width(lines: list[str]) -> int:
    return len(_cells(next(iter(_word_lines(lines)), ""), _has_tabs(lines)))


def _matches(lines: list[str]) -> bool:
    """Whether all lines have as many columns, none with a space inside, and blank lines separate sentences."""
    width = _width(lines)
    if width < 2 or (_has_tabs(lines) and any(" " in line for line in _word_lines(lines))):
        return False
    sentences, _ = _sentences(lines, width, ranges=False)
    words = sum(len(sentence.words) for sentence in sentences)
    valid = not any(sentence.problem for sentence in sentences)
    return valid and 1 < len(sentences) < words <= MAX_MEAN * len(sentences)


CONLL = register(
    Format("conll", "sentences with one word a line", _read_conll, (".conll",), matches=_matches, priority=30)
)
CONLLU = register(Format("conllu", "sentences in CoNLL-U", _read_conllu, (".conllu",), priority=31))
