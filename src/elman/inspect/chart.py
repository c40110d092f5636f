"""Charts: drawings by matplotlib in one style, as SVG in the colours of its page, and as PNG."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

INK = "#010203"  # in an SVG it becomes the colour of the text around it
COLOURS = ("#4c88c8", "#f08a24", "#4fa860", "#e0525a", "#a274c4", "#a07860", "#3fa9b5", "#d87fb0", "#8a8f3a", "#7d8590")
STYLE: Any = {
    "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlesize": 9, "axes.titlelocation": "left", "legend.frameon": False, "legend.fontsize": 8,
    "axes.prop_cycle": cycler(color=COLOURS), "lines.linewidth": 1.5, "axes.grid": True,
    "grid.color": "#80808040", "grid.linewidth": 0.6,
    "svg.fonttype": "none", "svg.hashsalt": "elman",
}  # fmt: skip


styled = matplotlib.rc_context(STYLE)  # a decorator of functions that draw


@styled
def axes(
    width: float = 10.0, height: float = 3.4, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure (inches) and its axes: one, or an array (rows, columns) of them."""
    figure = Figure(figsize=(width, height), layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, made if rows * columns > 1 else made[0, 0]


class PlainNumbers(LogFormatter):
    """Labels of a logarithmic axis as 1e-05: powers of ten would be typeset, which takes as long as the drawing."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:.4g}" if super().__call__(x, pos) else ""


def label_plainly(axis: Any) -> None:
    """Labels a logarithmic axis with plain numbers."""
    axis.set_major_formatter(PlainNumbers())
    axis.set_minor_formatter(PlainNumbers())


@contextmanager
def _boxes() -> Iterator[None]:
    """Suppresses the warning for a character without a font, which is drawn as a box: see `painting.log_uncovered`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def _lay_out(figure: Figure) -> None:
    """Once for all files: matplotlib would for each, and would draw it once more to do so."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)


@styled
@_boxes()
def svg(figure: Figure) -> str:
    """A figure as an element of a page, in the text colour of the page."""
    out = io.StringIO()
    _lay_out(figure)
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # as wide as drawn, or as the page; screen readers have the summary of the panel
    return re.sub(r'<svg ([^>]*?)height="[^"]*"', r'<svg \1 aria-hidden="true"', text, count=1)


@styled
@_boxes()
def png(figure: Figure) -> bytes:
    """A figure as an image, black on white."""
    out = io.BytesIO()
    _lay_out(figure)
    figure.savefig(out, format="png", dpi=130, facecolor="white")
    return out.getvalue()


def literal(text: str) -> str:
    """Text for a chart, escaped so that matplotlib reads no mathematics in it."""
    return text.replace("$", r"\$")


def thin(values: np.ndarray, most: int = 800) -> np.ndarray:
    """Indices of at most so many values, evenly spread, the last among them."""
    return np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))
