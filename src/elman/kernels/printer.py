"""Prints a schedule as C++: every segment as a loop over the worker's rows and, tile by tile, over its units; the
products after it as calls of the runtime. Nothing is decided here but the text."""

import importlib.resources

from elman.kernels.schedule import BackwardProduct, ForwardProduct, Schedule, Segment, Slot, Write

RUNTIME = importlib.resources.files("elman.kernels").joinpath("runtime")
PARTS = ("math", "memory", "call", "products", "batched_products", "time_loop", "decoding", "exports")
TYPES = {"float64": ("double", "double"), "float32": ("float", "float"), "bfloat16": ("float", "uint16_t")}

EXPRESSIONS = {
    "neg": "-{}", "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}",
    "sigmoid": "sigmoid({})", "tanh": "tangent({})", "exp": "exponential({})", "log": "std::log({})",
    "sqrt": "std::sqrt({})", "rsqrt": "F(1) / std::sqrt({})", "log_sigmoid": "log_sigmoid({})", "abs": "std::fabs({})",
    "relu": "{0} < 0 ? F(0) : {0}", "pass": "{0} <= 0 ? F(0) : {1}", "sign": "F({0} > 0) - F({0} < 0)",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "not_less": "{0} < {1} ? F(0) : {0} == {1} ? F(0.5) * {2} : {2}",
}  # fmt: skip

# the address of the first unit, or of the one value, of row {r}
ADDRESSES = {
    "input": "c.inputs + ((at.input * B + {r}) * GATES + {k}) * H",
    "state": "c.state + (((at.now) * STATES + {k}) * B + {r}) * H",
    "new_state": "c.state + (((1 - at.now) * STATES + {k}) * B + {r}) * H",
    "vector": "c.vectors + {k} * H",
    "bias": "c.bias + {k} * H",
    "tap": "c.taps + (({k} * c.T + at.t) * B + {r}) * H",
    "stored": "c.stored + (({k} * c.slots + at.slot) * B + {r}) * H",
    "row_stored": "c.row_stored + ({k} * c.slots + at.slot) * B + {r}",
    "temporary": "c.temporaries + ({k} * B + {r}) * H",
    "row_temporary": "c.row_temporaries + {k} * B + {r}",
    "output": "c.y + at.t * c.y_step + {r} * c.y_row",
    "column": "c.columns + ((at.t * B + {r}) * COLUMNS + {k}) * H",
    "sum": "c.sums + (w.part * {sums} + {k}) * H",
    "result": "c.results + ({before} * B + {r} * {blocks} + {k}) * H",
    "back": "c.results + ({before} * B + {r}) * H",
}  # fmt: skip
SIZES = "  [[maybe_unused]] const int64_t B = c.B, H = c.H;\n"


def print_kernel(schedule: Schedule, dtype: str) -> str:
    """The C++ of a kernel that stores values of this dtype."""
    runtime = "\n".join(RUNTIME.joinpath(f"{part}.hpp").read_text() for part in PARTS)
    printer = _Printer(schedule)
    passes = printer.step("forward", schedule.forward) + printer.step("backward", schedule.backward)
    return _head(schedule, *TYPES[dtype]) + runtime + f"\nnamespace {{\n{passes}\n}}  // namespace\n"


