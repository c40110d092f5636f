"""Generated examples: distinct inputs, and a test split with longer ones than the training split."""

from collections.abc import Callable, Sequence

from elman.data.rng import Rng
from elman.errors import UserError

Example = tuple[str, ...]  # the input first
MAX_MISSES = 10_000  # consecutive draws without a new example


def columns(examples: Sequence[Example], *names: str) -> dict[str, list[str]]:
    """The examples as columns of these names."""
    return {name: list(values) for name, values in zip(names, zip(*examples, strict=True), strict=True)}


def distinct(count: int, draw: Callable[[], list[Example]]) -> list[Example]:
    """`count` examples with distinct inputs. `draw` returns different examples that belong together: they are kept when
    all of their inputs are new. UserError when there are too few."""
    examples, inputs, misses = list[Example](), set[str](), 0
    while len(examples) < count:
        drawn = draw()
        new = {example[0] for example in drawn}
        if inputs.isdisjoint(new):
            inputs |= new
            examples += drawn
            misses = 0
        elif (misses := misses + 1) == MAX_MISSES:
            raise UserError(f"only {len(examples):,} different rows were found: give a smaller count, or a larger "
                            "max_length where that is an option")  # fmt: skip
    return examples[:count]


def contrasts(
    seed: int, count: int, max_length: int, draw: Callable[[Rng, int], list[Example]]
) -> dict[str, list[str]]:
    """Texts of size 1 to `max_length`, a tenth of them for validation, and another tenth for testing, of size
    `max_length` + 1 to twice as much. Fewer than 10 are all for training. `draw(rng, size)` returns a text of that size
    with each label, so that size and label are independent."""
    rng, tenth = Rng(seed), count // 10

    def some(number: int, shortest: int) -> list[Example]:
        last = shortest + max_length - 1
        return rng.shuffled(distinct(number, lambda: draw(rng, rng.between(shortest, last))))

    examples = some(count - tenth, 1) + some(tenth, max_length + 1)
    splits = ["train"] * (count - 2 * tenth) + ["valid"] * tenth + ["test"] * tenth
    found = [(*example, split) for example, split in zip(examples, splits, strict=True)]
    return columns(found, "text", "label", "split")
