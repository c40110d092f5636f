"""Questions of five kinds, the words of which do not give the answer away.

Where a question is to be answered yes or no, a fair coin says which before the words are chosen, and the words are as
likely for yes as for no: those of a phrase because phrases of a group are alike (`phrase.alike`), those of two things
because a scene is as likely as its mirror image, and as itself with the sizes exchanged. How many things fit the phrase
that is counted is drawn before the scene. A colour is as likely as any other that training shows with the shape.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elman.data.builtin.chance import Chance
from elman.data.scenes.layout import about, topic
from elman.data.scenes.phrase import FORMS, Form, Phrase, alike, called, own
from elman.data.scenes.scene import HELD_OUT_PAIRS, Scene, Thing, side

MOST = 4  # that are counted
GROUPS = {held_out: alike(held_out) for held_out in (False, True)}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
Asked = tuple[str, str]  # a question, and its answer
Named = tuple[Thing, Phrase]  # a thing, and what it, and no other, is called


@dataclass(frozen=True)
class Asker:
    """Asks about a scene in which `number` things are called `topic`. If `held_out`, what is asked about is of a pair
    that is kept from training."""

    chance: Chance
    held_out: bool
    scene: Scene
    topic: Phrase
    number: int

    def existence(self) -> Asked | None:
        for group in self.chance.shuffled(GROUPS[self.held_out]):
            shown = self._counts(group)
            present, absent = [p for p in group if p in shown], [p for p in group if p not in shown]
            if present and absent:
                return self._is_there(present, absent)
        return None

    def _is_there(self, present: list[Phrase], absent: list[Phrase]) -> Asked:
        yes = self._coin()
        if not yes and self._coin():  # half of what is not there is such that every word of it is somewhere
            words = {word for thing in self.scene.things for word in thing[:3]} | {""}
            absent = [phrase for phrase in absent if words.issuperset(phrase)] or absent
        return f"is there {self.chance.one_of(present if yes else absent).counted(1)}?", _say(yes)

    def count(self) -> Asked | None:
        return f"how many {self.topic.many()} are there?", str(self.number)

    def colour(self) -> Asked | None:
        forms = [form for form in FORMS if not form[1]]
        found = [(name, thing) for thing, names in self._asked(own(self.scene.things, forms)).items() for name in names]
        if not found:
            return None
        phrase, thing = self.chance.one_of(found)
        return f"what colour is the {phrase.one()}?", thing.colour

    def relation(self) -> Asked | None:
        pair = self._two(FORMS, lambda a, b: a != b)
        if pair is None:
            return None
        (a, one), (b, other) = pair
        yes, relation = self._coin(), side(a, b)
        return f"is the {one.one()} {relation if yes else OPPOSITE[relation]} the {other.one()}?", _say(yes)

    def comparison(self) -> Asked | None:
        first, second = (self._larger, self._more) if self._coin() else (self._more, self._larger)
        return first() or second()

    def _more(self) -> Asked | None:
        group = self.chance.one_of(GROUPS[self.held_out])
        counts = self._counts(group)
        pairs = [(a, b) for a in group if a in counts for b in group if counts[a] > counts[b]]
        if not pairs:
            return None
        more, fewer = self.chance.one_of([(a, b) for a, b in pairs if counts[b]] or pairs)
        yes = self._coin()
        one, other = (more, fewer) if yes else (fewer, more)
        return f"are there more {one.many()} than {other.many()}?", _say(yes)

    def _larger(self) -> Asked | None:
        pair = self._two([form for form in FORMS if not form[0]], lambda a, b: a.size != b.size)
        if pair is None:
            return None
        (a, one), (_, other) = pair
        yes = self._coin()
        word = "larger" if (a.size == "large") == yes else "smaller"
        return f"is the {one.one()} {word} than the {other.one()}?", _say(yes)

    def _coin(self) -> bool:
        return bool(self.chance.below(2))

    def _counts(self, group: list[Phrase]) -> Counter[Phrase]:
        """How many things each phrase of a group fits."""
        size, colour, shape = group[0]
        form = bool(size), bool(colour), bool(shape)
        return Counter(called(thing, form) for thing in self.scene.things)

    def _asked(self, names: dict[Thing, list[Phrase]]) -> dict[Thing, list[Phrase]]:
        """Only the things that may be asked about."""
        return {thing: own for thing, own in names.items() if (thing.pair in HELD_OUT_PAIRS) == self.held_out}

    def _two(self, forms: Sequence[Form], suits: Callable[[Thing, Thing], bool]) -> tuple[Named, Named] | None:
        """Two things that suit each other, in either order, with words for each; one of them may be asked about."""
        chance, names = self.chance, own(self.scene.things, forms)
        whole = [form for form in forms if form[1] and form[2]]  # these name the pair
        ours = self._asked(own(self.scene.things, whole) if self.held_out else names)
        pairs = [(a, b) for a in ours for b in names if suits(a, b)]
        if not pairs:
            return None
        a, b = chance.one_of(pairs)
        named = (a, chance.one_of(ours[a])), (b, chance.one_of(names[b]))
        return named if self._coin() else (named[1], named[0])


KINDS = {
    "existence": Asker.existence,
    "count": Asker.count,
    "colour": Asker.colour,
    "relation": Asker.relation,
    "comparison": Asker.comparison,
}


def draw(chance: Chance, most: int, held_out: bool) -> tuple[Scene, dict[str, Asked]]:
    """A scene, and by kind at most so many questions about it, each of another kind."""
    phrase, number = topic(chance, held_out), chance.between(0, MOST)
    asker = Asker(chance, held_out, about(chance, phrase, number, held_out), phrase, number)
    found = dict[str, Asked]()
    for kind in chance.shuffled(list(KINDS)):
        asked = KINDS[kind](asker)
        if asked:
            found[kind] = asked
        if len(found) == most:
            break
    return asker.scene, found


def _say(yes: bool) -> str:
    return "yes" if yes else "no"
