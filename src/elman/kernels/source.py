"""Prints a program as C++: each pass as loops over rows and units, the segments, with the products between them.

A segment computes all that can be computed once the products before it are there. What a later segment needs again is
kept, unless it is as cheap to make again.
"""

import importlib.resources
from collections.abc import Set
from dataclasses import dataclass

from elman.cells.op import Op
from elman.kernels.program import BARRIERS, CHEAP, Program

FRAME = importlib.resources.files("elman.kernels").joinpath("frame.hpp")
TYPES = {"float64": ("double", "double"), "float32": ("float", "float"), "bfloat16": ("float", "uint16_t")}

EXPRESSIONS = {
    "neg": "-{}", "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}",
    "sigmoid": "sigmoid({})", "tanh": "tangent({})", "exp": "exponential({})", "log": "std::log({})",
    "sqrt": "std::sqrt({})", "rsqrt": "F(1) / std::sqrt({})", "log_sigmoid": "log_sigmoid({})", "abs": "std::fabs({})",
    "relu": "{0} < 0 ? F(0) : {0}", "pass": "{0} <= 0 ? F(0) : {1}", "sign": "F({0} > 0) - F({0} < 0)",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "not_less": "{0} < {1} ? F(0) : {0} == {1} ? F(0.5) * {2} : {2}",
}  # fmt: skip


SEED = Op("seed", (), 0)
_SIZES = "  [[maybe_unused]] const int64_t B = c.B, H = c.H;\n"


@dataclass(frozen=True)
class Place:
    """Where in memory a value of row r is: the address of its first unit or one number; and how it is put there."""

    address: str
    how: str = "{0}[j] = {1};"


@dataclass(frozen=True)
class Segment:
    """`writes`: operations and where they are put; `barriers`: the products and means that come after it."""

    writes: list[tuple[int, Place]]
    barriers: list[int]


