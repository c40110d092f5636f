"""Questions of five kinds, whose words are independent of the answer.

For yes or no, the answer is a fair coin that is drawn before the words, and the words have the same probability for
both: those of a phrase because the phrases of a group are symmetric (`phrase.symmetric_groups`), those of two objects
because a scene has the same probability as its mirror image, and as itself with the sizes exchanged. The number of
objects that a counted phrase describes is drawn before the scene. All colours that training has with a shape are
equally probable.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elman.data.rng import Rng
from elman.data.scenes.layout import scene_about, topic
from elman.data.scenes.phrase import FORMS, Form, Phrase, describe, symmetric_groups, unique_phrases
from elman.data.scenes.scene import HELD_OUT_PAIRS, Scene, Thing, side

MAX_COUNT = 4
GROUPS = {held_out: symmetric_groups(held_out) for held_out in (False, True)}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
Question = tuple[str, str]  # and its answer
Named = tuple[Thing, Phrase]  # an object, and a phrase that describes it and no other


@dataclass(frozen=True)
class QuestionMaker:
    """Makes questions about a scene in which `topic` describes `number` objects. With `held_out`, they are about
    objects with a held-out pair."""

    rng: Rng
    held_out: bool
    scene: Scene
    topic: Phrase
    number: int

    def existence(self) -> Question | None:
        for group in self.rng.shuffled(GROUPS[self.held_out]):
            counts = self._counts(group)
            present, absent = [p for p in group if p in counts], [p for p in group if p not in counts]
            if present and absent:
                return self._is_there(present, absent)
        return None

    def _is_there(self, present: list[Phrase], absent: list[Phrase]) -> Question:
        yes = self._coin()
        if not yes and self._coin():  # half of the absent phrases have only words that describe some object
            words = {word for thing in self.scene.things for word in thing[:3]} | {""}
            absent = [phrase for phrase in absent if words.issuperset(phrase)] or absent
        return f"is there {self.rng.choice(present if yes else absent).counted(1)}?", _yes_no(yes)

    def count(self) -> Question | None:
        return f"how many {self.topic.many()} are there?", str(self.number)

    def colour(self) -> Question | None:
        forms = [form for form in FORMS if not form[1]]
        allowed = self._allowed(unique_phrases(self.scene.things, forms))
        found = [(phrase, thing) for thing, phrases in allowed.items() for phrase in phrases]
        if not found:
            return None
        phrase, thing = self.rng.choice(found)
        return f"what colour is the {phrase.one()}?", thing.colour

    def relation(self) -> Question | None:
        pair = self._two(FORMS, lambda a, b: a != b)
        if pair is None:
            return None
        (a, one), (b, other) = pair
        yes, relation = self._coin(), side(a, b)
        return f"is the {one.one()} {relation if yes else OPPOSITE[relation]} the {other.one()}?", _yes_no(yes)

    def comparison(self) -> Question | None:
        first, second = (self._larger, self._more) if self._coin() else (self._more, self._larger)
        return first() or second()

    def _more(self) -> Question | None:
        group = self.rng.choice(GROUPS[self.held_out])
        counts = self._counts(group)
        pairs = [(a, b) for a in group if a in counts for b in group if counts[a] > counts[b]]
        if not pairs:
            return None
        more, fewer = self.rng.choice([(a, b) for a, b in pairs if counts[b]] or pairs)
        yes = self._coin()
        one, other = (more, fewer) if yes else (fewer, more)
        return f"are there more {one.many()} than {other.many()}?", _yes_no(yes)

    def _larger(self) -> Question | None:
        pair = self._two([form for form in FORMS if not form[0]], lambda a, b: a.size != b.size)
        if pair is None:
            return None
        (a, one), (_, other) = pair
        yes = self._coin()
        word = "larger" if (a.size == "large") == yes else "smaller"
        return f"is the {one.one()} {word} than the {other.one()}?", _yes_no(yes)

    def _coin(self) -> bool:
        return bool(self.rng.below(2))

    def _counts(self, group: list[Phrase]) -> Counter[Phrase]:
        """The number of objects that each phrase of a group describes."""
        size, colour, shape = group[0]
        form = bool(size), bool(colour), bool(shape)
        return Counter(describe(thing, form) for thing in self.scene.things)

    def _allowed(self, names: dict[Thing, list[Phrase]]) -> dict[Thing, list[Phrase]]:
        """Only the objects that a question may be about."""
        return {thing: each for thing, each in names.items() if (thing.pair in HELD_OUT_PAIRS) == self.held_out}

    def _two(self, forms: Sequence[Form], suits: Callable[[Thing, Thing], bool]) -> tuple[Named, Named] | None:
        """Two objects for which `suits` holds, in either order, with a phrase for each; a question may be about one of
        them."""
        rng, names = self.rng, unique_phrases(self.scene.things, forms)
        with_pair = [form for form in forms if form[1] and form[2]]
        ours = self._allowed(unique_phrases(self.scene.things, with_pair) if self.held_out else names)
        pairs = [(a, b) for a in ours for b in names if suits(a, b)]
        if not pairs:
            return None
        a, b = rng.choice(pairs)
        named = (a, rng.choice(ours[a])), (b, rng.choice(names[b]))
        return named if self._coin() else (named[1], named[0])


KINDS = {
    "existence": QuestionMaker.existence,
    "count": QuestionMaker.count,
    "colour": QuestionMaker.colour,
    "relation": QuestionMaker.relation,
    "comparison": QuestionMaker.comparison,
}


def draw(rng: Rng, most: int, held_out: bool) -> tuple[Scene, dict[str, Question]]:
    """A scene, and at most `most` questions about it by kind."""
    phrase, number = topic(rng, held_out), rng.between(0, MAX_COUNT)
    maker = QuestionMaker(rng, held_out, scene_about(rng, phrase, number, held_out), phrase, number)
    found = dict[str, Question]()
    for kind in rng.shuffled(list(KINDS)):
        question = KINDS[kind](maker)
        if question:
            found[kind] = question
        if len(found) == most:
            break
    return maker.scene, found


def _yes_no(yes: bool) -> str:
    return "yes" if yes else "no"
