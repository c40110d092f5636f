"""What a kernel computes at one step, forward and backward, as operations.

`Program(graph)` lowers the graph of a cell's step to operations that can be printed, and derives the operations of the
backward pass by reverse-mode differentiation from RULES, one line an operation. Both are in one list; an operation of
the backward pass refers to a value of the forward pass by its number.
"""

import operator
from collections.abc import Callable, Iterable, Iterator

from elman.cells.graph import Graph
from elman.cells.op import Op
from elman.cells.shape import sized
from elman.cells.size import HIDDEN, INPUT, Size

# kinds beside those of a Graph:
#   rsqrt                  1 / sqrt
#   reciprocal             1 / size; detail: the size
#   reversed_cumsum        cumsum from the last unit to the first
#   matvec_transposed      matvec of the transposed matrix
#   broadcast              one number a row for every unit of a size, the detail
#   sum, amax, peak        over the units of a size, the detail; peak is amax, a constant to the gradient
#   pass                   inputs (value, g): g where value > 0, else 0
#   sign                   -1, 0, 1
#   not_less               inputs (a, b, g): g where a > b, half of it where they are equal, 0 where a < b
#   seed, tapped           the gradient of a result of the step: of a new state (-1: of the output), of a recorded value
#   back                   adjoints of a product's blocks times the transposed matrix; detail: the product
SOURCES = ("input", "raw", "state", "vector", "constant", "seed", "tapped")

WHOLE_ROWS = (
    "cumsum",
    "outer",
    "matvec",
    "repeat_interleave",
    "sum_groups",
)  # whose adjoints need a value for each unit
ARITHMETIC = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}

Rule = Callable[..., Iterable[int | None]]

# (make, g, op, output, *inputs) to the adjoints of the inputs, None where there is none: make(kind, *numbers) is an
# operation, or a float a constant
RULES: dict[str, Rule] = {
    "neg": lambda make, g, op, o, a: [make("neg", g)],
    "sigmoid": lambda make, g, op, o, a: [make("mul", g, make("mul", o, make("sub", 1.0, o)))],
    "tanh": lambda make, g, op, o, a: [make("mul", g, make("sub", 1.0, make("mul", o, o)))],
    "relu": lambda make, g, op, o, a: [make("pass", o, g)],
    "exp": lambda make, g, op, o, a: [make("mul", g, o)],
    "log": lambda make, g, op, o, a: [make("div", g, a)],
    "sqrt": lambda make, g, op, o, a: [make("div", make("mul", 0.5, g), o)],
    "rsqrt": lambda make, g, op, o, a: [make("mul", make("mul", -0.5, g), make("mul", o, make("mul", o, o)))],
    "abs": lambda make, g, op, o, a: [make("mul", g, make("sign", a))],
    "sin": lambda make, g, op, o, a: [make("mul", g, make("cos", a))],
    "cos": lambda make, g, op, o, a: [make("neg", make("mul", g, make("sin", a)))],
    "log_sigmoid": lambda make, g, op, o, a: [make("mul", g, make("sigmoid", make("neg", a)))],
    "sum": lambda make, g, op, o, a: [g],
    "amax": lambda make, g, op, o, a: [
        make("mul", make("eq", a, o), make("div", g, make("sum", make("eq", a, o), detail=op.detail)))
    ],
    "cumsum": lambda make, g, op, o, a: [make("reversed_cumsum", g)],
    "add": lambda make, g, op, o, a, b: [g, g],
    "sub": lambda make, g, op, o, a, b: [g, make("neg", g)],
    "mul": lambda make, g, op, o, a, b: [make("mul", g, b), make("mul", g, a)],
    "div": lambda make, g, op, o, a, b: [make("div", g, b), make("neg", make("div", make("mul", g, o), b))],
    "pow": lambda make, g, op, o, a, b: [
        make("mul", g, make("mul", b, make("pow", a, make("sub", b, 1.0)))),
        make("mul", g, make("mul", o, make("log", a))),
    ],
    "maximum": lambda make, g, op, o, a, b: [make("not_less", a, b, g), make("not_less", b, a, g)],
    "minimum": lambda make, g, op, o, a, b: [make("not_less", b, a, g), make("not_less", a, b, g)],
    "where": lambda make, g, op, o, c, a, b: [None, make("where", c, g, 0.0), make("where", c, 0.0, g)],
    "outer": lambda make, g, op, o, v, k: [
        make("matvec", g, k, detail=op.detail), make("matvec_transposed", g, v, detail=op.detail)
    ],
    "matvec": lambda make, g, op, o, m, q: [
        make("outer", g, q, detail=op.detail), make("matvec_transposed", m, g, detail=op.detail)
    ],
    "sum_groups": lambda make, g, op, o, a: [make("repeat_interleave", g, detail=op.detail)],
    "repeat_interleave": lambda make, g, op, o, a: [make("sum_groups", g, detail=op.detail)],
}  # fmt: skip


