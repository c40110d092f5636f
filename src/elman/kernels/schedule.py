"""What a kernel does when and where: which operations go into which segment of a step, which values are stored and
which recomputed, and where each one is in memory. `elman.kernels.printer` prints a schedule as it is.

A segment is a loop over rows and units that computes all that can be computed once the products before it are there.
"""

from collections.abc import Set
from dataclasses import dataclass, field

from elman.cells.op import Op
from elman.kernels.program import SOURCES, Program

BARRIERS = ("product", "back", "mean")  # need all units of a row before they can be computed
CHEAP = ("neg", "add", "sub", "mul", "relu", "abs", "maximum", "minimum")  # recomputed rather than stored

SEED = Op("seed", (), 0)


@dataclass(frozen=True)
class Slot:
    """Where a value of a row is in memory: the array, and the index of the value in it. A `result` or `back` is one of
    the array of a product: a block, or the gradient of its operand."""

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
    """blocks of the result = operand times a packed matrix."""

    operand: Slot
    matrix: int
    result: Slot
    blocks: int


@dataclass(frozen=True)
class BackwardProduct:
    """result (+)= some columns times a packed matrix."""

    first_column: int
    length: int
    matrix: int
    result: Slot
    add: bool


@dataclass
class Segment:
    """What one segment computes for a row, and the products that follow it.

    - `constants`, `row_ops`, `unit_ops`: its operations in order: numbers, one value a row, H values a row
    - `loads`: where the value of an operation is read that is not computed here
    - `added`: what is added to a loaded value: the bias of a gate, the gradient of the output
    - `writes`: what is written for each row and unit; `row_writes`: once a row
    - `means`: operations that are the mean of an operand over the units, and where it is written
    """

    constants: list[int]
    row_ops: list[int]
    unit_ops: list[int]
    loads: dict[int, Slot]
    added: dict[int, Slot]
    writes: list[Write]
    row_writes: list[Write]
    means: dict[int, Slot]
    products: list[ForwardProduct | BackwardProduct] = field(default_factory=list)


@dataclass
class _Stage:
    """The writes and the barriers (products and means) of a segment that is not yet laid out."""

    writes: list[Write]
    barriers: list[int]


