"""Units held at one value while the model writes: does what it writes obey?"""

import html
import math
from collections import Counter

import numpy as np

from elman.cells.tap import hold
from elman.inspect.activations import Activations
from elman.inspect.expectation import escaped, visible
from elman.inspect.learned import lasting
from elman.inspect.panel import Panel, table
from elman.inspect.properties import Property, properties
from elman.inspect.units import Found

HELD = 1500  # characters written with a unit held
HELD_UNITS = 3
CHANGED, SURE = 4, 3.0  # characters that are named; of standard deviations that a number of them differs by
PRELUDE = {"python": "import os\n"}  # before what a model writes, so that it is known where it begins


def hold_panel(here: Activations, found: list[Found]) -> Panel | None:
    """What the model writes with its best units held low and high: does it obey?"""
    best = sorted((each for each in found if each.property.binary and lasting(each)), key=lambda each: -each.score)
    chosen = list({each.unit: each for each in best[::-1]}.values())[::-1][:HELD_UNITS]
    if not chosen:
        return None
    rows, figures, body = [], {}, ""
    free = here.model.sample("", HELD, seed=here.look.seed)
    for each in chosen:
        place, _, unit = each.unit.rpartition(".")
        low, high = map(float, np.quantile(here.states[place][:, int(unit)].astype(np.float32), (0.01, 0.99)))
        written = {"free": free}
        for name, value in {"low": low, "high": high}.items():
            with hold({each.unit: value}):
                written[name] = here.model.sample("", HELD, seed=here.look.seed)
        shares = {name: _share(text, each.property, here) for name, text in written.items()}
        changed = {name: _changed(written[name], free) for name in ("low", "high")}
        usual = float(each.property.values[each.property.known].mean())
        rows.append([each.property.meaning, each.unit + " (low)" * (each.sign < 0), usual, *shares.values(),
                     *map(", ".join, changed.values())])  # fmt: skip
        figures[each.unit] = {"property": each.property.name, "low": low, "high": high, "shares": shares,
                              "changed": changed, "written": written}  # fmt: skip
        for name, value in (("low", low), ("high", high)):
            head = html.escape(f"{each.unit} held {name}, at {value:.2f}: what it writes")
            body += f"<details><summary>{head}</summary>{escaped([written[name]])}</details>"
    head = ["property", "unit", "share in the text", "written free", "held low", "held high",
            "changed when held low", "changed when held high"]  # fmt: skip
    says = (
        f"The best units for what lasts, held at one value while the model writes {HELD:,} tokens by the same seed: "
        "the share of the characters of which the property then holds, where that can be told, and the characters of "
        "which it writes more or fewer than when it is free. (low): the unit is low where the property holds."
    )
    return Panel("hold", "Held units", says, figures, {}, table(head, rows) + body)


def _changed(written: str, free: str) -> list[str]:
    """The characters whose number differs most for its size: "'": 41 for 6."""
    now, before = Counter(written), Counter(free)
    size = {char: abs(now[char] - before[char]) / math.sqrt(now[char] + before[char]) for char in now | before}
    most = sorted((char for char in size if size[char] > SURE), key=lambda char: -size[char])[:CHANGED]
    return [f"{visible(char)} {now[char]} for {before[char]}" for char in most]


def _share(text: str, truth: Property, here: Activations) -> float:
    """Of the characters of which a property holds; NaN where it cannot be known."""
    begin = PRELUDE.get(here.language, "\n")
    for each in properties(begin + text, here.language, here.look.own, least=0):
        if each.name == truth.name and each.known[len(begin) :].any():
            return float(each.values[len(begin) :][each.known[len(begin) :]].mean())
    return float("nan")