def _head(schedule: Schedule, computed: str, stored: str) -> str:
    program = schedule.program
    counts = {"STATES": len(program.states), "GATES": len(program.graph.gates), "COLUMNS": len(program.columns)}
    factors = ", ".join(f"{{{left}, {first}, {length}}}" for left, first, length in schedule.factors)
    return (
        f"#include <cstdint>\nusing F = {computed};\nusing S = {stored};\n"
        + "".join(f"constexpr int64_t {name} = {count};\n" for name, count in counts.items())
        + f"struct Factor {{ int64_t left, first, length; }};\nconstexpr Factor FACTORS[] = {{{factors}}};\n"
    )


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
        lines = [f"const F v{i} = F({_number(self.ops[i].detail)});" for i in segment.constants]
        lines += ["for (int64_t r = w.r0; r < w.r1; r++) {"]
        for i in segment.row_ops:
            value = f"*({self._address(segment.loads[i])})" if i in segment.loads else self._expression(i)
            lines += [f"  const F v{i} = {value};"]
        lines += [f"  *({self._address(write.slot)}) = v{write.op};" for write in segment.row_writes]
        lines += [f"  F sum{i} = 0;" for i in segment.means]
        if segment.unit_ops or segment.writes:
            lines += ["  " + line for line in self._tiles(segment, masked)]
        lines += [f"  *({self._address(slot)}) = sum{i} / F(H);" for i, slot in segment.means.items()]
        text = "".join(line.lstrip() + "\n" if "#pragma" in line else f"  {line}\n" for line in [*lines, "}"])
        return f"\nvoid {name}(const Call& c, const Worker& w, At at) {{\n{SIZES}{text}}}\n"

    def _tiles(self, segment: Segment, masked: bool) -> list[str]:
        """The loop over the tiles of a row: load, compute, store."""
        inputs = {f"from{i}": segment.loads[i] for i in segment.unit_ops if i in segment.loads}
        inputs |= {f"added{i}": slot for i, slot in segment.added.items()}
        outputs = [(f"to{k}", write.slot) for k, write in enumerate(segment.writes)]
        tiles = ", ".join(f"tile_{name}" for name in [*inputs, *(name for name, _ in outputs)])
        loads = [f"const F* {name} = load_tile({self._address(slot)} + j0, tile_{name}, n);"
                 for name, slot in inputs.items()]  # fmt: skip
        loads += [f"F* {name} = target_tile({self._address(slot)} + j0, tile_{name});" for name, slot in outputs]
        stores = [f"store_tile({self._address(slot)} + j0, tile_{name}, n);" for name, slot in outputs]
        loop = self._loop(segment)
        if masked:
            padding = " ".join(f"to{k}[j] = 0;" for k, write in enumerate(segment.writes) if write.zero_padding)
            loop = ["if (c.lengths && at.t >= c.lengths[r]) {", f"  for (int64_t j = 0; j < n; j++) {{ {padding} }}",
                    "} else {", *loop, "}"]  # fmt: skip
        return [
            *([f"Tile {tiles};"] if tiles else []),
            "for (int64_t j0 = w.j0; j0 < w.j1; j0 += TILE) {",
            *(f"  {line}" for line in ["const int64_t n = min64(TILE, w.j1 - j0);", *loads, *loop, *stores]),
            "}",
        ]

    def _loop(self, segment: Segment) -> list[str]:
        """The loop over the units of a tile."""
        body = []
        for i in segment.unit_ops:
            value = f"from{i}[j]" if i in segment.loads else self._expression(i)
            body.append(f"const F v{i} = {value}{f' + added{i}[j]' if i in segment.added else ''};")
        body += [_assignment(f"to{k}", write) for k, write in enumerate(segment.writes)]
        body += [f"sum{i} += v{self.ops[i].inputs[0]};" for i in segment.means]
        reduction = f" reduction(+:{', '.join(f'sum{i}' for i in segment.means)})" if segment.means else ""
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
            return f"product(c, w, {self._address(product.operand, '0')}, {matrix}, {result}, {product.blocks});"
        columns = f"c.columns + at.t * B * COLUMNS * H, COLUMNS, {product.first_column}, {product.length}"
        return f"back(c, w, {columns}, {matrix}, {result}, {str(product.add).lower()});"

    def _address(self, slot: Slot, row: str = "r") -> str:
        gradients = self.schedule.program.gradients
        before, blocks = self.schedule.result(slot.product) if slot.product >= 0 else (0, 0)
        return ADDRESSES[slot.array].format(
            k=slot.index, r=row, before=before, blocks=blocks, sums=len(gradients["input"] + gradients["vector"])
        )

    def _expression(self, i: int) -> str:
        op = self.ops[i]
        return EXPRESSIONS[op.kind].format(*[f"v{k}" for k in op.inputs])


def _assignment(target: str, write: Write) -> str:
    return f"{target}[j] {'+=' if write.add else '='} v{write.op};"


def _number(value: float) -> str:
    """A constant in C++."""
    return repr(float(value)).replace("inf", "INFINITY").replace("nan", "NAN")
