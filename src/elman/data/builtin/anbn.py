"""The languages a^n b^n, which needs a counter, and a^n b^n c^n, which needs two.

Weiss, Goldberg and Yahav (2018) show that an LSTM counts beyond the lengths it was trained on, and that a GRU does not:
https://arxiv.org/abs/1805.04908.
"""

from string import ascii_lowercase
from typing import Annotated

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, columns
from elman.data.rng import Rng
from elman.errors import UserError
from elman.options import Bound, CountInt, PositiveInt

Letters = Annotated[int, Bound("from 2 to 26", lambda value: 2 <= value <= 26)]


@builtin("anbn", "aaabbb: as many b as a (letters=3: aabbcc); longer texts for testing", "generate")
def rows(
    seed: CountInt = 0, count: PositiveInt = 5_000, max_length: PositiveInt = 100, letters: Letters = 2
) -> Columns:
    """Texts with n of each letter: n from 1 to `max_length`, in the test split from there to twice as much.

    There is one text for each n. It occurs once in the test split; every tenth n, 5, 15, ..., occurs once in the
    validation split and nowhere else; and those of the training split are repeated, equally often.
    """
    if count < 2 * max_length:
        least = 2 * max_length
        raise UserError(
            f"{count} rows are too few for n up to {least}: give a count of {least} or more, or a smaller max_length"
        )
    test = range(max_length + 1, 2 * max_length + 1)
    valid = range(5, max_length + 1, 10)
    train = [n for n in range(1, max_length + 1) if n not in valid]
    repeated = [train[i % len(train)] for i in range(count - len(valid) - len(test))]
    splits = {"train": Rng(seed).shuffled(repeated), "valid": valid, "test": test}
    texts: list[Example] = [(_text(n, letters), split) for split, numbers in splits.items() for n in numbers]
    return columns(texts, "text", "split")


def _text(n: int, letters: int) -> str:
    return "".join(letter * n for letter in ascii_lowercase[:letters])
