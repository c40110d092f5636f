"""Phrases that describe objects by size, colour and shape, or some of these."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from elman.data.scenes.scene import COLOURS, HELD_OUT_PAIRS, SHAPES, SIZES, Thing

NUMBERS = ("no", "one", "two", "three", "four", "five")
Form = tuple[bool, bool, bool]  # whether there is a word for size, colour, shape
OPTIONAL = (False, True)
FORMS: tuple[Form, ...] = tuple(form for form in product(OPTIONAL, OPTIONAL, OPTIONAL) if any(form))


class Phrase(NamedTuple):
    """Words for size, colour and shape; empty where one is not mentioned."""

    size: str
    colour: str
    shape: str

    def describes(self, thing: Thing) -> bool:
        """Whether an object has these attributes."""
        size, colour, shape = self
        return size in ("", thing.size) and colour in ("", thing.colour) and shape in ("", thing.shape)

    def among(self, things: Iterable[Thing]) -> list[Thing]:
        """The objects that it describes."""
        return [thing for thing in things if self.describes(thing)]

    def is_held_out(self) -> bool:
        """Whether it names a pair of colour and shape that is held out from training."""
        return (self.colour, self.shape) in HELD_OUT_PAIRS

    def one(self) -> str:
        """`small red circle`."""
        return " ".join(filter(None, (self.size, self.colour, self.shape or "object")))

    def many(self) -> str:
        """`small red circles`."""
        return self.one() + "s"

    def counted(self, number: int) -> str:
        """`an orange star`, `two orange stars`."""
        if number > 1:
            return f"{NUMBERS[number]} {self.many()}"
        words = self.one()
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def describe(thing: Thing, form: Form) -> Phrase:
    """The phrase of this form for an object."""
    size, colour, shape = form
    return Phrase(thing.size if size else "", thing.colour if colour else "", thing.shape if shape else "")


def phrases(form: Form) -> list[Phrase]:
    """All phrases of a form."""
    words = (SIZES, COLOURS, SHAPES)
    return [Phrase(*some) for some in product(*(w if used else ("",) for w, used in zip(words, form, strict=True)))]


def symmetric_groups(held_out: bool) -> list[list[Phrase]]:
    """The phrases that name a held-out pair, or all others, in groups. Exchanging the words of two phrases of a group
    in all scenes does not change the probability of any scene: so an answer is independent of which phrase of a group a
    question is about."""
    partial = {colour for colour, _ in HELD_OUT_PAIRS}
    groups = dict[tuple[Form, bool], list[Phrase]]()
    for form in FORMS:
        for phrase in phrases(form):
            if phrase.is_held_out() == held_out:
                groups.setdefault((form, phrase.colour in partial), []).append(phrase)
    return list(groups.values())


def unique_phrases(things: Sequence[Thing], forms: Iterable[Form] = FORMS) -> dict[Thing, list[Phrase]]:
    """The phrases that describe one object and no other, by object; objects without any are left out."""
    found = dict[Thing, list[Phrase]]()
    for form in forms:
        names = [describe(thing, form) for thing in things]
        for thing, name in zip(things, names, strict=True):
            if names.count(name) == 1:
                found.setdefault(thing, []).append(name)
    return found
