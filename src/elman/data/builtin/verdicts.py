"""Verdicts on films, in which `not` turns what is said, and of two things that are said the grammar tells which weighs
more."""

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.rows import Row, columns, distinct
from elman.options import CountInt, PositiveInt

# with whether it turns the verdict; half of all clauses are turned, so that no word by itself tells anything
OPENINGS = (
    ("", False),
    ("", False),
    ("i think that ", False),
    ("everybody says that ", False),
    ("i do not think that ", True),
    ("nobody would say that ", True),
)
VERBS = (
    ("was", False),
    ("seemed", False),
    ("felt", False),
    ("was not", True),
    ("was never", True),
    ("was hardly", True),
)
ADVERBS = ("", "really ", "very ", "so ")
SUBJECTS = [
    "film", "acting", "plot", "music", "ending", "cast", "story", "script", "dialogue", "opening", "director", "humour",
]  # fmt: skip
GOOD = ["good", "brilliant", "clever", "moving", "funny", "convincing", "original", "charming", "fresh", "gripping"]
BAD = ["bad", "dull", "silly", "boring", "clumsy", "tedious", "predictable", "lifeless", "stale", "awful"]
# what the first clause says, as the verdict or against it, and the sentence
SENTENCES = (
    (None, "{verdict}"),
    (True, "{first} , and {verdict}"),
    (False, "{first} , but {verdict}"),
    (False, "although {first} , {verdict}"),
    (False, "{verdict} , although {first}"),
)


def rows(seed: CountInt = 0, count: PositiveInt = 10_000) -> Columns:
    """Sentences, half of them positive and half negative."""
    chance = Chance(seed)

    def pair() -> list[Row]:
        return [(_sentence(chance, True), "positive"), (_sentence(chance, False), "negative")]

    drawn = distinct(count, pair)
    return columns(chance.shuffled(drawn), "text", "label")


def _sentence(chance: Chance, good: bool) -> str:
    agrees, sentence = chance.one_of(SENTENCES)
    return sentence.format(first=_clause(chance, good == agrees), verdict=_clause(chance, good))


def _clause(chance: Chance, good: bool) -> str:
    opening, opening_turns = chance.one_of(OPENINGS)
    verb, verb_turns = chance.one_of(VERBS)
    quality = chance.one_of(GOOD if good ^ opening_turns ^ verb_turns else BAD)
    return f"{opening}the {chance.one_of(SUBJECTS)} {verb} {chance.one_of(ADVERBS)}{quality}"


VERDICTS = Builtin("verdicts", "sentences on films: positive or negative, with `not` and `but`", "classify", rows)
