"""The parity of a string of bits: one bit of memory, flipped by every 1."""

from elman.data.builtin import Columns, builtin
from elman.data.examples import Example, contrasts
from elman.data.rng import Rng
from elman.options import CountInt, PositiveInt


@builtin("parity", "bits: is the number of ones odd or even; longer texts for testing", "classify")
def rows(seed: CountInt = 0, count: PositiveInt = 20_000, max_length: PositiveInt = 40) -> Columns:
    """Texts of 1 to `max_length` bits; in the test split of up to twice as many. Each is paired with one that differs
    in a single bit, and so in its label."""
    return contrasts(seed, count, max_length, _pair)


def _pair(rng: Rng, size: int) -> list[Example]:
    text = "".join(rng.choice("01") for _ in range(size))
    i = rng.below(size)
    flipped = text[:i] + ("0" if text[i] == "1" else "1") + text[i + 1 :]
    return [(bits, "odd" if bits.count("1") % 2 else "even") for bits in (text, flipped)]
