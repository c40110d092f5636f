"""Brackets of two kinds, balanced or nearly so: to log, a model needs a stack."""

from typing import Annotated

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.rows import Row, contrasts
from elman.options import Bound, CountInt, PositiveInt

CLOSING = {"(": ")", "[": "]"}
OTHER_KIND = str.maketrans("()[]", "[]()")
EvenInt = Annotated[int, Bound("an even number above 0", lambda value: value > 0 and value % 2 == 0)]


def rows(seed: CountInt = 0, count: PositiveInt = 20_000, longest: EvenInt = 40) -> Columns:
    """Texts of 2 to `longest` brackets; in the test part of up to twice as many. A text that is balanced comes with one
    that is not, as long, which opens as many as it closes."""
    return contrasts(seed, count, longest // 2, _pair)


def _pair(chance: Chance, size: int) -> list[Row]:
    text = _word(chance, size)
    missed = text
    while _is_balanced(missed):
        missed = chance.one_of((_crossed, _exchanged, _of_another_kind))(chance, text)
    return [(text, "balanced"), (missed, "unbalanced")]


def _word(chance: Chance, size: int) -> str:
    """A balanced text of that many pairs, each as likely as any other."""
    text, open_ = "", list[str]()
    for left in range(2 * size, 0, -1):
        depth = len(open_)
        # of all ways to go on, the share that begins with an opening bracket (the ballot numbers)
        if chance.share() < (left - depth) * (depth + 2) / (2 * left * (depth + 1)):
            open_.append(chance.one_of("(["))
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


def _crossed(chance: Chance, text: str) -> str:
    """`([])` as `([)]`, which no counting of each kind finds."""
    places = [i for i in range(len(text) - 1) if text[i : i + 2] in ("([", "[(", ")]", "])")]
    return _swapped(text, place := chance.one_of(places), place + 1) if places else text


def _exchanged(chance: Chance, text: str) -> str:
    return _swapped(text, *sorted((chance.below(len(text)), chance.below(len(text)))))


def _of_another_kind(chance: Chance, text: str) -> str:
    place = chance.below(len(text))
    return text[:place] + text[place].translate(OTHER_KIND) + text[place + 1 :]


def _swapped(text: str, i: int, j: int) -> str:
    brackets = list(text)
    brackets[i], brackets[j] = brackets[j], brackets[i]
    return "".join(brackets)


DYCK = Builtin("dyck", "brackets of two kinds: balanced or not; longer ones to test", "classify", rows)
