"""What a kernel does when and where: which operations go into which segment of a step, which values are stored and
which recomputed, and where each one is in memory. `elman.kernels.printer` prints a schedule as it is.

A segment is a loop over rows and units that computes all that can be computed once the products before it are there.
"""

from collections.abc import Set
from dataclasses import dataclass

from elman.cells.op import COMPARISONS
from elman.cells.size import HIDDEN, INPUT, Size
from elman.kernels.program import Program
from elman.kernels.segment import BackwardProduct, ForwardProduct, RowCall, Segment, Slot, Units, Write

# computed by a function of the runtime from a whole row in memory
CALLS = ("amax", "peak", "cumsum", "reversed_cumsum", "outer", "matvec", "matvec_transposed", "repeat_interleave",
         "sum_groups")  # fmt: skip
BARRIERS = ("product", "back", "sum", *CALLS)  # need all units of a row before they can be computed
CHEAP = ("neg", "add", "sub", "mul", "relu", "abs", "maximum", "minimum", "where", "broadcast",
         *COMPARISONS)  # recomputed rather than stored  # fmt: skip
NUMBERS = ("constant", "reciprocal")
FREE = ("vector", "uniform", *NUMBERS)  # there without being stored


@dataclass
class _Stage:
    """The writes and the barriers (products, sums and calls) of a segment that is not yet laid out."""

    writes: list[Write]
    barriers: list[int]


