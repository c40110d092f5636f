"""What the value of an operation varies over, and the rules by which operations can be combined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elman.cells.op import COMPARISONS, REDUCTIONS, Op
from elman.cells.size import HIDDEN, INPUT, TRACED_HIDDEN, TRACED_INPUT, Size, relative, resolve


@dataclass(frozen=True)
class Shape:
    """- rows: whether it has a value for every row of the batch
    - size: of the last axis; None for a number, and for one number a row, as a mean over the units is
    - condition: whether it is true or false
    - product: whether it is the result of a product, of which only the blocks are values
    """

    rows: bool = False
    size: Size | None = None
    condition: bool = False
    product: bool = False

    @property
    def is_value(self) -> bool:
        """Whether it is (B, size): can be a state, have a name, be multiplied by a matrix."""
        return self.rows and self.size is not None and not self.condition and not self.product


NUMBER = Shape()


class Mismatch(ValueError):
    """Values that cannot be combined; the message follows the name of the operation."""


def shape_of(op: Op, inputs: Sequence[Shape], sizes: Mapping[str, Size]) -> Shape:
    """The shape of the value of an operation. sizes: of the gates, states and vectors other than `hidden`, and of the
    input where it must be of another size than `input`. Raises Mismatch."""
    if op.kind == "block":
        return Shape(True, inputs[0].size)
    if any(shape.product for shape in inputs):
        raise Mismatch("of a product, of which only the blocks are values")
    if any(shape.condition for shape in inputs[op.kind == "where" :]) and op.kind != "mul":
        raise Mismatch("of a comparison, which can only be multiplied and be the condition of where")
    if op.kind in _SHAPES:
        return _SHAPES[op.kind](op, inputs, sizes)
    if op.kind in (*REDUCTIONS, "softmax", "cumsum", "normalize"):
        _must_be_value(inputs[0])
        return Shape(True, None if op.kind in REDUCTIONS else inputs[0].size)
    if op.kind == "where" and not inputs[0].condition:
        raise Mismatch("whose condition is no comparison")
    return _combined(op, inputs)


def _combined(op: Op, inputs: Sequence[Shape]) -> Shape:
    """Of an operation that is computed unit by unit."""
    sizes = {shape.size for shape in inputs} - {None}
    if len(sizes) > 1:
        raise Mismatch(f"of values of different sizes, {' and '.join(sorted(map(str, sizes)))}")
    rows = any(shape.rows for shape in inputs)
    if not rows and not sizes:
        raise Mismatch("of numbers alone")
    both = op.kind == "mul" and all(shape.condition for shape in inputs)
    return Shape(rows, sizes.pop() if sizes else None, op.kind in COMPARISONS or both)


def _must_be_value(shape: Shape) -> None:
    if not shape.is_value:
        raise Mismatch("of what has not a value for every row and unit")


def _product(op: Op, inputs: Sequence[Shape], sizes: Mapping[str, Size]) -> Shape:
    _must_be_value(inputs[0])
    size, heads = op.detail[:2]
    for whole in (size, inputs[0].size):
        if _traced(whole) % _traced(heads):
            raise Mismatch(f"of {whole} units for {heads} heads, which do not divide them")
    return Shape(True, size, product=True)


def _uniform(op: Op, inputs: Sequence[Shape], sizes: Mapping[str, Size]) -> Shape:
    _must_be_value(inputs[0])
    return inputs[0]


def _outer(op: Op, inputs: Sequence[Shape], sizes: Mapping[str, Size]) -> Shape:
    for shape in inputs:
        _must_be_value(shape)
    if inputs[0].size != inputs[1].size:
        raise Mismatch(f"of values of different sizes, {inputs[0].size} and {inputs[1].size}")
    return Shape(True, sized("outer", inputs[0].size, op.detail))


def _matvec(op: Op, inputs: Sequence[Shape], sizes: Mapping[str, Size]) -> Shape:
    for shape in inputs:
        _must_be_value(shape)
    matrix, vector = inputs
    if matrix.size != sized("outer", vector.size, op.detail):
        raise Mismatch(f"of a matrix of {matrix.size} values and a vector of {vector.size} for {op.detail} heads")
    return vector


def _regrouped(op: Op, inputs: Sequence[Shape], sizes: Mapping[str, Size]) -> Shape:
    _must_be_value(inputs[0])
    return Shape(True, sized(op.kind, inputs[0].size, op.detail))


def sized(kind: str, size: Size | None, by: Size) -> Size:
    """The size of a value computed from one of another size: `outer`, a matrix for each of so many heads;
    `repeat_interleave`, so many times the size; `sum_groups`, the size divided by that."""
    number, count = _traced(size), _traced(by)
    if kind in ("outer", "sum_groups") and number % count:
        raise Mismatch(f"of {size} units and {by} heads, which do not divide them")
    found = {"outer": number // count * number, "repeat_interleave": number * count, "sum_groups": number // count}[
        kind
    ]
    try:
        return relative(found)
    except ValueError as error:
        raise Mismatch(f"of {error}") from error


def _traced(size: Size | None) -> int:
    assert size is not None
    return resolve(size, TRACED_HIDDEN, TRACED_INPUT)


_SHAPES = {
    "input": lambda op, inputs, sizes: Shape(True, sizes.get(op.detail, HIDDEN)),
    "raw": lambda op, inputs, sizes: Shape(True, sizes.get("raw", INPUT)),
    "state": lambda op, inputs, sizes: Shape(True, sizes.get(op.detail, HIDDEN)),
    "vector": lambda op, inputs, sizes: Shape(False, sizes.get(op.detail, HIDDEN)),
    "constant": lambda op, inputs, sizes: NUMBER,
    "uniform": _uniform,
    "product": _product,
    "outer": _outer,
    "matvec": _matvec,
    "repeat_interleave": _regrouped,
    "sum_groups": _regrouped,
}
