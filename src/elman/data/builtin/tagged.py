"""Sentences in which people and places are tagged. Many names may be either, and some are common words: what stands
around them decides."""

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.rows import Row, distinct
from elman.options import CountInt, PositiveInt

SENTENCES = (
    "PER lives in LOC",
    "PER and PER met in LOC",
    "PER flew from LOC to LOC",
    "PER wrote to PER about LOC",
    "PER asked PER to wait in LOC",
    "PER will call PER from LOC",
    "PER may visit LOC with PER",
    "LOC is north of LOC",
    "LOC was cold and PER left for LOC",
    "the mayor of LOC called PER",
    "nobody in LOC knew PER",
    "a friend of mine , PER , was born in LOC",
    "trains from LOC to LOC are late",
    "prices rose in LOC",
    "teachers mark papers near LOC",
)
ENDINGS = ("", " , they say", " , it seems", " , i hear", " after all")
EITHER = [
    "paris", "florence", "sydney", "victoria", "georgia", "jordan", "chelsea", "austin", "charlotte", "lincoln",
    "jackson", "houston",
]  # fmt: skip
FIRST = [
    "anna", "ben", "carla", "david", "emma", "frank", "grace", "helen", "ivan", "julia", "mark", "may", "rose", "will",
] + EITHER  # fmt: skip
LAST = [
    "smith", "miller", "baker", "novak", "garcia", "rossi", "tanaka", "lincoln", "jackson", "houston", "washington",
    "london", "york",
]  # fmt: skip
PLACES = [
    "london", "york", "washington", "rome", "oslo", "cairo", "lima", "tokyo", "berlin", "madrid", "new york",
    "new delhi", "san francisco", "cape town", "buenos aires", "rio de janeiro", "salt lake city", *EITHER,
]  # fmt: skip


def rows(seed: CountInt = 0, count: PositiveInt = 10_000) -> Columns:
    """Sentences in lower case, with the tags B-PER, I-PER, B-LOC, I-LOC and O."""
    chance = Chance(seed)
    drawn = distinct(count, lambda: [_sentence(chance)])
    return {"words": [words.split() for words, _ in drawn], "tags": [tags.split() for _, tags in drawn]}


def _sentence(chance: Chance) -> Row:
    words, tags = list[str](), list[str]()
    for word in (chance.one_of(SENTENCES) + chance.one_of(ENDINGS)).split():
        name = {"PER": _person, "LOC": _place}[word](chance) if word in ("PER", "LOC") else []
        words += name or [word]
        tags += [f"{'I' if i else 'B'}-{word}" for i in range(len(name))] or ["O"]
    return " ".join(words), " ".join(tags)


def _person(chance: Chance) -> list[str]:
    return [chance.one_of(FIRST), chance.one_of(LAST)][: chance.between(1, 2)]


def _place(chance: Chance) -> list[str]:
    return chance.one_of(PLACES).split()


TAGGED = Builtin("tagged", "the people and the places in short sentences", "tag", rows)
