"""Brackets of two kinds, balanced or nearly so (the Dyck language D2): a model needs a stack."""

from typing import Annotated

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, contrasts
from elman.data.rng import Rng
from elman.options import Bound, CountInt, PositiveInt

CLOSING = {"(": ")", "[": "]"}
OTHER_KIND = str.maketrans("()[]", "[]()")
EvenInt = Annotated[int, Bound("an even number above 0", lambda value: value > 0 and value % 2 == 0)]


@builtin("dyck", "brackets of two kinds: balanced or not; longer texts for testing", "classify")
def rows(seed: CountInt = 0, count: PositiveInt = 20_000, max_length: EvenInt = 40) -> Columns:
    """Texts of 2 to `max_length` brackets; in the test split of up to twice as many. Each balanced text is paired with
    an unbalanced one of the same length, with as many opening brackets as closing ones."""
    return contrasts(seed, count, max_length // 2, _pair)


def _pair(rng: Rng, size: int) -> list[Example]:
    text = _word(rng, size)
    broken = text
    while _is_balanced(broken):
        broken = rng.choice((_crossed, _exchanged, _of_another_kind))(rng, text)
    return [(text, "balanced"), (broken, "unbalanced")]


def _word(rng: Rng, size: int) -> str:
    """A balanced text of that many pairs, drawn uniformly."""
    text, open_ = "", list[str]()
    for left in range(2 * size, 0, -1):
        depth = len(open_)
        # the share of all completions that start with an opening bracket (the ballot numbers)
        if rng.uniform() < (left - depth) * (depth + 2) / (2 * left * (depth + 1)):
            open_.append(rng.choice("(["))
            text += open_[-1]
        else:
            text += CLOSING[open_.pop()]
    return text


def _is_balanced(text: str) -> bool:
    expected: list[str] = []
    for bracket in text:
        if bracket in CLOSING:
            expected.append(CLOSING[bracket])
        elif not expected or expected.pop() != bracket:
            return False
    return not expected


def _crossed(rng: Rng, text: str) -> str:
    """`([])` as `([)]`, which counting each kind does not detect."""
    positions = [i for i in range(len(text) - 1) if text[i : i + 2] in ("([", "[(", ")]", "])")]
    return _swapped(text, i := rng.choice(positions), i + 1) if positions else text


def _exchanged(rng: Rng, text: str) -> str:
    return _swapped(text, *sorted((rng.below(len(text)), rng.below(len(text)))))


def _of_another_kind(rng: Rng, text: str) -> str:
    i = rng.below(len(text))
    return text[:i] + text[i].translate(OTHER_KIND) + text[i + 1 :]


def _swapped(text: str, i: int, j: int) -> str:
    brackets = list(text)
    brackets[i], brackets[j] = brackets[j], brackets[i]
    return "".join(brackets)