class Schedule:
    """The segments of the forward and of the backward step of a program, and the memory that they need.

    - `stored`, `row_stored`: the operations that the forward pass stores for the backward pass, with a value for each
      unit or one a row; the operand of each product is among them
    - `layout`: the sizes of the values of each array, in their order
    - `row_temporaries`: how many numbers a row go from one segment to a later one
    - `factors`: the products that are the weights' gradients, (stored operand, its size, first column, length): that of
      W, whose operand is x (-1), then those of the program's runs
    - `other_sizes`: whether values have other sizes than `hidden`, as the input itself
    - `whole_rows`: whether a row must be computed by one thread
    """

    def __init__(self, program: Program):
        self.program, self.ops, self.sizes = program, program.ops, program.sizes
        self.of_rows = {i for i, op in enumerate(self.ops) if self.sizes[i] is None and op.kind not in NUMBERS}
        all_stored = self._stored()
        self.stored = [i for i in all_stored if i not in self.of_rows]
        self.row_stored = [i for i in all_stored if i in self.of_rows]
        self.temporaries, self.row_temporaries = list[Size](), 0
        graph = program.graph
        gates, states, vectors = (
            [graph.sizes.get(name, HIDDEN) for name in names] for names in (graph.gates, graph.states, program.vectors)
        )
        raw: list[Size] = [graph.sizes.get("raw", INPUT)]
        self.layout: dict[str, list[Size]] = {
            "input": gates, "bias": gates, "state": states, "new_state": states, "vector": vectors, "raw": raw,
            "input_gradient": raw, "output": [self._size(program.output)], "temporary": self.temporaries,
            "tap": [self._size(i) for i in program.names.values()], "stored": [self._size(i) for i in self.stored],
            "column": program.column_sizes, "sum": gates + vectors,
            "result": [self._size(p) for p in program.products for _ in program.blocks[p]],
            "back": [self._size(self.ops[p].inputs[0]) for p in program.products],
        }  # fmt: skip
        self.forward = self._segments(self._forward_writes(all_stored), {})
        self.backward = self._segments(self._backward_writes(), {i: self._stored_slot(i) for i in all_stored})
        self.factors: list[tuple[int, Size, int, int]] = [(-1, INPUT, 0, len(gates))]
        for product, _, first, length in program.runs:
            operand = self.ops[product].inputs[0]
            self.factors.append((self.stored.index(operand), self._size(operand), first, length))
        self.other_sizes = {size for size in self.sizes if size is not None} != {HIDDEN}
        self.whole_rows = self.other_sizes or bool(self.of_rows) or any(op.kind in CALLS for op in self.ops)

    def _size(self, i: int) -> Size:
        size = self.sizes[i]
        assert size is not None
        return size

    # ---- what is stored, and what is recomputed

    def _stored(self) -> list[int]:
        """The operands of the products, and what the backward pass uses and cannot cheaply recompute from the rest."""
        program = self.program
        forward = range(program.forward_ops)
        roots = [i for kind in program.gradients.values() for i in kind] + program.columns
        used = {i for i in program.cone(roots, lambda i: i in forward) if i in forward}
        stored = dict.fromkeys(self.ops[i].inputs[0] for i in program.products)
        stored |= dict.fromkeys(i for i in sorted(used) if self.ops[i].kind not in CHEAP + FREE)
        for i in sorted(used):
            ends = program.cone([i], lambda k: k in stored or self.ops[k].kind not in CHEAP)
            if any(k not in stored and self.ops[k].kind not in CHEAP + FREE for k in ends):
                stored[i] = None
        return list(stored)

    # ---- where values are

    def _stored_slot(self, i: int) -> Slot:
        if i in self.of_rows:
            return Slot("row_stored", self.row_stored.index(i))
        return Slot("stored", self.stored.index(i))

    def _temporary(self, size: Size | None) -> Slot:
        if size is None:
            self.row_temporaries += 1
            return Slot("row_temporary", self.row_temporaries - 1)
        self.temporaries.append(size)
        return Slot("temporary", len(self.temporaries) - 1)

    def _source(self, i: int) -> Slot | None:
        """Where a value is that no segment computes."""
        op, program = self.ops[i], self.program
        match op.kind:
            case "input":
                return Slot("input", program.graph.gates.index(op.detail))
            case "state":
                return Slot("state", program.graph.states.index(op.detail))
            case "raw":
                return Slot("raw")
            case "seed":
                return Slot("state", op.detail) if op.detail >= 0 else Slot("output")
            case "vector":
                return Slot("vector", program.vectors.index(op.detail))
            case "tapped":
                return Slot("tap", op.detail)
            case "block":
                return self._result(op.inputs[0], op.detail)
            case "back":
                return Slot("back", program.products.index(op.detail))
        return None

    def _result(self, product: int, block: int = 0) -> Slot:
        """A block of the result of a product."""
        products = self.program.products
        return Slot("result", block, products.index(product))

    # ---- what a pass writes

    def _forward_writes(self, stored: list[int]) -> list[Write]:
        program = self.program
        writes = [Write(i, Slot("new_state", k)) for k, i in enumerate(program.states)]
        writes += [Write(program.output, Slot("output"))]
        writes += [Write(i, Slot("tap", k)) for k, i in enumerate(program.names.values())]
        return writes + [Write(i, self._stored_slot(i)) for i in stored]

    def _backward_writes(self) -> list[Write]:
        gradients, graph = self.program.gradients, self.program.graph
        writes = [Write(i, Slot("new_state", k)) for k, i in enumerate(gradients["state"])]
        writes += [Write(i, Slot("column", k), zero_padding=True) for k, i in enumerate(self.program.columns)]
        if graph.reads_input:
            writes += [Write(i, Slot("input_gradient"), zero_padding=True) for i in gradients["raw"]]
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
            kept = {i: self._temporary(self.sizes[i]) for i in cone if i in computed & later and i not in homes}
            found = {i: self._temporary(self.sizes[i]) for i in stage.barriers if self._is_in_row(i)}
            segments.append(self._segment(stage, cone, homes, kept, found))
            homes = homes | kept | found
        return segments

    def _is_in_row(self, i: int) -> bool:
        """Whether a barrier is computed within the segment: a sum or a call."""
        return self.ops[i].kind == "sum" or self.ops[i].kind in CALLS

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
        roots += [k for i in stage.barriers if self._is_in_row(i) for k in self.ops[i].inputs]
        return list(self.program.cone(roots, lambda i: i in homes or i in computed or self._is_source(i)))

    def _is_source(self, i: int) -> bool:
        return self.ops[i].kind in BARRIERS or self._source(i) is not None

    def _costly(self, i: int) -> bool:
        return self.ops[i].kind not in (*CHEAP, *NUMBERS) and not self._is_source(i)

    def _segment(
        self, stage: _Stage, cone: list[int], homes: dict[int, Slot], kept: dict[int, Slot], found: dict[int, Slot]
    ) -> Segment:
        gates = self.program.graph.gates
        biased = {i: Slot("bias", gates.index(self.ops[i].detail)) for i in cone
                  if self.ops[i].kind == "input" and i not in homes}  # fmt: skip
        loads = {i: slot for i in cone if (slot := homes.get(i) or self._source(i))}
        writes = [*stage.writes, *(Write(i, slot) for i, slot in kept.items())]
        sums = {i: slot for i, slot in found.items() if self.ops[i].kind == "sum"}
        calls = []
        for i, slot in found.items():
            if i not in sums:
                operands = tuple(self._in_memory(k, loads, kept, writes) for k in self.ops[i].inputs)
                calls.append(self._call(i, operands, slot))
        units: dict[Size, Units] = {}
        for i in cone:
            if self.sizes[i] is not None:
                units.setdefault(self._size(i), Units()).ops.append(i)
        for write in writes:
            if not write.slot.array.startswith("row_"):
                units.setdefault(self._size_at(write.slot), Units()).writes.append(write)
        for i in sums:
            units.setdefault(self.ops[i].detail, Units()).sums.append(i)
        return Segment(
            [i for i in cone if self.ops[i].kind in NUMBERS],
            [i for i in cone if i in self.of_rows],
            units,
            loads,
            biased,
            [write for write in writes if write.slot.array.startswith("row_")],
            sums,
            calls,
            [product for i in stage.barriers for product in self._products(i)],
        )

    def _size_at(self, slot: Slot) -> Size:
        """The size of a value in memory."""
        return self.layout[slot.array][slot.index]

    def _in_memory(self, i: int, loads: dict[int, Slot], kept: dict[int, Slot], writes: list[Write]) -> Slot:
        """Where a call finds an operand, which is written where it is not there: a gate is, without its bias."""
        slot = kept.get(i) or loads.get(i)
        if slot is None or self.ops[i].kind == "input":
            slot = self._temporary(self.sizes[i])
            writes.append(Write(i, slot))
        return slot

    def _call(self, i: int, operands: tuple[Slot, ...], result: Slot) -> RowCall:
        op = self.ops[i]
        by = None if op.kind in ("amax", "peak", "cumsum", "reversed_cumsum") else op.detail
        return RowCall(op.kind, operands, result, self._size_at(operands[0]), by)

    def _products(self, i: int) -> list[ForwardProduct | BackwardProduct]:
        op, program = self.ops[i], self.program
        if op.kind == "product":
            (of,) = op.inputs
            return [ForwardProduct(self._stored_slot(of), self._size(of), program.products.index(i), self._result(i),
                                   len(program.blocks[i]), self._size(i))]  # fmt: skip
        if op.kind == "back":
            runs = [(number, first, length) for number, (product, _, first, length) in enumerate(program.runs)
                    if product == op.detail]  # fmt: skip
            result = Slot("back", program.products.index(op.detail))
            return [BackwardProduct(first, length, number, result, self._size(i), add=number != runs[0][0])
                    for number, first, length in runs]  # fmt: skip
        return []
