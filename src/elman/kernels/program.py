"""What a kernel computes at one step, forward and backward, as operations.

`Program(graph)` lowers the graph of a cell's step to operations that can be printed, and derives the operations of the
backward pass by reverse-mode differentiation from RULES, one line an operation. Both are in one list; an operation of
the backward pass refers to a value of the forward pass by its number.
"""

from collections.abc import Callable, Iterable, Iterator

from elman.cells.graph import Graph
from elman.cells.op import Op

# kinds beside those of a Graph:
#   rsqrt                  1 / sqrt
#   mean                   the mean over the units, one number a row; its own adjoint
#   pass                   inputs (value, g): g where value > 0, else 0
#   sign                   -1, 0, 1
#   not_less               inputs (a, b, g): g where a > b, half of it where they are equal, 0 where a < b
#   seed, tapped           the gradient of a result of the step: of a new state, of a recorded value
#   back                   adjoints of a product's blocks times the transposed matrix; detail: the product
SOURCES = ("input", "state", "vector", "constant", "seed", "tapped")

Rule = Callable[..., Iterable[int]]

# (make, g, output, *inputs) to the adjoints of the inputs: make(kind, *numbers) is an operation, or a float a constant
RULES: dict[str, Rule] = {
    "neg": lambda make, g, o, a: [make("neg", g)],
    "sigmoid": lambda make, g, o, a: [make("mul", g, make("mul", o, make("sub", 1.0, o)))],
    "tanh": lambda make, g, o, a: [make("mul", g, make("sub", 1.0, make("mul", o, o)))],
    "relu": lambda make, g, o, a: [make("pass", o, g)],
    "exp": lambda make, g, o, a: [make("mul", g, o)],
    "log": lambda make, g, o, a: [make("div", g, a)],
    "sqrt": lambda make, g, o, a: [make("div", make("mul", 0.5, g), o)],
    "rsqrt": lambda make, g, o, a: [make("mul", make("mul", -0.5, g), make("mul", o, make("mul", o, o)))],
    "abs": lambda make, g, o, a: [make("mul", g, make("sign", a))],
    "log_sigmoid": lambda make, g, o, a: [make("mul", g, make("sigmoid", make("neg", a)))],
    "mean": lambda make, g, o, a: [make("mean", g)],
    "add": lambda make, g, o, a, b: [g, g],
    "sub": lambda make, g, o, a, b: [g, make("neg", g)],
    "mul": lambda make, g, o, a, b: [make("mul", g, b), make("mul", g, a)],
    "div": lambda make, g, o, a, b: [make("div", g, b), make("neg", make("div", make("mul", g, o), b))],
    "maximum": lambda make, g, o, a, b: [make("not_less", a, b, g), make("not_less", b, a, g)],
    "minimum": lambda make, g, o, a, b: [make("not_less", b, a, g), make("not_less", a, b, g)],
}


class Program:
    """The operations of a kernel, and what each pass reads and writes.

    - `ops`: the `forward_ops` forward operations, then the backward ones
    - `states`, `names`: the operations that are the new states, and the recorded values by name
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
        self._numbers: dict[Op, int] = {}
        new = self._lower()
        self.states = [new[i] for i in graph.outputs]
        self.names = {name: new[i] for name, i in graph.names.items()} if recorded else {}
        self.forward_ops = len(self.ops)
        self.products = [i for i, op in enumerate(self.ops) if op.kind == "product"]
        self.vectors = [op.detail for op in self.ops if op.kind == "vector"]
        self._reverse()

    def make(self, kind: str, *inputs: int | float, detail: object = None) -> int:
        """The number of an operation, added unless it is there. A float stands for a constant."""
        if kind != "constant":
            inputs = tuple(self.make("constant", detail=i) if isinstance(i, float) else i for i in inputs)
            zero = [self.ops[i] == Op("constant", (), 0.0) for i in inputs]
            if kind == "add" and any(zero):
                return int(inputs[zero.index(False)] if False in zero else inputs[0])
        op = Op(kind, inputs, detail)  # type: ignore[arg-type]
        if op not in self._numbers:
            self._numbers[op] = len(self.ops)
            self.ops.append(op)
        return self._numbers[op]

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
            if op.kind == "normalize":  # (v - mean) / sqrt(variance + 1e-5)
                (value,) = inputs
                centred = self.make("sub", value, self.make("mean", value))
                variance = self.make("mean", self.make("mul", centred, centred))
                new.append(self.make("mul", centred, self.make("rsqrt", self.make("add", variance, 1e-5))))
            else:
                new.append(self.make(op.kind, *inputs, detail=op.detail))
        return new

    def _reverse(self) -> None:
        adjoint: dict[int, int] = {}

        def add(to: int, g: int) -> None:
            adjoint[to] = self.make("add", adjoint[to], g) if to in adjoint else g

        for k, state in enumerate(self.states):
            add(state, self.make("seed", detail=k))
        for k, value in enumerate(self.names.values()):
            add(value, self.make("tapped", detail=k))
        zero = self.make("constant", detail=0.0)
        blocks: dict[int, list[int]] = {i: [zero] * (len(self.ops[i].detail) - 1) for i in self.products}
        reached: set[int] = set()
        for i in reversed(range(self.forward_ops)):
            op = self.ops[i]
            if op.kind == "product" and i in reached:
                add(op.inputs[0], self.make("back", *blocks[i], detail=i))
            elif i in adjoint and op.kind == "block":
                blocks[op.inputs[0]][op.detail] = adjoint[i]
                reached.add(op.inputs[0])
            elif i in adjoint and op.kind in RULES:
                for source, g in zip(op.inputs, RULES[op.kind](self.make, adjoint[i], i, *op.inputs), strict=True):
                    if self.ops[source].kind != "constant":
                        add(source, g)
        numbers = {(op.kind, op.detail): adjoint.get(i, zero) for i, op in enumerate(self.ops[: self.forward_ops])}
        sources = [("input", self.graph.gates), ("state", self.graph.states), ("vector", self.vectors)]
        self.gradients = {kind: [numbers.get((kind, name), zero) for name in names] for kind, names in sources}
        self.blocks = blocks
        self.columns = self._columns()
        self.runs = self._runs()

    def _columns(self) -> list[int]:
        """The adjoints of the gates in their order; then those of the products' blocks that are not among them. An
        adjoint that is both, as in an LSTM, is written once."""
        columns = list(self.gradients["input"])
        for needed in self.blocks.values():
            columns += [i for i in dict.fromkeys(needed) if i not in columns]
        return columns

    def _runs(self) -> list[tuple[int, int, int, int]]:
        runs: list[tuple[int, int, int, int]] = []
        for product, blocks in self.blocks.items():
            for block, adjoint in enumerate(blocks):
                column = self.columns.index(adjoint)
                last, first_block, first, length = runs[-1] if runs else (-1, 0, 0, 0)
                if (last, first_block + length, first + length) == (product, block, column):
                    runs[-1] = (product, first_block, first, length + 1)
                else:
                    runs.append((product, block, column, 1))
        return runs
