"""Random words, to be copied or reversed: a test of memory."""

from string import ascii_lowercase
from typing import Annotated

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, columns, distinct
from elman.data.rng import Rng
from elman.options import Bound, CountInt, PositiveInt

MIN_LENGTH = 3
MaxLength = Annotated[int, Bound(f"{MIN_LENGTH} or more", lambda value: value >= MIN_LENGTH)]


@builtin("reverse", "a random word -> its letters backwards", "translate")
def reverse(seed: CountInt = 0, count: PositiveInt = 10_000, max_length: MaxLength = 10) -> Columns:
    """Words of 3 to `max_length` letters, and their reverse."""
    return columns([(word, word[::-1]) for (word,) in _words(seed, count, max_length)], "source", "target")


@builtin("copy", "a random word -> the same word", "translate")
def copy(seed: CountInt = 0, count: PositiveInt = 10_000, max_length: MaxLength = 10) -> Columns:
    """Words of 3 to `max_length` letters, and the same words."""
    return columns([(word, word) for (word,) in _words(seed, count, max_length)], "source", "target")


def _words(seed: int, count: int, max_length: int) -> list[Example]:
    rng = Rng(seed)

    def word() -> list[Example]:
        return [("".join(rng.choice(ascii_lowercase) for _ in range(rng.between(MIN_LENGTH, max_length))),)]

    return distinct(count, word)
