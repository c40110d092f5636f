"""Captions that are true of a scene."""

from collections.abc import Callable
from typing import NamedTuple

from elman.data.rng import Rng
from elman.data.scenes.phrase import FORMS, NUMBERS, Phrase, describe
from elman.data.scenes.scene import Scene, Thing, side

# the forms of phrases; those with shape and colour are more frequent
WEIGHTED_FORMS = (*(form for form in FORMS if form[1] or form[2]), (True, True, True), *[(False, True, True)] * 2)
MAX_DRAWS = 60


class Mention(NamedTuple):
    """A phrase, and all objects of a scene that it describes."""

    phrase: Phrase
    things: tuple[Thing, ...]

    def __str__(self) -> str:
        return self.phrase.counted(len(self.things))

    @property
    def verb(self) -> str:
        return "is" if len(self.things) == 1 else "are"


def captions(rng: Rng, scene: Scene, count: int, held_out: bool = False) -> list[str]:
    """`count` different captions, or fewer where a scene does not have so many; with `held_out`, each mentions a
    held-out pair."""
    found = dict[str, None]()  # a set with an order
    for _ in range(MAX_DRAWS):
        mentions, sentence = draw(rng, scene)
        if not held_out or any(mention.phrase.is_held_out() for mention in mentions):
            found[sentence] = None
        if len(found) == count:
            break
    return list(found)


def draw(rng: Rng, scene: Scene) -> tuple[list[Mention], str]:
    """The mentions of a random caption, and the caption."""
    while True:
        mentions = _mentions(rng, scene, rng.between(1, 3))
        sentence = rng.choice(SENTENCES[len(mentions)])(mentions, scene)
        if sentence:
            return mentions, sentence


def _mentions(rng: Rng, scene: Scene, most: int) -> list[Mention]:
    """At most `most` mentions without a common object."""
    found = list[Mention]()
    rest = list(scene.things)
    for _ in range(most):
        phrase = describe(rng.choice(rest), rng.choice(WEIGHTED_FORMS))
        things = phrase.among(scene.things)
        if any(thing not in rest for thing in things):
            break
        found.append(Mention(phrase, tuple(things)))
        rest = [thing for thing in rest if thing not in things]
        if not rest:
            break
    return found or _mentions(rng, scene, most)


def _relation(first: Mention, second: Mention) -> str:
    """The relation of all objects of the first mention to all of the second; empty if they differ."""
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
    phrases = [f"{relation} {other}" for relation, other in zip(relations, others, strict=True)]
    return f"{first}{verb} {' and '.join(phrases)}" if all(relations) else ""


def _phrased(mentions: list[Mention], scene: Scene) -> str:
    return _related(mentions, "")


def _stated(mentions: list[Mention], scene: Scene) -> str:
    return _related(mentions, f" {mentions[0].verb}")


Sentence = Callable[[list[Mention], Scene], str]
# by the number of mentions; empty where the sentence would not be true
SENTENCES: dict[int, tuple[Sentence, ...]] = {
    1: (_there, _among),
    2: (_there, _phrased, _phrased, _stated, _stated),
    3: (_there, _phrased, _stated),
}
