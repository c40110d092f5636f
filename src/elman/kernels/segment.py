"""The parts of a schedule: where values are in memory, and what a segment loads, computes, writes and calls."""

from dataclasses import dataclass, field

from elman.cells.size import Size


@dataclass(frozen=True)
class Slot:
    """Where a value of a row is in memory: the array, and the index of the value in it. A `result` or `back` is one of
    the array of a product: a block, or the gradient of its operand. `Schedule.layout` has the sizes of an array."""

    array: str
    index: int = 0
    product: int = -1


@dataclass(frozen=True)
class Write:
    """A value that a segment writes. `add`: to what is there. `zero_padding`: past its length a row writes 0."""

    op: int
    slot: Slot
    add: bool = False
    zero_padding: bool = False


@dataclass(frozen=True)
class ForwardProduct:
    """blocks of a size = an operand of another times a packed matrix."""

    operand: Slot
    inputs: Size
    matrix: int
    result: Slot
    blocks: int
    size: Size


@dataclass(frozen=True)
class BackwardProduct:
    """result (+)= some columns times a packed matrix."""

    first_column: int
    length: int
    matrix: int
    result: Slot
    size: Size
    add: bool


@dataclass(frozen=True)
class RowCall:
    """A value of a row that a function of the runtime computes from others in memory. `size`: of the first operand;
    `by`: the detail of the operation."""

    kind: str
    operands: tuple[Slot, ...]
    result: Slot
    size: Size
    by: Size | None


@dataclass
class Units:
    """What a segment does for each unit of values of one size: its operations in order, what is written, and the
    operands of sums."""

    ops: list[int] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)


@dataclass
class Segment:
    """What one segment computes for a row, and the products that follow it.

    - `constants`, `row_ops`: its operations in order: numbers, and one value a row; `units`: by their size, the others
    - `loads`: where the value of an operation is read that is not computed here
    - `biased`: what is added to a loaded gate
    - `row_writes`: what is written once a row
    - `sums`: operations that are the sum of an operand over the units, and where it is written
    - `calls`: what is computed once the units are
    """

    constants: list[int]
    row_ops: list[int]
    units: dict[Size, Units]
    loads: dict[int, Slot]
    biased: dict[int, Slot]
    row_writes: list[Write]
    sums: dict[int, Slot]
    calls: list[RowCall]
    products: list[ForwardProduct | BackwardProduct] = field(default_factory=list)
