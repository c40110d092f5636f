"""Prints a schedule as C++: every segment as a loop over the worker's rows and, tile by tile, over its units; the
products after it as calls of the runtime. Nothing is decided here but the text."""

import importlib.resources

from elman.cells.size import HIDDEN, INPUT, Size, expression, factors, total
from elman.kernels.schedule import Schedule
from elman.kernels.segment import BackwardProduct, ForwardProduct, RowCall, Segment, Slot, Units, Write

RUNTIME = importlib.resources.files("elman.kernels").joinpath("runtime")
PARTS = ("math", "random", "memory", "call", "rows", "products", "batched_products", "time_loop", "decoding", "exports")
TYPES = {"float64": ("double", "double"), "float32": ("float", "float"), "bfloat16": ("float", "uint16_t")}

EXPRESSIONS = {
    "neg": "-{}", "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}",
    "sigmoid": "sigmoid({})", "tanh": "tangent({})", "exp": "exponential({})", "log": "std::log({})",
    "sin": "std::sin({})", "cos": "std::cos({})", "floor": "std::floor({})", "pow": "std::pow({}, {})",
    "sqrt": "std::sqrt({})", "rsqrt": "F(1) / std::sqrt({})", "log_sigmoid": "log_sigmoid({})", "abs": "std::fabs({})",
    "relu": "{0} < 0 ? F(0) : {0}", "pass": "{0} <= 0 ? F(0) : {1}", "sign": "F({0} > 0) - F({0} < 0)",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "lt": "F({} < {})", "le": "F({} <= {})", "gt": "F({} > {})", "ge": "F({} >= {})", "eq": "F({} == {})",
    "ne": "F({} != {})", "where": "{} != 0 ? {} : {}", "broadcast": "{}",
    "not_less": "{0} < {1} ? F(0) : {0} == {1} ? F(0.5) * {2} : {2}",
}  # fmt: skip

# the address of the first unit, or of the one value, of row {r}. {size}: of the value; {before}: of those before it in
# a row of the array; {all}: of all of them
ADDRESSES = {
    "input": "c.inputs + (at.input * B + {r}) * {all} + {before}",
    "raw": "c.x + (at.t * B + {r}) * I",
    "input_gradient": "c.input_gradient + (at.t * B + {r}) * I",
    "state": "c.state + (at.now * {all} + {before}) * B + {r} * {size}",
    "new_state": "c.state + ((1 - at.now) * {all} + {before}) * B + {r} * {size}",
    "vector": "c.vectors + {before}",
    "bias": "c.bias + {before}",
    "tap": "c.taps + {before} * c.T * B + (at.t * B + {r}) * {size}",
    "stored": "c.stored + {before} * c.slots * B + (at.slot * B + {r}) * {size}",
    "row_stored": "c.row_stored + ({k} * c.slots + at.slot) * B + {r}",
    "temporary": "c.temporaries + {before} * B + {r} * {size}",
    "row_temporary": "c.row_temporaries + {k} * B + {r}",
    "output": "c.y + at.t * c.y_step + {r} * c.y_row",
    "column": "c.columns + (at.t * B + {r}) * {all} + {before}",
    "sum": "c.sums + w.part * {all} + {before}",
    "result": "c.results + {before} * B + {r} * {blocks} * {size} + {k} * {size}",
    "back": "c.results + {before} * B + {r} * {size}",
}  # fmt: skip
RANGES: dict[Size, tuple[str, str]] = {
    HIDDEN: ("w.j0", "w.j1"),
    INPUT: ("w.i0", "w.i1"),
}  # a worker's units; of others it has all
SIZES = "  [[maybe_unused]] const int64_t B = c.B, H = c.H, I = c.I;\n"


def print_kernel(schedule: Schedule, dtype: str) -> str:
    """The C++ of a kernel that stores values of this dtype."""
    runtime = "\n".join(RUNTIME.joinpath(f"{part}.hpp").read_text() for part in PARTS)
    printer = _Printer(schedule)
    passes = printer.step("forward", schedule.forward) + printer.step("backward", schedule.backward)
    return _head(schedule, *TYPES[dtype]) + runtime + f"\nnamespace {{\n{passes}\n}}  // namespace\n"


