"""Sentences that are true of a scene."""

from collections.abc import Callable
from typing import NamedTuple

from elman.data.builtin.chance import Chance
from elman.data.scenes.phrase import FORMS, NUMBERS, Phrase, called
from elman.data.scenes.scene import Scene, Thing, side

# how things are called; a shape and a colour more often than less
WAYS = (*(form for form in FORMS if form[1] or form[2]), (True, True, True), *[(False, True, True)] * 2)
PATIENCE = 60  # draws


class Mention(NamedTuple):
    """A phrase, and all things of a scene that it fits."""

    phrase: Phrase
    things: tuple[Thing, ...]

    def __str__(self) -> str:
        return self.phrase.counted(len(self.things))

    @property
    def verb(self) -> str:
        return "is" if len(self.things) == 1 else "are"


def captions(chance: Chance, scene: Scene, count: int, held_out: bool = False) -> list[str]:
    """That many different captions, or fewer where there is little to say; `held_out`: each names a pair that is kept
    from training."""
    found = dict[str, None]()  # a set with an order
    for _ in range(PATIENCE):
        mentions, sentence = draw(chance, scene)
        if not held_out or any(mention.phrase.held_out() for mention in mentions):
            found[sentence] = None
        if len(found) == count:
            break
    return list(found)


def draw(chance: Chance, scene: Scene) -> tuple[list[Mention], str]:
    """What some caption mentions, and the caption."""
    while True:
        mentions = _mentions(chance, scene, chance.between(1, 3))
        sentence = chance.one_of(SENTENCES[len(mentions)])(mentions, scene)
        if sentence:
            return mentions, sentence


def _mentions(chance: Chance, scene: Scene, most: int) -> list[Mention]:
    """Some mentions without a thing in common."""
    found = list[Mention]()
    rest = list(scene.things)
    for _ in range(most):
        phrase = called(chance.one_of(rest), chance.one_of(WAYS))
        things = phrase.among(scene.things)
        if any(thing not in rest for thing in things):
            break
        found.append(Mention(phrase, tuple(things)))
        rest = [thing for thing in rest if thing not in things]
        if not rest:
            break
    return found or _mentions(chance, scene, most)


def _relation(first: Mention, second: Mention) -> str:
    """Where all of the first are, seen from all of the second; empty if there is no word for it."""
    sides = {side(a, b) for a in first.things for b in second.things}
    return sides.pop() if len(sides) == 1 else ""


def _there(mentions: list[Mention], scene: Scene) -> str:
    return f"there {mentions[0].verb} {' and '.join(map(str, mentions))}"


def _among(mentions: list[Mention], scene: Scene) -> str:
    (mention,) = mentions
    return f"{mention} among {NUMBERS[len(scene.things)]} objects" if len(mention.things) < len(scene.things) else ""


def _related(mentions: list[Mention], verb: str) -> str:
    first, *others = mentions
    relations = [_relation(first, other) for other in others]
    said = [f"{relation} {other}" for relation, other in zip(relations, others, strict=True)]
    return f"{first}{verb} {' and '.join(said)}" if all(relations) else ""


def _phrased(mentions: list[Mention], scene: Scene) -> str:
    return _related(mentions, "")


def _stated(mentions: list[Mention], scene: Scene) -> str:
    return _related(mentions, f" {mentions[0].verb}")


Sentence = Callable[[list[Mention], Scene], str]
# by the number of mentions; an empty sentence is one that cannot be said
SENTENCES: dict[int, tuple[Sentence, ...]] = {
    1: (_there, _among),
    2: (_there, _phrased, _phrased, _stated, _stated),
    3: (_there, _phrased, _stated),
}
