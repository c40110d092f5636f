"""Sizes of the last axis of a value, as a graph has them: numbers, or relative to the sizes of the layer that runs it.

While a cell is traced, `hidden_size` and `input_size` are TRACED_HIDDEN and TRACED_INPUT, so that whatever a step
computes from them can be distinguished from a number: `self.hidden_size // 4` is traced as `hidden/4`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from elman.cells.validation import shown
from elman.errors import UserError

Size = int | str  # 64, "hidden", "hidden/4", "hidden*16", "input"

HIDDEN, INPUT = "hidden", "input"
TRACED_HIDDEN = 5_354_228_880  # a multiple of 1 to 24
TRACED_INPUT = 4_294_967_291  # a prime
LARGEST_NUMBER, LARGEST_FACTOR = 1 << 20, 1024

_FORM = re.compile(r"(hidden|input)(?:([*/])([1-9][0-9]{0,3}))?", re.ASCII)


def relative(number: int) -> Size:
    """The size that a number in a traced step stands for. Raises ValueError for one that is none."""
    for name, traced in ((HIDDEN, TRACED_HIDDEN), (INPUT, TRACED_INPUT)):
        if number == traced:
            return name
        for sign, factor, rest in (("*", *divmod(number, traced)), ("/", *divmod(traced, max(number, 1)))):
            if rest == 0 and 1 < factor <= LARGEST_FACTOR:
                return f"{name}{sign}{factor}"
    if not 1 <= number <= LARGEST_NUMBER:
        raise ValueError(f"a size of {number}, neither a number nor a multiple or a part of hidden_size or input_size")
    return number


def resolve(size: Size, hidden: int, inputs: int) -> int:
    """The size in a layer with so many units and inputs. Raises UserError where it is not a whole number."""
    if isinstance(size, int):
        return size
    name, sign, factor = _parts(size)
    of = hidden if name == HIDDEN else inputs
    if sign == "/" and of % factor:
        raise UserError(f"{name}_size={of} must be a multiple of {factor}")
    return of // factor if sign == "/" else of * factor


def as_size(value: Any, where: str) -> Size:
    """A size read from JSON; anything else is a UserError that names the field."""
    right = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_NUMBER
    if not right and not (isinstance(value, str) and _FORM.fullmatch(value) and _parts(value)[2] <= LARGEST_FACTOR):
        raise UserError(f"{where} must be a size (64, hidden, hidden/4, input), not {shown(value)}")
    return value


def factors(size: Size) -> tuple[int, int, int]:
    """A size as (of, times, over): times / over of `of`, which is 0 for 1, 1 for hidden and 2 for input."""
    if isinstance(size, int):
        return 0, size, 1
    name, sign, factor = _parts(size)
    return (HIDDEN, INPUT).index(name) + 1, factor if sign == "*" else 1, factor if sign == "/" else 1


def expression(size: Size) -> str:
    """A size in C++, where H and I are those of the call."""
    of, times, over = factors(size)
    name = ("", "H", "I")[of]
    text = name if times == 1 and name else f"{name} * {times}" if name else str(times)
    return text if over == 1 and not (name and times > 1) else f"({text}{f' / {over}' if over > 1 else ''})"


def total(sizes: Sequence[Size]) -> str:
    """A sum of sizes in C++."""
    counts = Counter(map(expression, sizes))
    terms = [text if count == 1 else f"{count} * {text}" for text, count in counts.items()]
    return f"({' + '.join(terms)})" if terms else "0"


def _parts(size: str) -> tuple[str, str, int]:
    match = _FORM.fullmatch(size)
    assert match is not None
    return match[1], match[2] or "", int(match[3] or 1)
