"""Whether a caption is true of a scene, computed from the caption and the scene alone."""

import re
from dataclasses import dataclass
from itertools import combinations, product

from elman.data.scenes.scene import COLOURS, SHAPES, SIZES, Scene, Thing

MIN_DISTANCE = 6  # pixels between two centres for a relation to hold
WORDS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5}
DESCRIBED = rf"(?:({'|'.join(SIZES)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|object)(s?)"
_NOUN = re.compile(rf"\b({'|'.join(WORDS)}) {DESCRIBED}\b")
SIDE_WORDS = "left of|right of|above|below"
# captions with ONE for an object and MANY for several
_RELATED = re.compile(
    rf"(?:ONE(?: is)?|MANY(?: are)?) ({SIDE_WORDS}) (?:ONE|MANY)(?: and ({SIDE_WORDS}) (?:ONE|MANY))?"
)
_THERE = re.compile(r"there (?:is ONE|are MANY)(?: and (?:ONE|MANY)){0,2}")
_AMONG = re.compile(r"(?:ONE|MANY) among MANY")


@dataclass(frozen=True)
class Noun:
    """`two small red circles`: the index of its last word in the caption, the number of objects, and their attributes,
    empty where one is not mentioned."""

    index: int
    number: int
    size: str
    colour: str
    shape: str

    def described(self) -> str:
        """`small red circle`."""
        return " ".join(filter(None, (self.size, self.colour, self.shape or "object")))

    def groups(self, scene: Scene) -> list[tuple[Thing, ...]]:
        """The possible referents: any one object with these attributes, or, for several, all of them together."""
        wanted = {self.size, self.colour, self.shape} - {""}
        fitting = [thing for thing in scene.things if wanted <= {*thing[:3]}]
        if self.number == 1:
            return [(thing,) for thing in fitting]
        return [tuple(fitting)] if len(fitting) == self.number else []


@dataclass(frozen=True)
class Claim:
    """The meaning of a caption: there are objects for all nouns such that each relation, of one noun to another, holds,
    and, with `distinct`, no object is mentioned twice."""

    nouns: tuple[Noun, ...]
    relations: tuple[tuple[int, str, int], ...]
    distinct: bool

    def meanings(self, scene: Scene) -> list[tuple[tuple[Thing, ...], ...]]:
        """The objects of each noun, in every way in which the claim is true."""
        return [chosen for chosen in product(*(noun.groups(scene) for noun in self.nouns)) if self._allows(chosen)]

    def _allows(self, chosen: tuple[tuple[Thing, ...], ...]) -> bool:
        if self.distinct and any(set(a) & set(b) for a, b in combinations(chosen, 2)):
            return False
        return all(
            has_relation(a, relation, b)
            for first, relation, second in self.relations
            for a, b in product(chosen[first], chosen[second])
        )


def parse(sentence: str) -> Claim | None:
    """The claim of a caption; None when it is not in the grammar."""
    nouns = list[Noun]()

    def noun(match: re.Match[str]) -> str:
        determiner, size, colour, shape, ending = match.groups()
        many = bool(ending)
        article = "" if many else "an" if match[0].split()[1][0] in "aeiou" else "a"
        if many != (WORDS[determiner] > 1) or article not in ("", determiner):
            return match[0]
        index = len(sentence[: match.end()].split()) - 1
        nouns.append(Noun(index, WORDS[determiner], size or "", colour or "", "" if shape == "object" else shape))
        return "MANY" if many else "ONE"

    frame = _NOUN.sub(noun, sentence)
    if match := _RELATED.fullmatch(frame):
        relations = tuple((0, word, i) for i, word in enumerate(match.groups(), 1) if word)
        return Claim(tuple(nouns), relations, True)
    if _THERE.fullmatch(frame):
        return Claim(tuple(nouns), (), True)
    if _AMONG.fullmatch(frame) and nouns[1].described() == "object":
        return Claim(tuple(nouns), (), False)
    return None


def is_true(sentence: str, scene: Scene) -> bool:
    """Whether the sentence is a caption and is true of the scene. A singular means at least one such object, a number
    exactly that many."""
    claim = parse(sentence)
    return claim is not None and bool(claim.meanings(scene))


def mentions(sentence: str) -> list[tuple[int, str]]:
    """The index of the last word of each noun, and its description: (3, "small red circle"). Empty for a sentence that
    is not a caption."""
    claim = parse(sentence)
    return [(noun.index, noun.described()) for noun in claim.nouns] if claim else []


def mentioned(sentence: str, scene: Scene) -> list[tuple[int, Thing]]:
    """The objects that each noun of a caption mentions, with the index of its last word. An ambiguous noun is left out.
    In a caption that is not true, a noun mentions the objects with its attributes."""
    claim = parse(sentence)
    if claim is None:
        return []
    meanings = claim.meanings(scene)
    found = list[tuple[int, Thing]]()
    for i, noun in enumerate(claim.nouns):
        groups = {meaning[i] for meaning in meanings} or set(noun.groups(scene))
        if len(groups) == 1:
            found += [(noun.index, thing) for thing in groups.pop()]
    return found


def has_relation(a: Thing, relation: str, b: Thing) -> bool:
    """Whether a is left of, right of, above or below b by at least `MIN_DISTANCE`."""
    distance = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}
    return distance[relation] >= MIN_DISTANCE
