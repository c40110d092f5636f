"""Whether the number of ones is odd: one bit to remember, which every one turns."""

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.rows import Row, contrasts
from elman.options import CountInt, PositiveInt


def rows(seed: CountInt = 0, count: PositiveInt = 20_000, longest: PositiveInt = 40) -> Columns:
    """Texts of 1 to `longest` bits; in the test part of up to twice as many. Each comes with one that differs from it
    in a single bit, so in its label."""
    return contrasts(seed, count, longest, _pair)


def _pair(chance: Chance, size: int) -> list[Row]:
    text = "".join(chance.one_of("01") for _ in range(size))
    place = chance.below(size)
    turned = text[:place] + ("0" if text[place] == "1" else "1") + text[place + 1 :]
    return [(bits, "odd" if bits.count("1") % 2 else "even") for bits in (text, turned)]


PARITY = Builtin("parity", "bits: is the number of ones odd or even; longer ones to test", "classify", rows)
