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

INK = "#010203"  # in an SVG it becomes the colour of the text around it
COLOURS = ("#4c88c8", "#f08a24", "#4fa860", "#e0525a", "#a274c4", "#a07860", "#3fa9b5", "#d87fb0", "#8a8f3a", "#7d8590")
STYLE: Any = {
    "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlesize": 9, "axes.titlelocation": "left", "legend.frameon": False, "legend.fontsize": 8,
    "axes.prop_cycle": cycler(color=COLOURS), "lines.linewidth": 1.5, "axes.grid": True,
    "grid.color": "#80808040", "grid.linewidth": 0.6, "figure.constrained_layout.use": True,
    "svg.fonttype": "none", "svg.hashsalt": "elman",
}  # fmt: skip


styled = matplotlib.rc_context(STYLE)  # a decorator of functions that draw


@styled
def axes(
    width: float = 10.0, height: float = 3.4, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure (inches) and its axes: one, or an array (rows, columns) of them."""
    figure = Figure(figsize=(width, height))
    made = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, made if rows * columns > 1 else made[0, 0]


@contextmanager
def _boxes() -> Iterator[None]:
    """Suppresses the warning for a character without a font, which is drawn as a box: see `painting.log_uncovered`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


@styled
@_boxes()
def svg(figure: Figure) -> str:
    """A figure as an element of a page, in the text colour of the page."""
    out = io.StringIO()
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
    figure.savefig(out, format="png", dpi=130, facecolor="white")
    return out.getvalue()


def literal(text: str) -> str:
    """Text for a chart, escaped so that matplotlib reads no mathematics in it."""
    return text.replace("$", r"\$")


def thin(values: np.ndarray, most: int = 800) -> np.ndarray:
    """Indices of at most so many values, evenly spread, the last among them."""
    return np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))
