"""What the units have learned: the best unit for each property of the text, painted over it."""

import numpy as np

from elman.inspect import painting
from elman.inspect.activations import Activations
from elman.inspect.blocks import Block, PaintedText, Sentence, Table
from elman.inspect.panel import Panel
from elman.inspect.properties import function_name, properties
from elman.inspect.units import Found, find, names

PAINTED, SHORT = 900, 330  # characters of each painted text; of those in the image of the best units
BEST = 5  # units of that image, and of the summary
LASTING = 8  # characters per span of a property, on average, that takes memory rather than the last input


def scores(here: Activations) -> tuple[list[Found], list[Found]]:
    """The best unit for each property, in the trained and in the untrained network."""
    truths = properties(here.text, here.language, here.options.properties)
    trained = {address: here.by_character(values) for address, values in here.states.items()}
    found = find(trained, truths, here.options.seed)
    own = {function_name(function) for function in here.options.properties}
    for name in sorted(own - {each.property.name for each in found}):
        here.options.log(f"the property {name} is not scored: it is known nowhere, or is nearly constant")
    return found, find(here.untrained(), [each.property for each in found], here.options.seed)


def units_panel(here: Activations, found: list[Found], untrained: list[Found]) -> Panel:
    """The table of properties, and the best units painted over the text."""
    pairs = sorted(zip(found, untrained, strict=True), key=lambda pair: -_normalised(pair[0]))
    rows = [[each.property.meaning, each.unit + " (low)" * (each.sign < 0), each.score, before.score,
             each.shuffled, each.probe, before.probe] for each, before in pairs]  # fmt: skip
    head = ["property", "best unit", "score", "untrained", "shifted labels", "probe", "probe, untrained"]
    blocks: list[Block] = [Sentence(_method(here)), Table(head, rows)]
    best = []
    if not here.options.no_text:
        best = [_painted(here, each, "units", SHORT) for each, _ in pairs if lasting(each)][:BEST]
        blocks += [_painted(here, each, f"unit-{each.property.name}", PAINTED) for each, _ in pairs]
    metrics = {
        each.property.name: {
            "meaning": each.property.meaning, "kind": _kind(each), "unit": each.unit, "sign": each.sign,
            "score": each.score, "untrained": before.score, "shuffled": each.shuffled, "probe": each.probe,
            "probe_untrained": before.probe, "all": np.round(each.all, 3),
        }
        for each, before in pairs
    }  # fmt: skip
    return Panel("units", "What the units have learned", _summary(pairs),
                 {"units": names(here.states), "properties": metrics}, blocks, best)  # fmt: skip


def _summary(pairs: list[tuple[Found, Found]]) -> str:
    """The best units in a sentence."""
    named = [f"{each.property.meaning} {each.unit} ({each.score:.2f}, untrained {before.score:.2f})"
             for each, before in pairs[:BEST]]  # fmt: skip
    if not named:
        return "No property of this text varies enough to be scored."
    return f"The best units, by AUC or rank correlation on held-out text: {'; '.join(named)}."


def _method(here: Activations) -> str:
    return (
        f"Each unit of {', '.join(here.states)} is scored against properties of the text ({here.language}): binary "
        "ones by the area under the ROC curve (AUC), numeric ones by rank correlation. A unit is chosen on the first "
        f"half of {len(here.text):,} characters and scored on the second. Baselines are the best unit of the untrained "
        "network, and the best for labels that are shifted along the text; the probe is a linear readout of all units. "
        "(low): the unit is low where the property holds."
    )


def _normalised(found: Found) -> float:
    """The score as 0 for an uninformed unit and 1 for a perfect one."""
    return 2 * found.score - 1 if found.property.binary else found.score


def _kind(found: Found) -> str:
    return "area" if found.property.binary else "correlation"


def _painted(here: Activations, found: Found, name: str, size: int) -> PaintedText:
    """The excerpt in which a property varies most, painted by its unit."""
    score = f"{'AUC' if found.property.binary else 'rank correlation'} {found.score:.2f}"
    title = f"{found.property.meaning}: unit {found.unit}, {score}"
    return painted(here, found.unit, excerpt(here, found, size), name, title)


def excerpt(here: Activations, found: Found, size: int) -> slice:
    """A piece of the second half of the text in which the property varies most."""
    truth = found.property.values.astype(np.float32)
    size = min(size, len(truth) // 2)
    starts = np.arange(len(truth) // 2, len(truth) - size + 1, max(1, size // 3))
    spread = [truth[start : start + size].std() * _known(found, int(start), size) for start in starts]
    begin = int(starts[int(np.argmax(spread))])
    begin = here.text.rfind("\n", max(0, begin - 200), begin) + 1 or begin  # of a line, where one begins near
    return slice(begin, begin + size)


def painted(here: Activations, unit: str, part: slice, name: str, title: str) -> PaintedText:
    """A piece of the text painted by the values of a unit."""
    values, gate = here.unit(unit), unit.rpartition(".")[0] in here.gates
    notes = [f"{value:.2f}" for value in values[part]]
    return PaintedText(name, title, here.text[part], painting.scaled(values, gate)[part], notes)


def _known(found: Found, start: int, size: int) -> float:
    """The fraction of a piece in which the property is known."""
    return float(found.property.known[start : start + size].mean())


def lasting(found: Found) -> bool:
    """Whether a property holds for spans, so that it takes memory and not only the last input to know it."""
    if not found.property.binary:
        return True
    holds = found.property.values & found.property.known
    return holds.sum() >= LASTING * max(1, int((np.diff(holds.astype(np.int8)) == 1).sum()))


def unit_panel(here: Activations, unit: str) -> Panel:
    """One unit over the beginning of the text."""
    address, _, number = unit.rpartition(".")
    name = f"unit-{unit}"
    block = painted(here, unit, slice(3 * PAINTED), name, f"unit {unit}")
    return Panel(name, f"Unit {unit}", f"Unit {number} of {address} over the text: blue low, red high.",
                 {"unit": unit, "values": here.unit(unit)[: len(block.text)]}, [block])  # fmt: skip