class Schedule:
    """The segments of the forward and of the backward step of a program, and the memory that they need.

    - `stored`, `row_stored`: the operations that the forward pass stores for the backward pass, with H values or one a
      row; the operand of each product is among them
    - `temporaries`, `row_temporaries`: how many values (B, H) and (B,) go from one segment to a later one
    - `blocks`: how many blocks (B, H) the results of products have
    - `factors`: the products that are the weights' gradients, (stored operand, first column, length): that of W, whose
      operand is x (-1), then those of the program's runs
    """

    def __init__(self, program: Program):
        self.program, self.ops = program, program.ops
        self.of_rows = self._of_rows()
        all_stored = self._stored()
        self.stored = [i for i in all_stored if i not in self.of_rows]
        self.row_stored = [i for i in all_stored if i in self.of_rows]
        self.temporaries, self.row_temporaries = 0, 0
        self.blocks = max(sum(len(program.blocks[p]) for p in program.products), len(program.products))
        self.forward = self._segments(self._forward_writes(all_stored), {})
        self.backward = self._segments(self._backward_writes(), {i: self._stored_slot(i) for i in all_stored})
        operands = [self.stored.index(self.ops[product].inputs[0]) for product, *_ in program.runs]
        runs = [(left, first, length) for left, (_, _, first, length) in zip(operands, program.runs, strict=True)]
        self.factors = [(-1, 0, len(program.graph.gates)), *runs]

    # ---- what is stored, and what is recomputed

    def _of_rows(self) -> set[int]:
        """The operations with one value a row: means, and what is computed from them alone."""
        rows: set[int] = set()
        for i, op in enumerate(self.ops):
            values = [k for k in op.inputs if self.ops[k].kind != "constant"]
            if op.kind == "mean" or (op.kind not in SOURCES + BARRIERS and values and rows.issuperset(values)):
                rows.add(i)
        return rows

    def _stored(self) -> list[int]:
        """The operands of the products, and what the backward pass uses and cannot cheaply recompute from the rest."""
        program, free = self.program, ("vector", "constant")
        forward = range(program.forward_ops)
        roots = [i for kind in program.gradients.values() for i in kind] + program.columns
        used = {i for i in program.cone(roots, lambda i: i in forward) if i in forward}
        stored = dict.fromkeys(self.ops[i].inputs[0] for i in program.products)
        stored |= dict.fromkeys(i for i in sorted(used) if self.ops[i].kind not in CHEAP + free)
        for i in sorted(used):
            ends = program.cone([i], lambda k: k in stored or self.ops[k].kind not in CHEAP)
            if any(k not in stored and self.ops[k].kind not in CHEAP + free for k in ends):
                stored[i] = None
        return list(stored)

    # ---- where values are

    def _stored_slot(self, i: int) -> Slot:
        if i in self.of_rows:
            return Slot("row_stored", self.row_stored.index(i))
        return Slot("stored", self.stored.index(i))

    def _temporary(self, i: int) -> Slot:
        if i in self.of_rows:
            self.row_temporaries += 1
            return Slot("row_temporary", self.row_temporaries - 1)
        self.temporaries += 1
        return Slot("temporary", self.temporaries - 1)

    def result(self, product: int) -> tuple[int, int]:
        """The blocks (B, H) before the result of a product, and those that it has."""
        before = self.program.products[: self.program.products.index(product)]
        return sum(len(self.program.blocks[p]) for p in before), len(self.program.blocks[product])

    def _source(self, i: int) -> Slot | None:
        """Where a value is that no segment computes."""
        op, program = self.ops[i], self.program
        match op.kind:
            case "input":
                return Slot("input", program.graph.gates.index(op.detail))
            case "state":
                return Slot("state", program.graph.states.index(op.detail))
            case "seed":
                return Slot("state", op.detail)
            case "vector":
                return Slot("vector", program.vectors.index(op.detail))
            case "tapped":
                return Slot("tap", op.detail)
            case "block":
                return Slot("result", op.detail, op.inputs[0])
            case "back":
                return Slot("back", 0, op.detail)
        return None

    # ---- what a pass writes

    def _forward_writes(self, stored: list[int]) -> list[Write]:
        program = self.program
        writes = [Write(i, Slot("new_state", k)) for k, i in enumerate(program.states)]
        writes += [Write(program.states[0], Slot("output"))]
        writes += [Write(i, Slot("tap", k)) for k, i in enumerate(program.names.values())]
        return writes + [Write(i, self._stored_slot(i)) for i in stored]

    def _backward_writes(self) -> list[Write]:
        gradients = self.program.gradients
        writes = [Write(i, Slot("new_state", k)) for k, i in enumerate(gradients["state"])]
        writes += [Write(i, Slot("column", k), zero_padding=True) for k, i in enumerate(self.program.columns)]
        sums = gradients["input"] + gradients["vector"]
        return writes + [Write(i, Slot("sum", k), add=True) for k, i in enumerate(sums)]

    # ---- which segment does what

    def _segments(self, writes: list[Write], homes: dict[int, Slot]) -> list[Segment]:
        """The segments of a pass. `homes`: where values are that need not be computed."""
        stages = self._stages(writes, homes)
        segments, computed = [], set[int]()
        for number, stage in enumerate(stages):
            cone = self._cone(stage, homes)
            computed |= {i for i in cone if i not in homes and self._costly(i)}
            later = {i for other in stages[number + 1 :] for i in self._cone(other, homes, computed)}
            kept = {i: self._temporary(i) for i in cone if i in computed & later and i not in homes}
            means = {i: self._temporary(i) for i in stage.barriers if self.ops[i].kind == "mean"}
            segments.append(self._segment(stage, cone, homes, kept, means))
            homes = homes | kept | means
        return segments

    def _stages(self, writes: list[Write], homes: dict[int, Slot]) -> list[_Stage]:
        """Writes and barriers by the number of barriers that must come before them."""
        level: dict[int, int] = {}
        cone = list(self.program.cone([write.op for write in writes], lambda i: i in homes))
        for i in cone:
            ready = [] if i in homes else [level[k] for k in self.ops[i].inputs]
            level[i] = max(ready, default=0) + (i not in homes and self.ops[i].kind in BARRIERS)
        stages = [_Stage([], []) for _ in range(max(level.values()) + 1)]
        for write in writes:
            stages[level[write.op]].writes.append(write)
        for i in cone:
            if i not in homes and self.ops[i].kind in BARRIERS:
                stages[level[i] - 1].barriers.append(i)
        return stages

    def _cone(self, stage: _Stage, homes: dict[int, Slot], computed: Set[int] = frozenset()) -> list[int]:
        """What a segment loads and computes, in order."""
        roots = [write.op for write in stage.writes]
        roots += [k for i in stage.barriers if self.ops[i].kind == "mean" for k in self.ops[i].inputs]
        return list(self.program.cone(roots, lambda i: i in homes or i in computed or self._is_source(i)))

    def _is_source(self, i: int) -> bool:
        return self.ops[i].kind in BARRIERS or self._source(i) is not None

    def _costly(self, i: int) -> bool:
        return self.ops[i].kind not in (*CHEAP, "constant") and not self._is_source(i)

    def _segment(
        self, stage: _Stage, cone: list[int], homes: dict[int, Slot], kept: dict[int, Slot], means: dict[int, Slot]
    ) -> Segment:
        constants = [i for i in cone if self.ops[i].kind == "constant"]
        gates = self.program.graph.gates
        # a gate has a bias; the gradient of the first state is that of the new state and of the output
        added = {i: Slot("bias", gates.index(self.ops[i].detail)) for i in cone
                 if self.ops[i].kind == "input" and i not in homes}  # fmt: skip
        added |= {i: Slot("output") for i in cone if self.ops[i] == SEED}
        writes = [*stage.writes, *(Write(i, slot) for i, slot in kept.items())]
        return Segment(
            constants,
            [i for i in cone if i in self.of_rows],
            [i for i in cone if i not in self.of_rows and i not in constants],
            {i: slot for i in cone if (slot := homes.get(i) or self._source(i))},
            added,
            [write for write in writes if write.op not in self.of_rows],
            [write for write in writes if write.op in self.of_rows],
            means,
            [product for i in stage.barriers for product in self._products(i)],
        )

    def _products(self, i: int) -> list[ForwardProduct | BackwardProduct]:
        op, program = self.ops[i], self.program
        if op.kind == "product":
            operand, result = self._stored_slot(op.inputs[0]), Slot("result", 0, i)
            return [ForwardProduct(operand, program.products.index(i), result, len(program.blocks[i]))]
        if op.kind == "back":
            runs = [(number, first, length) for number, (product, _, first, length) in enumerate(program.runs)
                    if product == op.detail]  # fmt: skip
            return [BackwardProduct(first, length, number, Slot("back", 0, op.detail), add=number != runs[0][0])
                    for number, first, length in runs]  # fmt: skip
        return []