def _mean(make: Callable[..., int], size: Size, value: int) -> int:
    return make("mul", make("sum", value, detail=size), make("reciprocal", detail=size))


def _normalize(make: Callable[..., int], size: Size, value: int) -> int:
    centred = make("sub", value, _mean(make, size, value))
    variance = _mean(make, size, make("mul", centred, centred))
    return make("mul", centred, make("rsqrt", make("add", variance, 1e-5)))


def _softmax(make: Callable[..., int], size: Size, value: int) -> int:
    exponential = make("exp", make("sub", value, make("peak", value, detail=size)))
    return make("div", exponential, make("sum", exponential, detail=size))


# kinds of a Graph that are made of others: (make, size of the operand, operand)
LOWERED: dict[str, Callable[..., int]] = {
    "mean": _mean,
    "sum": lambda make, size, value: make("sum", value, detail=size),
    "amax": lambda make, size, value: make("amax", value, detail=size),
    "normalize": _normalize,
    "softmax": _softmax,
    "softplus": lambda make, size, value: make("neg", make("log_sigmoid", make("neg", value))),
}


class Program:
    """The operations of a kernel, and what each pass reads and writes.

    - `ops`: the `forward_ops` forward operations, then the backward ones; `sizes`: of their values
    - `states`, `output`, `names`: the operations that are the new states, the output, the recorded values by name
    - `products`: the forward products; `vectors`: the names of the vectors
    - `gradients`: the operations that are the adjoints of the inputs, states and vectors, by kind
    - `blocks`: the adjoints of the blocks of each product
    - `columns`: the different adjoints of gates and of blocks, the right factors of the weights' gradients
    - `runs`: the blocks of the products as runs (product, first block, first column, length) that are contiguous both
      among its blocks and among the columns
    """

    def __init__(self, graph: Graph, recorded: bool = False):
        self.graph = graph
        self.ops: list[Op] = []
        self.sizes: list[Size | None] = []
        self._numbers: dict[Op, int] = {}
        new = self._lower()
        self.states = [new[i] for i in graph.outputs]
        self.output = new[graph.results[0]]
        self.names = {name: new[i] for name, i in graph.names.items()} if recorded else {}
        self.forward_ops = len(self.ops)
        self.products = [i for i, op in enumerate(self.ops) if op.kind == "product"]
        self.vectors = [op.detail for op in self.ops if op.kind == "vector"]
        self._reverse()

    def make(self, kind: str, *inputs: int | float, detail: object = None) -> int:
        """The number of an operation, added unless it is there. A float stands for a constant."""
        if kind != "constant":
            inputs = tuple(self.make("constant", detail=i) if isinstance(i, float) else i for i in inputs)
            numbers = [self.ops[i].detail if self.ops[i].kind == "constant" else None for i in inputs]  # type: ignore[index]
            if kind == "add" and 0.0 in numbers:
                return int(inputs[1 - numbers.index(0.0)])
            if kind in ARITHMETIC and None not in numbers:
                return self.make("constant", detail=ARITHMETIC[kind](*numbers))
        op = Op(kind, inputs, detail)  # type: ignore[arg-type]
        if op not in self._numbers:
            self._numbers[op] = len(self.ops)
            self.ops.append(op)
            self.sizes.append(self._size(op))
        return self._numbers[op]

    def _size(self, op: Op) -> Size | None:
        """The size of a value; None for a number, and for one number a row."""
        graph, of_inputs = self.graph, [self.sizes[i] for i in op.inputs]
        match op.kind:
            case "constant" | "reciprocal" | "sum" | "amax" | "peak":
                return None
            case "raw":
                return graph.sizes.get("raw", INPUT)
            case "input" | "state" | "vector":
                return graph.sizes.get(op.detail, HIDDEN)
            case "uniform":
                return op.detail[2]
            case "seed":
                return self.sizes[self.output if op.detail < 0 else self.states[op.detail]]
            case "tapped":
                return self.sizes[[*self.names.values()][op.detail]]
            case "product":
                return op.detail[0]
            case "broadcast":
                return op.detail
            case "back":
                return self.sizes[self.ops[op.detail].inputs[0]]
            case "outer" | "repeat_interleave" | "sum_groups":
                return sized(op.kind, of_inputs[0], op.detail)
            case "matvec" | "matvec_transposed":
                return of_inputs[1]
        return next((size for size in of_inputs if size is not None), None)

    def cone(self, roots: Iterable[int], stop: Callable[[int], bool] = lambda i: False) -> Iterator[int]:
        """The roots and all that they are computed from, inputs first; not beyond operations at which `stop` holds."""
        found: set[int] = set()
        for root in roots:
            pending = [(root, False)]  # a stack, and no recursion: a graph may be thousands of operations deep
            while pending:
                i, inputs_done = pending.pop()
                if inputs_done:
                    yield i
                elif i not in found:
                    found.add(i)
                    pending.append((i, True))
                    if not stop(i):
                        pending += [(source, False) for source in reversed(self.ops[i].inputs)]

    def _lower(self) -> list[int]:
        new: list[int] = []
        for op in self.graph.ops:
            inputs = [new[i] for i in op.inputs]
            if op.kind in LOWERED:
                new.append(LOWERED[op.kind](self.make, self.sizes[inputs[0]], *inputs))
            elif op.kind == "uniform":
                new.append(self.make("uniform", detail=(*op.detail, self.sizes[inputs[0]])))
            else:
                new.append(self.make(op.kind, *inputs, detail=op.detail))
        return new

    def _reverse(self) -> None:
        adjoint: dict[int, int] = {}

        def add(to: int, g: int) -> None:
            adjoint[to] = self.make("add", adjoint[to], g) if to in adjoint else g

        add(self.output, self.make("seed", detail=-1))
        for k, state in enumerate(self.states):
            add(state, self.make("seed", detail=k))
        for k, value in enumerate(self.names.values()):
            add(value, self.make("tapped", detail=k))
        zero = self.make("constant", detail=0.0)
        blocks: dict[int, list[int]] = {i: [zero] * (len(self.ops[i].detail) - 3) for i in self.products}
        reached: set[int] = set()
        for i in reversed(range(self.forward_ops)):
            op = self.ops[i]
            if op.kind == "product" and i in reached:
                add(op.inputs[0], self.make("back", *blocks[i], detail=i))
            elif i in adjoint and op.kind == "block":
                blocks[op.inputs[0]][op.detail] = adjoint[i]
                reached.add(op.inputs[0])
            elif i in adjoint and op.kind in RULES:
                g = adjoint[i]
                if op.kind in WHOLE_ROWS and self.sizes[g] is None:
                    g = self.make("broadcast", g, detail=self.sizes[i])
                adjoints = RULES[op.kind](self.make, g, op, i, *op.inputs)
                for source, g in zip(op.inputs, adjoints, strict=True):
                    if g is None or self.ops[source].kind in ("constant", "reciprocal"):
                        continue
                    if self.sizes[source] is None and self.sizes[i] is not None:  # one number for all units
                        g = self.make("sum", g, detail=self.sizes[i])
                    add(source, g)
        numbers = {(op.kind, op.detail): adjoint.get(i, zero) for i, op in enumerate(self.ops[: self.forward_ops])}
        sources = [
            ("input", self.graph.gates), ("raw", (None,)), ("state", self.graph.states), ("vector", self.vectors)
        ]  # fmt: skip
        self.gradients = {kind: [numbers.get((kind, name), zero) for name in names] for kind, names in sources}
        self.blocks = blocks
        columns = self._columns()
        self.columns, self.column_sizes = [i for i, _ in columns], [size for _, size in columns]
        self.runs = self._runs(columns)

    def _columns(self) -> list[tuple[int, Size]]:
        """The adjoints of the gates in their order; then those of the products' blocks that are not among them, and
        the sizes of all. An adjoint that is both, as in an LSTM, is written once."""
        sizes = [self.graph.sizes.get(gate, HIDDEN) for gate in self.graph.gates]
        columns = list(zip(self.gradients["input"], sizes, strict=True))
        for product, needed in self.blocks.items():
            size = self.ops[product].detail[0]
            columns += [(i, size) for i in dict.fromkeys(needed) if (i, size) not in columns]
        return columns

    def _runs(self, columns: list[tuple[int, Size]]) -> list[tuple[int, int, int, int]]:
        runs: list[tuple[int, int, int, int]] = []
        for product, blocks in self.blocks.items():
            for block, adjoint in enumerate(blocks):
                column = columns.index((adjoint, self.ops[product].detail[0]))
                last, first_block, first, length = runs[-1] if runs else (-1, 0, 0, 0)
                if (last, first_block + length, first + length) == (product, block, column):
                    runs[-1] = (product, first_block, first, length + 1)
                else:
                    runs.append((product, block, column, 1))
        return runs
