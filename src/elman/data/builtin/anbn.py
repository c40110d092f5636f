"""As many of one letter as of the next: a^n b^n, which takes a counter, and a^n b^n c^n, which takes two.

Weiss, Goldberg and Yahav (2018) show that an LSTM goes on counting beyond the lengths it was trained on, and that a GRU
does not: https://arxiv.org/abs/1805.04908.
"""

from string import ascii_lowercase
from typing import Annotated

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.rows import Row, columns
from elman.errors import UserError
from elman.options import Bound, CountInt, PositiveInt

Letters = Annotated[int, Bound("from 2 to 26", lambda value: 2 <= value <= 26)]


def rows(seed: CountInt = 0, count: PositiveInt = 5_000, longest: PositiveInt = 100, letters: Letters = 2) -> Columns:
    """Texts with n of each letter: n from 1 to `longest`, in the test part from there to twice as much.

    There are no more texts than values of n. So each comes once in the test part; every tenth n, 5, 15, ..., comes once
    in the validation part and nowhere else; and those trained on come again and again, equally often.
    """
    if count < 2 * longest:
        raise UserError(f"{count} rows are too few for n up to {2 * longest}: give a count of {2 * longest} or more, "
                        "or a smaller longest")  # fmt: skip
    test = range(longest + 1, 2 * longest + 1)
    valid = range(5, longest + 1, 10)
    train = [n for n in range(1, longest + 1) if n not in valid]
    repeated = [train[i % len(train)] for i in range(count - len(valid) - len(test))]
    parts = {"train": Chance(seed).shuffled(repeated), "valid": valid, "test": test}
    texts: list[Row] = [(_text(n, letters), part) for part, numbers in parts.items() for n in numbers]
    return columns(texts, "text", "split")


def _text(n: int, letters: int) -> str:
    return "".join(letter * n for letter in ascii_lowercase[:letters])


ANBN = Builtin("anbn", "aaabbb: as many b as a (letters=3: aabbcc); longer ones to test", "generate", rows)
