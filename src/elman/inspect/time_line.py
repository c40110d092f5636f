"""Spans of labels over time, as a figure."""

from typing import Any

from matplotlib.figure import Figure

from elman.inspect.blocks import TimeLine
from elman.inspect.chart import COLOURS, axes, literal, styled
from elman.inspect.display import shortened

HEIGHT, MARGIN = 0.42, 1.0  # inches of a lane, and of all else
HATCHES = ("", "///", "...", "xxx")  # of labels whose colour is that of another
LETTER = 0.011  # of the width of the figure, that a letter takes


@styled
def figure(block: TimeLine) -> Figure:
    """A bar for each span, its label inside where there is room."""
    drawn, axis = axes(10.0, MARGIN + HEIGHT * len(block.lanes))
    styles = {label: {"color": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number // len(COLOURS) % len(HATCHES)]}
              for number, label in enumerate(block.labels)}  # fmt: skip
    unnamed = dict[str, Any]()  # labels of spans without room for them
    for row, (_, spans) in enumerate(block.lanes):
        for start, stop, label in spans:
            bar = axis.barh(
                row, stop - start, 0.8, left=start, alpha=0.8, edgecolor="white", linewidth=0.5, **styles[label]
            )
            name = shortened(label, 24)
            if (stop - start) / block.end > LETTER * len(name):
                axis.text((start + stop) / 2, row, literal(name), ha="center", va="center", fontsize=8, clip_on=True)
            else:
                unnamed[literal(name)] = bar
    if unnamed:
        axis.legend(unnamed.values(), unnamed, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    axis.set_yticks(range(len(block.lanes)), [literal(name) for name, _ in block.lanes])
    axis.set(xlim=(0, block.end), ylim=(len(block.lanes) - 0.5, -0.5), xlabel="seconds")
    axis.grid(False, axis="y")
    axis.set_title(literal(": ".join(filter(None, (shortened(block.title, 60), shortened(block.caption, 80))))))
    return drawn
