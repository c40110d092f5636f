"""Opinions on films, in which negation flips the sentiment, and of two clauses the grammar decides which one counts."""

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, columns, distinct
from elman.data.rng import Rng
from elman.options import CountInt, PositiveInt

# each with whether it flips the sentiment; half of all clauses are flipped, so that no single word is informative
PREFIXES = (
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
# whether the first clause agrees with the sentence, and the sentence
SENTENCES = (
    (None, "{main}"),
    (True, "{first} , and {main}"),
    (False, "{first} , but {main}"),
    (False, "although {first} , {main}"),
    (False, "{main} , although {first}"),
)


@builtin("verdicts", "sentences on films: positive or negative, with `not` and `but`", "classify")
def rows(seed: CountInt = 0, count: PositiveInt = 10_000) -> Columns:
    """Sentences, half of them positive and half negative."""
    rng = Rng(seed)

    def pair() -> list[Example]:
        return [(_sentence(rng, True), "positive"), (_sentence(rng, False), "negative")]

    drawn = distinct(count, pair)
    return columns(rng.shuffled(drawn), "text", "label")


def _sentence(rng: Rng, good: bool) -> str:
    agrees, sentence = rng.choice(SENTENCES)
    return sentence.format(first=_clause(rng, good == agrees), main=_clause(rng, good))


def _clause(rng: Rng, good: bool) -> str:
    prefix, prefix_flips = rng.choice(PREFIXES)
    verb, verb_flips = rng.choice(VERBS)
    quality = rng.choice(GOOD if good ^ prefix_flips ^ verb_flips else BAD)
    return f"{prefix}the {rng.choice(SUBJECTS)} {verb} {rng.choice(ADVERBS)}{quality}"
