"""Random words, to be copied or reversed: what a model must keep, and nothing else."""

from string import ascii_lowercase
from typing import Annotated

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.rows import Row, columns, distinct
from elman.options import Bound, CountInt, PositiveInt

SHORTEST = 3
Longest = Annotated[int, Bound(f"{SHORTEST} or more", lambda value: value >= SHORTEST)]


def reverse(seed: CountInt = 0, count: PositiveInt = 10_000, longest: Longest = 10) -> Columns:
    """Words of 3 to `longest` letters, and the same backwards."""
    return columns([(word, word[::-1]) for (word,) in _words(seed, count, longest)], "source", "target")


def copy(seed: CountInt = 0, count: PositiveInt = 10_000, longest: Longest = 10) -> Columns:
    """Words of 3 to `longest` letters, and the same again."""
    return columns([(word, word) for (word,) in _words(seed, count, longest)], "source", "target")


def _words(seed: int, count: int, longest: int) -> list[Row]:
    chance = Chance(seed)

    def word() -> list[Row]:
        return [("".join(chance.one_of(ascii_lowercase) for _ in range(chance.between(SHORTEST, longest))),)]

    return distinct(count, word)


REVERSE = Builtin("reverse", "a random word -> its letters backwards", "translate", reverse)
COPY = Builtin("copy", "a random word -> the same word", "translate", copy)
