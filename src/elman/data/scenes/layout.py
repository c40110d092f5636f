"""Random scenes."""

from itertools import product

from elman.data.rng import Rng
from elman.data.scenes.phrase import FORMS, Phrase, phrases
from elman.data.scenes.scene import COLOURS, HELD_OUT_PAIRS, SHAPES, SIDE, SIZES, Scene, Thing

MIN_OBJECTS, MAX_OBJECTS = 2, 5
GAP = 2  # pixels between two boxes; one at the border
TRIES = 20
APPEARANCES = [Thing(*appearance, 0, 0) for appearance in product(SIZES, COLOURS, SHAPES)]
TRAINING = [each for each in APPEARANCES if each.pair not in HELD_OUT_PAIRS]


def topic(rng: Rng, held_out: bool) -> Phrase:
    """A random phrase that names a held-out pair, or that does not."""
    while True:
        phrase = rng.choice(_TOPICS[rng.below(len(_TOPICS))])
        if phrase.is_held_out() == held_out:
            return phrase


def scene_about(rng: Rng, phrase: Phrase, number: int, held_out: bool) -> Scene:
    """A random scene of 2 to 5 objects, `number` of which the phrase describes. With `held_out` at least one has a
    held-out pair, otherwise none."""
    allowed = APPEARANCES if held_out else TRAINING
    fitting, others = phrase.among(allowed), [each for each in allowed if not phrase.describes(each)]
    total = rng.between(max(MIN_OBJECTS, number), MAX_OBJECTS)
    while True:
        chosen = [rng.choice(fitting) for _ in range(number)]
        chosen += [rng.choice(others) for _ in range(total - number)]
        if not held_out or any(each.pair in HELD_OUT_PAIRS for each in chosen):
            return _arranged(rng, chosen)


def _arranged(rng: Rng, chosen: list[Thing]) -> Scene:
    """The objects at random positions without overlap."""
    # large ones first, as they find a position less easily; otherwise the order is random
    chosen = sorted(rng.shuffled(chosen), key=lambda each: -SIZES[each.size])
    while True:
        things = list[Thing]()
        for each in chosen:
            position = _position(rng, things, SIZES[each.size])
            if position is None:
                break
            things.append(Thing(*each[:3], *position))
        else:
            return Scene(tuple(things))


def _position(rng: Rng, things: list[Thing], reach: int) -> tuple[int, int] | None:
    first, last = reach + 1, SIDE - reach - 1
    for _ in range(TRIES):
        x, y = rng.between(first, last), rng.between(first, last)
        for thing in things:
            apart = SIZES[thing.size] + reach + GAP
            if abs(x - thing.x) < apart and abs(y - thing.y) < apart:
                break
        else:
            return x, y
    return None


_TOPICS = [phrases(form) for form in FORMS]
