"""Scenes by chance."""

from itertools import product

from elman.data.builtin.chance import Chance
from elman.data.scenes.phrase import FORMS, Phrase, phrases
from elman.data.scenes.scene import COLOURS, HELD_OUT_PAIRS, SHAPES, SIDE, SIZES, Scene, Thing

FEWEST, MOST = 2, 5
GAP = 2  # pixels that stay free between two boxes, and at the border one
TRIES = 20
LOOKS = [Thing(*look, 0, 0) for look in product(SIZES, COLOURS, SHAPES)]
SEEN = [look for look in LOOKS if look.pair not in HELD_OUT_PAIRS]


def topic(chance: Chance, held_out: bool) -> Phrase:
    """Some phrase that names a pair which is kept from training, or that does not."""
    while True:
        phrase = chance.one_of(_TOPICS[chance.below(len(_TOPICS))])
        if phrase.held_out() == held_out:
            return phrase


def about(chance: Chance, phrase: Phrase, number: int, held_out: bool) -> Scene:
    """A scene of 2 to 5 things, just so many of which the phrase fits. At least one, or none, is of a pair that is kept
    from training."""
    allowed = LOOKS if held_out else SEEN
    fitting, others = phrase.among(allowed), [look for look in allowed if not phrase.fits(look)]
    total = chance.between(max(FEWEST, number), MOST)
    while True:
        looks = [chance.one_of(fitting) for _ in range(number)]
        looks += [chance.one_of(others) for _ in range(total - number)]
        if not held_out or any(look.pair in HELD_OUT_PAIRS for look in looks):
            return placed(chance, looks)


def placed(chance: Chance, looks: list[Thing]) -> Scene:
    """The things where none covers another."""
    # the large ones first, as they find a place less easily; otherwise the order says nothing
    looks = sorted(chance.shuffled(looks), key=lambda look: -SIZES[look.size])
    while True:
        things = list[Thing]()
        for look in looks:
            place = _place(chance, things, SIZES[look.size])
            if place is None:
                break
            things.append(Thing(*look[:3], *place))
        else:
            return Scene(tuple(things))


def _place(chance: Chance, things: list[Thing], reach: int) -> tuple[int, int] | None:
    first, last = reach + 1, SIDE - reach - 1
    for _ in range(TRIES):
        x, y = chance.between(first, last), chance.between(first, last)
        for thing in things:
            apart = SIZES[thing.size] + reach + GAP
            if abs(x - thing.x) < apart and abs(y - thing.y) < apart:
                break
        else:
            return x, y
    return None


_TOPICS = [phrases(form) for form in FORMS]
