"""A panel: one thing that was looked at, as sentences, figures and pictures; and the report that panels make."""

import base64
import html
import io
import json
import math
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from elman.files import replace_folder, write
from elman.inspect.chart import png, svg
from elman.printable import printable

LazyImage = Figure | bytes  # a chart, or a PNG


@dataclass
class Panel:
    """What was looked at under a name. Shows itself in a notebook.

    - says: one or two sentences that log what is seen
    - figures: all numbers, for report.json
    - pictures: by name; charts stand in the page, and all are saved as PNG
    - body: HTML below the charts
    """

    name: str
    title: str
    says: str
    figures: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, LazyImage] = field(default_factory=dict)
    body: str = ""

    def section(self) -> str:
        """As a section of a page."""
        charts = "".join(
            f"<figure>{svg(picture)}</figure>" for picture in self.pictures.values() if isinstance(picture, Figure)
        )
        return (f'<section id="{self.name}"><h2>{html.escape(self.title)}</h2>'
                f"<p>{html.escape(self.says)}</p>{charts}{self.body}</section>")  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """Its pictures as PNG files."""
        return {f"{name}.png": made if isinstance(made, bytes) else png(made) for name, made in self.pictures.items()}

    def save(self, folder: Path) -> None:
        """Writes its pictures into a folder."""
        for name, content in self.files().items():
            write(folder / name, content)

    def _repr_html_(self) -> str:
        return page(self.title, self.section(), whole=False)


@dataclass
class Report:
    """Panels about one thing. Shows itself in a notebook."""

    title: str
    panels: list[Panel]

    def page(self) -> str:
        """One HTML file that needs no other."""
        links = "".join(f'<a href="#{panel.name}">{html.escape(panel.title)}</a>' for panel in self.panels)
        return page(self.title, f"<nav>{links}</nav>" + "".join(panel.section() for panel in self.panels))

    def figures(self) -> dict[str, Any]:
        """Every number, as JSON can hold it."""
        return {panel.name: plain({"title": panel.title, "says": panel.says} | panel.figures) for panel in self.panels}

    def save(self, folder: Path) -> Path:
        """Writes report.html, report.json and report/ with the pictures; returns the first."""
        pictures: dict[str, bytes] = {}
        for panel in self.panels:
            pictures |= panel.files()
        replace_folder(folder / "report", pictures)  # one before may have had others
        write(folder / "report.json", json.dumps(self.figures(), indent=1, ensure_ascii=False).encode())
        write(folder / "report.html", self.page().encode("utf-8", "replace"))
        return folder / "report.html"

    def _repr_html_(self) -> str:
        return page(self.title, "".join(panel.section() for panel in self.panels), whole=False)


def page(title: str, body: str, whole: bool = True) -> str:
    """HTML with its style and script: a whole page, or a part of another."""
    files = resources.files("elman.inspect")
    style, script = ((files / name).read_text("utf-8") for name in ("page.css", "page.js"))
    inner = f'<style>{style}</style><main class="elman">{body}</main><script>{script}</script>'
    if not whole:
        return inner
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,"></head>'
            f"<body><h1>{html.escape(title)}</h1>{inner}</body></html>")  # fmt: skip


def table(head: list[str], rows: list[list[Any]]) -> str:
    """An HTML table; numbers to the right. A cell may be a picture."""
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{"" if math.isnan(value) else f"{value:.3f}"}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    if isinstance(value, Image.Image):
        return f"<td>{thumbnail(value)}</td>"
    return f"<td>{escape(str(value))}</td>"


def thumbnail(image: Image.Image) -> str:
    """A picture as an element of a page, half as wide and high as it is, so that it is sharp."""
    out = io.BytesIO()
    image.save(out, "jpeg", quality=88)
    content = base64.b64encode(out.getvalue()).decode()
    return (f'<img src="data:image/jpeg;base64,{content}" alt="" width="{-(-image.width // 2)}" '
            f'height="{-(-image.height // 2)}">')  # fmt: skip


def escape(text: str) -> str:
    """Text for a page, with a sign for what no page may hold."""
    return html.escape(printable(text))


def plain(value: Any) -> Any:
    """Arrays as lists, numbers to six digits; what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
