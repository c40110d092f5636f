"""Lines of text: alone, or each behind its label."""

from elman.data.content import Content
from elman.data.formats.format import Form, How, Rows, file_row

PREFIX = "__label__"  # of fastText
MOST_LABELS, LEAST_ROWS = 50, 5  # what is a label: so many different ones, each on so many lines on average


def _labelled(content: Content, how: How) -> Rows:
    labels, texts, numbers = list[str](), list[str](), list[int]()
    for number, line in how.lines(content):
        label, *rest = line.split(maxsplit=1)
        text = "".join(rest).rstrip()
        if label.startswith(PREFIX) and text.startswith(PREFIX):
            how.bad(file_row(content, number), "has more than one label")
            continue
        labels.append(label.removeprefix(PREFIX))
        texts.append(text)
        numbers.append(number)
    return Rows({"label": labels, "text": texts}, numbers)


def _lines(content: Content, how: How) -> Rows:
    lines = how.lines(content)
    return Rows({"text": [line.strip() for _, line in lines]}, [number for number, _ in lines])


def _labels(lines: list[str]) -> bool:
    words = [line.split(maxsplit=1) for line in lines if line.strip()]
    labels = {first for first, *_ in words}
    if all(label.startswith(PREFIX) for label in labels):
        return True
    few = 1 < len(labels) <= MOST_LABELS and len(words) >= LEAST_ROWS * len(labels)
    return few and sum(len(parts) > 1 for parts in words) > len(words) / 2


LABELLED = Form("labelled", "lines that begin with their label", _labelled, (), _labels)
LINES = Form("lines", "lines of text", _lines, (), lambda _: True)
