"""Rows that are drawn: no input twice, and a part for testing that is longer than what is trained on."""

from collections.abc import Callable, Sequence

from elman.data.builtin import Columns
from elman.data.builtin.chance import Chance
from elman.errors import UserError

Row = tuple[str, ...]  # the input first
PATIENCE = 10_000  # draws in a row that bring nothing new


def columns(rows: Sequence[Row], *names: str) -> Columns:
    """Rows as columns of these names."""
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def distinct(count: int, draw: Callable[[], list[Row]]) -> list[Row]:
    """That many rows, no input of which comes twice. `draw` gives different rows that belong together: they are
    taken when all of their inputs are new. A UserError when there are not so many."""
    rows, taken, misses = list[Row](), set[str](), 0
    while len(rows) < count:
        drawn = draw()
        inputs = {row[0] for row in drawn}
        if taken.isdisjoint(inputs):
            taken |= inputs
            rows += drawn
            misses = 0
        elif (misses := misses + 1) == PATIENCE:
            raise UserError(f"no other rows were found after {len(rows):,}: give a smaller count, or a larger longest "
                            "where that is an option")  # fmt: skip
    return rows[:count]


def contrasts(seed: int, count: int, longest: int, draw: Callable[[Chance, int], list[Row]]) -> Columns:
    """Texts of size 1 to `longest`, a tenth of all for validation; for testing another tenth, of size `longest` + 1 to
    twice as much. Fewer than 10 are all for training. `draw(chance, size)` gives a text of that size with each label,
    so that the size says nothing about the label."""
    chance, tenth = Chance(seed), count // 10

    def some(share: int, shortest: int) -> list[Row]:
        last = shortest + longest - 1
        return chance.shuffled(distinct(share, lambda: draw(chance, chance.between(shortest, last))))

    rows = some(count - tenth, 1) + some(tenth, longest + 1)
    splits = ["train"] * (count - 2 * tenth) + ["valid"] * tenth + ["test"] * tenth
    return columns([(*row, split) for row, split in zip(rows, splits, strict=True)], "text", "label", "split")
