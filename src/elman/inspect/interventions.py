"""Interventions: units held at one value while the model generates, and what that changes in the text."""

import math
from collections import Counter

import numpy as np

from elman.cells.tap import hold
from elman.inspect.activations import Activations
from elman.inspect.blocks import Block, Table, Verbatim
from elman.inspect.display import visible
from elman.inspect.learned import lasting
from elman.inspect.panel import Panel
from elman.inspect.properties import Property, properties
from elman.inspect.units import Found

LENGTH = 1500  # tokens generated with a unit held
UNITS = 3
CHARACTERS, DEVIATIONS = 4, 3.0  # listed; in standard deviations of a count
PRELUDE = {"python": "import os\n"}  # before generated text, so that a reader of the language knows where it is


def held_units(here: Activations, found: list[Found]) -> Panel | None:
    """The text that the model generates with its best units held low and high; None where there are none."""
    best = sorted((each for each in found if each.property.binary and lasting(each)), key=lambda each: -each.score)
    chosen = list({each.unit: each for each in best[::-1]}.values())[::-1][:UNITS]
    if not chosen:
        return None
    rows, metrics, texts = [], {}, list[Block]()
    free = here.model.sample("", LENGTH, seed=here.options.seed)
    for each in chosen:
        address, _, unit = each.unit.rpartition(".")
        low, high = map(float, np.quantile(here.states[address][:, int(unit)].astype(np.float32), (0.01, 0.99)))
        generated = {"free": free}
        for name, value in {"low": low, "high": high}.items():
            with hold({each.unit: value}):
                generated[name] = here.model.sample("", LENGTH, seed=here.options.seed)
            title = f"{each.unit} held {name}, at {value:.2f}: the generated text"
            texts.append(Verbatim(title, generated[name]))
        fractions = {name: _fraction(text, each.property, here) for name, text in generated.items()}
        changed = {name: _changed(generated[name], free) for name in ("low", "high")}
        usual = float(each.property.values[each.property.known].mean())
        rows.append([each.property.meaning, each.unit + " (low)" * (each.sign < 0), usual, *fractions.values(),
                     *map(", ".join, changed.values())])  # fmt: skip
        metrics[each.unit] = {"property": each.property.name, "low": low, "high": high, "fractions": fractions,
                              "changed": changed, "generated": generated}  # fmt: skip
    head = ["property", "unit", "fraction in the text", "generated freely", "held low", "held high",
            "changed when held low", "changed when held high"]  # fmt: skip
    summary = (
        f"The best units for lasting properties, held at one value while the model generates {LENGTH:,} tokens with "
        "the same seed: the fraction of characters for which the property holds, and the characters whose counts "
        "change most. (low): the unit is low where the property holds."
    )
    return Panel("hold", "Held units", summary, metrics, [Table(head, rows), *texts])


def _changed(generated: str, free: str) -> list[str]:
    """The characters whose count changes most in standard deviations: "'": 41 for 6."""
    now, before = Counter(generated), Counter(free)
    size = {char: abs(now[char] - before[char]) / math.sqrt(now[char] + before[char]) for char in now | before}
    most = sorted((char for char in size if size[char] > DEVIATIONS), key=lambda char: -size[char])[:CHARACTERS]
    return [f"{visible(char)} {now[char]} for {before[char]}" for char in most]


def _fraction(text: str, truth: Property, here: Activations) -> float:
    """The fraction of characters for which a property holds; NaN where it is not known."""
    begin = PRELUDE.get(here.language, "\n")
    for each in properties(begin + text, here.language, here.options.properties, least=0):
        if each.name == truth.name and each.known[len(begin) :].any():
            return float(each.values[len(begin) :][each.known[len(begin) :]].mean())
    return float("nan")