def _head(schedule: Schedule, computed: str, stored: str) -> str:
    layout = schedule.layout
    arrays = {f"{name.upper()}_SIZES": layout[name] for name in ("state", "input", "column", "stored")}
    counts = {"STATES": len(layout["state"]), "GATES": len(layout["input"]), "COLUMNS": len(layout["column"])}
    factors = ", ".join(f"{{{left}, {_size(of)}, {first}, {length}}}" for left, of, first, length in schedule.factors)
    return (
        f"#include <cstdint>\nusing F = {computed};\nusing S = {stored};\n"
        "struct Size { int64_t of, times, over; };  // of: 0 a number, 1 of H, 2 of I\n"
        "struct Factor { int64_t left; Size size; int64_t first, length; };\n"
        + "".join(f"constexpr int64_t {name} = {count};\n" for name, count in counts.items())
        + "".join(f"constexpr Size {name}[] = {_list(sizes)};\n" for name, sizes in arrays.items())
        + f"constexpr Size OUTPUT_SIZE = {_size(layout['output'][0])};\n"
        f"constexpr bool READS_INPUT = {str(schedule.program.graph.reads_input).lower()};\n"
        f"constexpr Factor FACTORS[] = {{{factors}}};\n"
    )


def _list(sizes: list[Size]) -> str:
    return f"{{{', '.join(map(_size, [*sizes, 0]))}}}"  # never empty, which an array of C++ cannot be


def _size(size: Size) -> str:
    """A size as a constant of C++."""
    of, times, over = factors(size)
    return f"{{{of}, {times}, {over}}}"


