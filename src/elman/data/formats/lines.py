"""Lines of text, alone or each after its label."""

from elman.data.content import Content
from elman.data.formats.format import Format, RawTable, ReadContext, file_row, register

PREFIX = "__label__"  # of fastText
MAX_LABELS, MIN_ROWS = 50, 5  # of labels: so many distinct ones, each on so many lines on average


def _read_labelled(content: Content, context: ReadContext) -> RawTable:
    labels, texts, numbers = list[str](), list[str](), list[int]()
    for number, line in context.lines(content):
        label, *rest = line.split(maxsplit=1)
        text = "".join(rest).rstrip()
        if label.startswith(PREFIX) and text.startswith(PREFIX):
            context.bad(file_row(content, number), "has more than one label")
            continue
        labels.append(label.removeprefix(PREFIX))
        texts.append(text)
        numbers.append(number)
    return RawTable({"label": labels, "text": texts}, numbers)


def _read_lines(content: Content, context: ReadContext) -> RawTable:
    lines = context.lines(content)
    return RawTable({"text": [line.strip() for _, line in lines]}, [number for number, _ in lines])


def _are_labelled(lines: list[str]) -> bool:
    words = [line.split(maxsplit=1) for line in lines if line.strip()]
    labels = {first for first, *_ in words}
    if all(label.startswith(PREFIX) for label in labels):
        return True
    few = 1 < len(labels) <= MAX_LABELS and len(words) >= MIN_ROWS * len(labels)
    return few and sum(len(parts) > 1 for parts in words) > len(words) / 2


LABELLED = register(
    Format("labelled", "lines that start with their label", _read_labelled, matches=_are_labelled, priority=50)
)
LINES = register(Format("lines", "lines of text", _read_lines, matches=lambda _: True, priority=100))
