"""What the units have learned: the best one for each property of the text, painted over it."""

import html

import numpy as np

from elman.inspect import painting
from elman.inspect.activations import Activations
from elman.inspect.panel import Panel, table
from elman.inspect.properties import named, properties
from elman.inspect.units import Found, find, names

PAINTED, SHORT = 900, 330  # characters of each painted text; of those in the picture of the best
BEST = 5  # units in that picture
LASTING = 8  # characters that a property holds for, on average, if it is to be remembered and not only read


def scores(here: Activations) -> tuple[list[Found], list[Found]]:
    """The best units for each property, in the trained and in the untrained network."""
    truths = properties(here.text, here.language, here.look.own)
    trained = {place: here.by_character(values) for place, values in here.states.items()}
    found = find(trained, truths, here.look.seed)
    for name in sorted({named(function) for function in here.look.own} - {each.property.name for each in found}):
        here.look.log(f"the property {name} is not scored: it is nowhere known, or nearly always the same")
    return found, find(here.untrained(), [each.property for each in found], here.look.seed)


def units_panel(here: Activations, found: list[Found], fresh: list[Found]) -> Panel:
    """The table of properties, and the best units painted over text."""
    paired = sorted(zip(found, fresh, strict=True), key=lambda pair: -_above_chance(pair[0]))
    rows = [[each.property.meaning, each.unit + " (low)" * (each.sign < 0), each.score, before.score,
             each.shuffled, each.probe, before.probe] for each, before in paired]  # fmt: skip
    head = ["property", "best unit", "score", "untrained", "moved labels", "probe", "probe, untrained"]
    body, pictures = table(head, rows), {}
    if not here.look.quiet:
        best = [each for each, _ in paired if lasting(each)][:BEST]
        short = [(_title(each), *over(here, each.unit, excerpt(here, each, SHORT))[:2]) for each in best]
        pictures["units"] = painting.picture(short)
        for each, _ in paired:
            text, shades, values = over(here, each.unit, excerpt(here, each, PAINTED))
            body += f"<h3>{html.escape(_title(each))}</h3>" + painting.page(text, shades, values)
            pictures[f"unit-{each.property.name}"] = painting.picture([(_title(each), text, shades)])
    figures = {
        each.property.name: {
            "meaning": each.property.meaning, "kind": _kind(each), "unit": each.unit, "sign": each.sign,
            "score": each.score, "untrained": before.score, "shuffled": each.shuffled, "probe": each.probe,
            "probe_untrained": before.probe, "all": np.round(each.all, 3),
        }
        for each, before in paired
    }  # fmt: skip
    says = (
        f"Every unit of {', '.join(here.states)} scored against what is true of the text ({here.language}): by area "
        "under the curve (yes or no) or rank correlation (numbers). A unit is chosen on one half of "
        f"{len(here.text):,} held-out characters and scored on the other. Chance is what the best unit of the "
        "untrained network reaches, and the best for labels moved along the text; a probe may use all units at once."
    )
    return Panel("units", "What the units have learned", says, {"units": names(here.states), "properties": figures},
                 pictures, body)  # fmt: skip


def _above_chance(found: Found) -> float:
    return 2 * found.score - 1 if found.property.binary else found.score


def _kind(found: Found) -> str:
    return "area" if found.property.binary else "correlation"


def _title(found: Found) -> str:
    return f"{found.property.meaning}: unit {found.unit}, {_kind(found)} {found.score:.2f}"


def excerpt(here: Activations, found: Found, size: int) -> slice:
    """A piece of the second half of the text, in which the property changes most."""
    truth = found.property.values.astype(np.float32)
    size = min(size, len(truth) // 2)
    starts = np.arange(len(truth) // 2, len(truth) - size + 1, max(1, size // 3))
    spread = [truth[start : start + size].std() * _known(found, int(start), size) for start in starts]
    begin = int(starts[int(np.argmax(spread))])
    begin = here.text.rfind("\n", max(0, begin - 200), begin) + 1 or begin  # of a line, where one begins near
    return slice(begin, begin + size)


def over(here: Activations, unit: str, part: slice) -> tuple[str, np.ndarray, list[str]]:
    """A piece of the text, a unit's shade at each character, and its value in words."""
    values, gate = here.unit(unit), unit.rpartition(".")[0] in here.gates
    return here.text[part], painting.scaled(values, gate)[part], [f"{value:.2f}" for value in values[part]]


def _known(found: Found, start: int, size: int) -> float:
    """The share of a piece in which the property is known."""
    return float(found.property.known[start : start + size].mean())


def lasting(found: Found) -> bool:
    """Whether a property holds for stretches, so that it takes a memory to know it: not only what was just read."""
    if not found.property.binary:
        return True
    holds = found.property.values & found.property.known
    return holds.sum() >= LASTING * max(1, int((np.diff(holds.astype(np.int8)) == 1).sum()))


def unit_panel(here: Activations, unit: str) -> Panel:
    """One unit over the beginning of the text."""
    text, shades, values = over(here, unit, slice(3 * PAINTED))
    place, _, number = unit.rpartition(".")
    name, says = f"unit-{unit}", f"Unit {number} of {place} over the text: blue low, red high."
    picture = painting.picture([(f"unit {unit}", text, shades)])
    figures = {"unit": unit, "values": here.unit(unit)[: len(text)]}
    return Panel(name, f"Unit {unit}", says, figures, {name: picture}, painting.page(text, shades, values))