class _Printer:
    """The functions of a schedule."""

    def __init__(self, schedule: Schedule):
        self.schedule, self.ops = schedule, schedule.ops

    def step(self, name: str, segments: list[Segment]) -> str:
        """A function for each segment, and one that calls them and the products between them."""
        text = "".join(self._segment(f"{name}_{k}", segment, name == "backward") for k, segment in enumerate(segments))
        calls = "".join(f"  {name}_{k}(c, w, at);\n{self._products(segment)}" for k, segment in enumerate(segments))
        return f"{text}\nvoid {name}_step(const Call& c, const Worker& w, At at) {{\n{SIZES}{calls}}}\n"

    def _segment(self, name: str, segment: Segment, masked: bool) -> str:
        """masked: past its length a row computes nothing."""
        lines = [f"const F v{i} = {self._constant(i)};" for i in segment.constants]
        lines += ["for (int64_t r = w.r0; r < w.r1; r++) {"]
        for i in segment.row_ops:
            value = f"*({self._address(segment.loads[i])})" if i in segment.loads else self._expression(i)
            lines += [f"  const F v{i} = {value};"]
        lines += [f"  *({self._address(write.slot)}) = v{write.op};" for write in segment.row_writes]
        lines += [f"  F sum{i} = 0;" for i in segment.sums]
        for number, (size, units) in enumerate(segment.units.items()):
            if units.writes or units.sums:
                lines += ["  " + line for line in self._tiles(segment, size, units, masked, f"_{number}_")]
        lines += [f"  *({self._address(slot)}) = sum{i};" for i, slot in segment.sums.items()]
        lines += [f"  {self._call(call)}" for call in segment.calls]
        text = "".join(line.lstrip() + "\n" if "#pragma" in line else f"  {line}\n" for line in [*lines, "}"])
        return f"\nvoid {name}(const Call& c, const Worker& w, At at) {{\n{SIZES}{text}}}\n"

    def _call(self, call: RowCall) -> str:
        operands = [self._address(slot) for slot in call.operands]
        by = [] if call.by is None else [expression(call.by)]
        return f"row_{call.kind}({', '.join([*operands, self._address(call.result), expression(call.size), *by])});"

    def _tiles(self, segment: Segment, size: Size, units: Units, masked: bool, tag: str) -> list[str]:
        """The loop over the tiles of a row: load, compute, store."""
        inputs = {f"from{i}": segment.loads[i] for i in units.ops if i in segment.loads}
        inputs |= {f"bias{i}": segment.biased[i] for i in units.ops if i in segment.biased}
        outputs = [(f"to{tag}{k}", write.slot) for k, write in enumerate(units.writes)]
        tiles = ", ".join(f"tile_{name}" for name in [*inputs, *(name for name, _ in outputs)])
        loads = [f"const F* {name} = load_tile({self._address(slot)} + j0, tile_{name}, n);"
                 for name, slot in inputs.items()]  # fmt: skip
        loads += [f"F* {name} = target_tile({self._address(slot)} + j0, tile_{name});" for name, slot in outputs]
        stores = [f"store_tile({self._address(slot)} + j0, tile_{name}, n);" for name, slot in outputs]
        loop = self._loop(segment, units, tag)
        if masked:
            padding = " ".join(f"to{tag}{k}[j] = 0;" for k, write in enumerate(units.writes) if write.zero_padding)
            loop = ["if (c.lengths && at.t >= c.lengths[r]) {", f"  for (int64_t j = 0; j < n; j++) {{ {padding} }}",
                    "} else {", *loop, "}"]  # fmt: skip
        first, last = RANGES.get(size, ("0", expression(size)))
        return [
            *([f"Tile {tiles};"] if tiles else []),
            f"for (int64_t j0 = {first}; j0 < {last}; j0 += TILE) {{",
            *(f"  {line}" for line in [f"const int64_t n = min64(TILE, {last} - j0);", *loads, *loop, *stores]),
            "}",
        ]

    def _loop(self, segment: Segment, units: Units, tag: str) -> list[str]:
        """The loop over the units of a tile."""
        body = []
        for i in units.ops:
            value = f"from{i}[j]" if i in segment.loads else self._expression(i)
            body.append(f"const F v{i} = {value}{f' + bias{i}[j]' if i in segment.biased else ''};")
        body += [_assignment(f"to{tag}{k}", write) for k, write in enumerate(units.writes)]
        body += [f"sum{i} += v{self.ops[i].inputs[0]};" for i in units.sums]
        reduction = f" reduction(+:{', '.join(f'sum{i}' for i in units.sums)})" if units.sums else ""
        return [f"#pragma omp simd{reduction}", "for (int64_t j = 0; j < n; j++) {", *(f"  {line}" for line in body),
                "}"]  # fmt: skip

    def _products(self, segment: Segment) -> str:
        """The products after a segment."""
        if not segment.products:
            return ""
        lines = ["synchronize(w);", *(self._product(product) for product in segment.products)]
        return "".join(f"  {line}\n" for line in lines)

    def _product(self, product: ForwardProduct | BackwardProduct) -> str:
        matrix, result = f"c.matrices[{product.matrix}]", self._address(product.result, "0")
        if isinstance(product, ForwardProduct):
            operand, size = self._address(product.operand, "0"), f"Size{_size(product.size)}"
            sizes = f"{product.blocks}, {expression(product.inputs)}, {size}"
            return f"product(c, w, {operand}, {matrix}, {result}, {sizes});"
        columns, first, length = self.schedule.layout["column"], product.first_column, product.length
        sizes = [total(columns), total(columns[:first]), total(columns[first : first + length])]
        at = f"c.columns + at.t * B * {sizes[0]}"
        sizes += [f"Size{_size(product.size)}"]
        return f"back(c, w, {at}, {', '.join(sizes)}, {matrix}, {result}, {str(product.add).lower()});"

    def _address(self, slot: Slot, row: str = "r") -> str:
        layout, blocks, index = self.schedule.layout.get(slot.array, []), 1, slot.index
        if slot.array == "result":
            index = sum(len(self.schedule.program.blocks[p]) for p in self.schedule.program.products[: slot.product])
            blocks = len(self.schedule.program.blocks[self.schedule.program.products[slot.product]])
        return ADDRESSES[slot.array].format(
            k=slot.index, r=row, blocks=blocks, before=total(layout[:index]), all=total(layout),
            size=expression(layout[index]) if layout else "",
        )  # fmt: skip

    def _constant(self, i: int) -> str:
        op = self.ops[i]
        return f"F(1) / F({expression(op.detail)})" if op.kind == "reciprocal" else f"F({_number(op.detail)})"

    def _expression(self, i: int) -> str:
        op = self.ops[i]
        if op.kind == "uniform":
            draw, per, _ = op.detail
            step = "uint32_t(c.first_step + at.t)" if per == "step" else "EVERY_STEP"
            return f"uniform(c.seed, {step}, {draw}, r, j0 + j)"
        return EXPRESSIONS[op.kind].format(*[f"v{k}" for k in op.inputs])


def _assignment(target: str, write: Write) -> str:
    return f"{target}[j] {'+=' if write.add else '='} v{write.op};"


def _number(value: float) -> str:
    """A constant in C++."""
    return repr(float(value)).replace("inf", "INFINITY").replace("nan", "NAN")
