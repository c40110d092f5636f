"""What a thing is called: a size, a colour and a shape, some of them left out."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from elman.data.scenes.scene import COLOURS, HELD_OUT_PAIRS, SHAPES, SIZES, Thing

NUMBERS = ("no", "one", "two", "three", "four", "five")
Form = tuple[bool, bool, bool]  # whether there is a word for size, colour, shape
SAID = (False, True)
FORMS: tuple[Form, ...] = tuple(form for form in product(SAID, SAID, SAID) if any(form))


class Phrase(NamedTuple):
    """Words for things; an empty one leaves open what it would say."""

    size: str
    colour: str
    shape: str

    def fits(self, thing: Thing) -> bool:
        size, colour, shape = self
        return size in ("", thing.size) and colour in ("", thing.colour) and shape in ("", thing.shape)

    def among(self, things: Iterable[Thing]) -> list[Thing]:
        """The things that it fits."""
        return [thing for thing in things if self.fits(thing)]

    def held_out(self) -> bool:
        """Whether it names a pair that is kept from training."""
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


def called(thing: Thing, form: Form) -> Phrase:
    """The words of this form for a thing."""
    size, colour, shape = form
    return Phrase(thing.size if size else "", thing.colour if colour else "", thing.shape if shape else "")


def phrases(form: Form) -> list[Phrase]:
    """All phrases of a form."""
    words = (SIZES, COLOURS, SHAPES)
    return [Phrase(*some) for some in product(*(w if said else ("",) for w, said in zip(words, form, strict=True)))]


def alike(held_out: bool) -> list[list[Phrase]]:
    """The phrases that name a pair which is kept from training, or all others, in groups. The words of two in a group
    can change places in all scenes without making any of these more or less likely: so what a scene decides is
    independent of which phrase of a group is asked about."""
    partial = {colour for colour, _ in HELD_OUT_PAIRS}
    groups = dict[tuple[Form, bool], list[Phrase]]()
    for form in FORMS:
        for phrase in phrases(form):
            if phrase.held_out() == held_out:
                groups.setdefault((form, phrase.colour in partial), []).append(phrase)
    return list(groups.values())


def own(things: Sequence[Thing], forms: Iterable[Form] = FORMS) -> dict[Thing, list[Phrase]]:
    """Of each thing what it, and no other among them, is called; without things for which there is nothing."""
    found = dict[Thing, list[Phrase]]()
    for form in forms:
        names = [called(thing, form) for thing in things]
        for thing, name in zip(things, names, strict=True):
            if names.count(name) == 1:
                found.setdefault(thing, []).append(name)
    return found
