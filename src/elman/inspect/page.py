"""Reports as HTML, by the templates in `templates/`: a page that needs no other file, or a fragment for a notebook."""

import base64
import io
import json
import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from elman.inspect import attention_strip, chart, time_line
from elman.inspect.display import shortened
from elman.inspect.panel import Panel
from elman.printable import printable


def page(title: str, panels: Sequence[Panel]) -> str:
    """A whole page."""
    return _render("page.html.j2", title, panels)


def fragment(title: str, panels: Sequence[Panel]) -> str:
    """The panels alone, with their style and script, for another page."""
    return _render("report.html.j2", title, panels)


def _render(template: str, title: str, panels: Sequence[Panel]) -> str:
    files = resources.files("elman.inspect") / "templates"
    style, script = (Markup((files / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    return _environment().get_template(template).render(title=title, panels=panels, style=style, script=script)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("elman.inspect"), autoescape=True, undefined=StrictUndefined, finalize=_clean,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "svg": _svg,
        "jpeg": _jpeg,
        "packed": _packed,
        "json": _json,
        "shortened": shortened,
        "time_line": time_line.figure,
    }
    made.tests |= {"image": lambda value: isinstance(value, Image.Image), "nan": math.isnan}
    made.globals |= {"lit": attention_strip.lit}
    return made


def _clean(value: Any) -> Any:
    """Text without control characters; markup as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _svg(figure: Any) -> Markup:
    return Markup(chart.svg(figure))


def _jpeg(image: Image.Image) -> str:
    """The address of an image that is part of the page."""
    out = io.BytesIO()
    image.save(out, "jpeg", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def _packed(values: np.ndarray) -> str:
    """Values from -1 to 1 as signed bytes of hundredths."""
    return base64.b64encode(np.round(np.asarray(values) * 100).astype(np.int8).tobytes()).decode()


def _json(notes: Sequence[str]) -> Markup:
    """Texts as JSON within single quotes."""
    text = json.dumps([printable(note) for note in notes], ensure_ascii=False)
    return Markup(text.replace("&", "&amp;").replace("'", "&#39;"))