class Source:
    """The C++ of a program: `text`. What memory it wants: `kept` values (B, H) and `row_kept` (B,) between segments,
    `blocks` (B, H) of results of products; `stored` and `row_stored`, the operations that have a place of that kind."""

    def __init__(self, program: Program, dtype: str):
        self.program, self.ops = program, program.ops
        self.stored = [i for i in program.stored if i not in program.of_rows]
        self.row_stored = [i for i in program.stored if i in program.of_rows]
        self.kept, self.row_kept = 0, 0
        self.blocks = max(sum(len(program.blocks[p]) for p in program.products), len(program.products))
        passes = self._pass("forward", self._forward(), {}) + self._pass("backward", self._backward(), self._loaded())
        self.text = self._head(*TYPES[dtype]) + FRAME.read_text() + f"\nnamespace {{\n{passes}\n}}  // namespace\n"

    def _head(self, computed: str, stored: str) -> str:
        program = self.program
        counts = {"STATES": len(program.states), "GATES": len(program.graph.gates), "COLUMNS": len(program.columns)}
        factors = ", ".join(f"{{{left}, {first}, {length}}}" for left, first, length in self.factors)
        return (
            f"#include <cstdint>\nusing F = {computed};\nusing S = {stored};\n"
            + "".join(f"constexpr int64_t {name} = {count};\n" for name, count in counts.items())
            + f"struct Factor {{ int64_t left, first, length; }};\nconstexpr Factor FACTORS[] = {{{factors}}};\n"
        )

    @property
    def factors(self) -> list[tuple[int, int, int]]:
        """The products that are the weights' gradients: W's, then those of the runs in their order; see frame.hpp."""
        operands = [self.stored.index(self.ops[product].inputs[0]) for product, *_ in self.program.runs]
        runs = [(left, first, length) for left, (_, _, first, length) in zip(operands, self.program.runs, strict=True)]
        return [(-1, 0, len(self.program.graph.gates)), *runs]

    # ---- where things are

    def _state(self, k: int, half: str) -> Place:
        return Place(f"c.state + ((({half}) * STATES + {k}) * B + r) * H")

    def _stored(self, i: int, row: str = "r") -> Place:
        if i in self.program.of_rows:
            return Place(f"c.row_stored + ({self.row_stored.index(i)} * c.places + at.place) * B + {row}")
        return Place(f"c.stored + (({self.stored.index(i)} * c.places + at.place) * B + {row}) * H")

    def _keep(self, i: int) -> Place:
        if i in self.program.of_rows:
            self.row_kept += 1
            return Place(f"c.row_kept + {self.row_kept - 1} * B + r")
        self.kept += 1
        return Place(f"c.kept + ({self.kept - 1} * B + r) * H")

    def _result(self, product: int, block: int, blocks: int, row: str = "r") -> Place:
        before = self.program.products[: self.program.products.index(product)]
        offset = sum(len(self.program.blocks[p]) for p in before)
        return Place(f"c.results + ({offset} * B + {row} * {blocks} + {block}) * H")

    def _source(self, i: int) -> Place | None:
        """Where what is not computed in a segment comes from."""
        op, program = self.ops[i], self.program
        if op.kind == "input":
            gates = program.graph.gates
            return Place(f"c.inputs + ((at.input * B + r) * GATES + {gates.index(op.detail)}) * H")
        if op.kind == "state":
            return self._state(program.graph.states.index(op.detail), "at.now")
        if op.kind == "seed":
            return self._state(op.detail, "at.now")
        if op.kind == "vector":
            return Place(f"c.vectors + {program.vectors.index(op.detail)} * H")
        if op.kind == "tapped":
            return Place(f"c.taps + (({op.detail} * c.T + at.t) * B + r) * H")
        if op.kind == "block":
            product = op.inputs[0]
            return self._result(product, op.detail, len(program.blocks[product]))
        if op.kind == "back":
            return self._result(op.detail, 0, 1)
        return None

    # ---- what a pass writes

    def _forward(self) -> list[tuple[int, Place]]:
        program = self.program
        writes = [(i, self._state(k, "1 - at.now")) for k, i in enumerate(program.states)]
        writes += [(program.states[0], Place("c.y + at.t * c.y_step + r * c.y_row"))]
        writes += [
            (i, Place(f"c.taps + (({k} * c.T + at.t) * B + r) * H")) for k, i in enumerate(program.names.values())
        ]
        return writes + [(i, self._stored(i)) for i in program.stored]

    def _backward(self) -> list[tuple[int, Place]]:
        gradients, count = self.program.gradients, len(self.program.columns)
        sums = gradients["input"] + gradients["vector"]
        writes = [(i, self._state(k, "1 - at.now")) for k, i in enumerate(gradients["state"])]
        writes += [(i, Place(f"c.columns + ((at.t * B + r) * {count} + {k}) * H"))
                   for k, i in enumerate(self.program.columns)]  # fmt: skip
        return writes + [(i, Place(f"c.sums + (w.part * {len(sums)} + {k}) * H", "{0}[j] += {1};"))
                         for k, i in enumerate(sums)]  # fmt: skip

    def _loaded(self) -> dict[int, Place]:
        return {i: self._stored(i) for i in self.program.stored}

    # ---- which segment does what

    def _pass(self, name: str, writes: list[tuple[int, Place]], homes: dict[int, Place]) -> str:
        """The text of a pass. `homes`: where values are that need not be computed."""
        segments = self._segments(writes, homes)
        text, done = "", set[int]()
        for number, segment in enumerate(segments):
            cone = self._cone(segment, homes)
            done |= {i for i in cone if i not in homes and self._costly(i)}
            later = {i for other in segments[number + 1 :] for i in self._cone(other, homes, done)}
            kept = {i: self._keep(i) for i in cone if i in done & later and i not in homes}
            means = {i: self._keep(i) for i in segment.barriers if self.ops[i].kind == "mean"}
            text += self._segment(f"{name}_{number}", segment, cone, homes, kept, means)
            homes = homes | kept | means
        calls = "".join(f"  {name}_{number}(c, w, at);\n{self._products(segment)}"
                        for number, segment in enumerate(segments))  # fmt: skip
        return f"{text}\nvoid {name}_step(const Call& c, const Worker& w, At at) {{\n{_SIZES}{calls}}}\n"

    def _segments(self, writes: list[tuple[int, Place]], homes: dict[int, Place]) -> list[Segment]:
        level: dict[int, int] = {}
        cone = list(self.program.cone([i for i, _ in writes], lambda i: i in homes))
        for i in cone:
            ready = [] if i in homes else [level[k] for k in self.ops[i].inputs]
            level[i] = max(ready, default=0) + (i not in homes and self.ops[i].kind in BARRIERS)
        segments = [Segment([], []) for _ in range(max(level.values()) + 1)]
        for i, place in writes:
            segments[level[i]].writes.append((i, place))
        for i in cone:
            if i not in homes and self.ops[i].kind in BARRIERS:
                segments[level[i] - 1].barriers.append(i)
        return segments

    def _cone(self, segment: Segment, homes: dict[int, Place], done: Set[int] = frozenset()) -> list[int]:
        """What a segment loads and computes, in order."""
        roots = [i for i, _ in segment.writes]
        roots += [k for i in segment.barriers if self.ops[i].kind == "mean" for k in self.ops[i].inputs]
        return list(self.program.cone(roots, lambda i: i in homes or i in done or self._is_source(i)))

    def _is_source(self, i: int) -> bool:
        return self.ops[i].kind in BARRIERS or self._source(i) is not None

    def _costly(self, i: int) -> bool:
        return self.ops[i].kind not in (*CHEAP, "constant") and not self._is_source(i)

    # ---- the text

    def _segment(
        self, name: str, segment: Segment, cone: list[int], homes: dict[int, Place], kept: dict[int, Place],
        means: dict[int, Place],
    ) -> str:  # fmt: skip
        """A function of the worker's rows; in each of them, of its units chunk by chunk."""
        of_rows, constants = self.program.of_rows, [i for i in cone if self.ops[i].kind == "constant"]
        places = {i: homes.get(i) or self._source(i) for i in cone}
        # a gate has a bias; the gradient of the first state is that of the new state and of the output
        more = {i: (f"bias{i}", self._bias(i)) for i in cone if self.ops[i].kind == "input" and i not in homes}
        more |= {i: ("gradient", Place("c.y + at.t * c.y_step + r * c.y_row")) for i in cone if self.ops[i] == SEED}
        writes = [*segment.writes, *kept.items()]
        full = [(i, place) for i, place in writes if i not in of_rows]

        lines = [f"const F v{i} = F({_number(self.ops[i].detail)});" for i in constants]
        lines += ["for (int64_t r = w.r0; r < w.r1; r++) {"]
        lines += [f"  const F v{i} = {self._number(i, places[i])};" for i in cone if i in of_rows]
        lines += [f"  *({place.address}) = v{i};" for i, place in writes if i in of_rows]
        lines += [f"  F sum{i} = 0;" for i in means]

        loaded = [(i, place) for i in cone if i not in of_rows and (place := places[i])]
        inputs = {f"from{i}": place for i, place in loaded} | dict(more.values())
        rooms = [*inputs, *(f"to{k}" for k, _ in enumerate(full))]
        opening = [f"const F* {name} = open({place.address} + j0, room_{name}, n);" for name, place in inputs.items()]
        opening += [f"F* to{k} = place({place.address} + j0, room_to{k});" for k, (_, place) in enumerate(full)]
        body = []
        for i in cone:
            if i not in of_rows and i not in constants:
                value = f"from{i}[j]" if places[i] else self._expression(i)
                body.append(f"const F v{i} = {value}{f' + {more[i][0]}[j]' if i in more else ''};")
        body += [place.how.format(f"to{k}", f"v{i}") for k, (i, place) in enumerate(full)]
        body += [f"sum{i} += v{self.ops[i].inputs[0]};" for i in means]
        reduction = f" reduction(+:{', '.join(f'sum{i}' for i in means)})" if means else ""
        dead = [f"to{k}[j] = 0;" for k, (_, place) in enumerate(full) if "c.columns" in place.address]
        closing = [f"close({place.address} + j0, room_to{k}, n);" for k, (_, place) in enumerate(full)]
        if body:
            lines += [f"  Room {', '.join(f'room_{name}' for name in rooms)};"]
            lines += ["  for (int64_t j0 = w.j0; j0 < w.j1; j0 += CHUNK) {"]
            lines += ["    const int64_t n = least(CHUNK, w.j1 - j0);"]
            lines += ["    " + line for line in opening]
            loop = [f"#pragma omp simd{reduction}", "    for (int64_t j = 0; j < n; j++) {",
                    *["      " + line for line in body], "    }"]  # fmt: skip
            if name.startswith("backward"):  # past its length a row has no gradient
                loop = ["    if (c.lengths && at.t >= c.lengths[r]) {",
                        f"      for (int64_t j = 0; j < n; j++) {{ {' '.join(dead)} }}",
                        "    } else {", *loop, "    }"]  # fmt: skip
            lines += [*loop, *["    " + line for line in closing], "  }"]
        lines += [f"  *({place.address}) = sum{i} / F(H);" for i, place in means.items()]
        text = "".join(f"  {line}\n" if not line.startswith("#") else line + "\n" for line in [*lines, "}"])
        return f"\nvoid {name}(const Call& c, const Worker& w, At at) {{\n{_SIZES}{text}}}\n"

    def _bias(self, i: int) -> Place:
        return Place(f"c.bias + {self.program.graph.gates.index(self.ops[i].detail)} * H")

    def _number(self, i: int, place: Place | None) -> str:
        return f"*({place.address})" if place else self._expression(i)

    def _expression(self, i: int) -> str:
        op = self.ops[i]
        return EXPRESSIONS[op.kind].format(*[f"v{k}" for k in op.inputs])

    def _products(self, segment: Segment) -> str:
        """The products after a segment."""
        program, columns = self.program, len(self.program.columns)
        lines = []
        for i in segment.barriers:
            op = self.ops[i]
            if op.kind == "product":
                number, blocks = program.products.index(i), len(program.blocks[i])
                of, to = self._stored(op.inputs[0], "0").address, self._result(i, 0, blocks, "0").address
                lines.append(f"product(c, w, {of}, c.matrices[{number}], {to}, {blocks});")
            elif op.kind == "back":
                to, add = self._result(op.detail, 0, 1, "0").address, "false"
                for number, (product, _, first, length) in enumerate(program.runs):
                    if product == op.detail:
                        lines.append(f"back(c, w, c.columns + at.t * B * {columns} * H, {columns}, {first}, {length}, "
                                     f"c.matrices[{number}], {to}, {add});")  # fmt: skip
                        add = "true"
        return "".join(f"  {line}\n" for line in ["wait(w);", *lines]) if lines else ""


def _number(value: float) -> str:
    """A constant in C++."""
    return repr(float(value)).replace("inf", "INFINITY").replace("nan", "NAN")
