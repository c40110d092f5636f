"""Sentences with names of people and locations. Many names may be either, and some are common words: the context
decides."""

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, distinct
from elman.data.rng import Rng
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
AMBIGUOUS = [
    "paris", "florence", "sydney", "victoria", "georgia", "jordan", "chelsea", "austin", "charlotte", "lincoln",
    "jackson", "houston",
]  # fmt: skip
FIRST = [
    "anna", "ben", "carla", "david", "emma", "frank", "grace", "helen", "ivan", "julia", "mark", "may", "rose", "will",
] + AMBIGUOUS  # fmt: skip
LAST = [
    "smith", "miller", "baker", "novak", "garcia", "rossi", "tanaka", "lincoln", "jackson", "houston", "washington",
    "london", "york",
]  # fmt: skip
LOCATIONS = [
    "london", "york", "washington", "rome", "oslo", "cairo", "lima", "tokyo", "berlin", "madrid", "new york",
    "new delhi", "san francisco", "cape town", "buenos aires", "rio de janeiro", "salt lake city", *AMBIGUOUS,
]  # fmt: skip


@builtin("tagged", "the people and the locations in short sentences", "tag")
def rows(seed: CountInt = 0, count: PositiveInt = 10_000) -> Columns:
    """Sentences in lower case, with the tags B-PER, I-PER, B-LOC, I-LOC and O."""
    rng = Rng(seed)
    drawn = distinct(count, lambda: [_sentence(rng)])
    return {"words": [words.split() for words, _ in drawn], "tags": [tags.split() for _, tags in drawn]}


def _sentence(rng: Rng) -> Example:
    words, tags = list[str](), list[str]()
    for word in (rng.choice(SENTENCES) + rng.choice(ENDINGS)).split():
        name = {"PER": _person, "LOC": _location}[word](rng) if word in ("PER", "LOC") else []
        words += name or [word]
        tags += [f"{'I' if i else 'B'}-{word}" for i in range(len(name))] or ["O"]
    return " ".join(words), " ".join(tags)


def _person(rng: Rng) -> list[str]:
    return [rng.choice(FIRST), rng.choice(LAST)][: rng.between(1, 2)]


def _location(rng: Rng) -> list[str]:
    return rng.choice(LOCATIONS).split()
