"""The weights of a cell as its kernel reads them, and their gradients as it leaves them."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from elman.cells.size import HIDDEN, resolve
from elman.kernels.kernel import Kernel

LEAST_ROWS = 4  # of a thread


def padding(kernel: Kernel, inputs: int) -> int:
    """The columns of 0 that are appended to an input of this size: brgemm takes bfloat16 in pairs."""
    return inputs % 2 if kernel.dtype == torch.bfloat16 else 0


class PackedWeights:
    """The weights of a cell by name, packed for the products of its kernel."""

    def __init__(self, kernel: Kernel, weights: Mapping[str, Tensor], inputs: int, hidden: int):
        """inputs, hidden: the sizes of the layer."""
        self.kernel, self.program = kernel, kernel.program
        self.inputs, self.hidden, self.named = inputs, hidden, weights
        graph = self.program.graph
        self.output_size = kernel.output_size(hidden, inputs)
        self.parameters = [*self.named.values()]
        self.padding = padding(kernel, inputs)
        with torch.no_grad():
            self.b = self._bias().to(kernel.computed).contiguous()
            vectors = [self.named[name].to(kernel.computed) for name in self.program.vectors]
            self.vectors = torch.cat(vectors) if vectors else None
            rows = self._padded(self.named["W"]).split(self.sizes("input")) if graph.gates else []
            self.W = torch.cat([kernel.packed(gate, len(gate)) for gate in rows]) if rows else torch.empty(0)
            self.dense = {
                self.name(product): _dense(self.named[self.name(product)].detach(), *self._parts(product))
                for product in self.program.products
            }
            sizes = [self.resolve(self.program.ops[product].detail[0]) for product in self.program.products]
            self.forward = [
                kernel.packed(self.dense[self.name(product)], size)
                for product, size in zip(self.program.products, sizes, strict=True)
            ]

    @cached_property
    def backward(self) -> tuple[Tensor, list[Tensor]]:
        """W, and the blocks of a matrix of each of the program's runs, for the backward pass."""
        pieces = [self.rows(product, block, length) for product, block, _, length in self.program.runs]
        pieces = [self.dense[name][rows] for name, rows in pieces]
        W = self.kernel.packed(self._padded(self.named["W"])) if "W" in self.named else self.W
        return W, [self.kernel.packed(piece) for piece in pieces]

    def _bias(self) -> Tensor:
        """The bias of all gates, 0 for those without."""
        graph = self.program.graph
        parts = self.named["b"].split([*map(self.size_of, graph.bias)]) if graph.bias else ()
        given = dict(zip(graph.bias, parts, strict=True))
        zeros = torch.zeros(max(self.sizes("input"), default=0))
        return torch.cat([given.get(gate, zeros[: self.size_of(gate)]) for gate in graph.gates] or [zeros])

    def size_of(self, name: str) -> int:
        """The size of a gate or a state."""
        return self.resolve(self.program.graph.sizes.get(name, HIDDEN))

    def resolve(self, size: int | str | None) -> int:
        """A size in this layer."""
        assert size is not None
        return resolve(size, self.hidden, self.inputs)

    def sizes(self, array: str) -> list[int]:
        """The sizes of the values of an array of the kernel."""
        return self.kernel.sizes(array, self.hidden, self.inputs)

    def views(self, memory: Tensor, array: str, *shape: int) -> list[Tensor]:
        """The values (*shape, size) of an array, which has them one after another."""
        sizes, count = self.sizes(array), torch.Size(shape).numel()
        parts = memory.split([count * size for size in sizes]) if sizes else []
        return [part.view(*shape, size) for part, size in zip(parts, sizes, strict=True)]

    def memory(self, rows: int) -> dict[str, Tensor]:
        """The arrays of a call of one step of so many rows, without a backward pass."""
        kernel = self.kernel
        vectors = {} if self.vectors is None else {"vectors": self.vectors}
        return vectors | {
            "x": torch.zeros(1, rows, self.inputs + self.padding, dtype=kernel.dtype), "W": self.W, "bias": self.b,
            "y": torch.empty(1, rows, self.output_size, dtype=kernel.dtype),
            "state": torch.empty(2, sum(self.sizes("state")) * rows, dtype=kernel.computed),
            "stored": torch.empty(sum(self.sizes("stored")) * 2 * rows, dtype=kernel.dtype),
            "row_stored": torch.empty(len(kernel.schedule.row_stored), 2, rows, dtype=kernel.computed),
        }  # fmt: skip

    def one_step(self, rows: int, row_parts: int = 1) -> dict[str, int]:
        """The numbers of a call of one step, by one thread unless the rows are divided into parts."""
        shape = (1, rows, self.inputs + self.padding)
        return self.numbers(shape, (row_parts, 1), slots=2, y_row=self.output_size)

    def numbers(self, shape: Sequence[int], parts: tuple[int, int] = (1, 1), **others: int) -> dict[str, int]:
        """The numbers of a call. shape: of x (T, B, I); parts: of the rows, of the units."""
        T, B, I = shape
        common = {"T": T, "B": B, "I": I, "H": self.hidden, "row_parts": parts[0], "unit_parts": parts[1]}
        return common | {"reverse": 0, "slots": T, "y_step": 0, "y_row": 0, "seed": 0, "first_step": 0} | others

    def parts(self, rows: int) -> tuple[int, int]:
        """The number of parts of the rows, and of the units. Threads that share rows synchronize at each product."""
        threads, panels = torch.get_num_threads(), (self.hidden + 63) // 64
        if rows >= LEAST_ROWS * threads:
            return threads, 1
        return 1, 1 if self.kernel.schedule.whole_rows else min(threads, panels)

    def name(self, product: int) -> str:
        """The name of the matrix of a product."""
        return "_".join(self.program.ops[product].detail[2:])

    def rows(self, product: int, block: int, length: int) -> tuple[str, slice]:
        """Some blocks of a product: the name of the matrix, and its rows."""
        size = self.resolve(self.program.ops[product].detail[0])
        return self.name(product), slice(block * size, (block + length) * size)

    def part(self, product: int, length: int, gradient: Tensor) -> Tensor:
        """The gradient of some blocks of a matrix from that of the dense one."""
        heads = self._parts(product)[0]
        if heads == 1:
            return gradient
        of_heads = gradient.unflatten(0, (length, heads, -1)).unflatten(-1, (heads, -1))
        return torch.stack([of_heads[:, head, :, head] for head in range(heads)], 1).flatten(0, 2)

    def _parts(self, product: int) -> tuple[int, int]:
        """The heads and the blocks of a product."""
        detail = self.program.ops[product].detail
        return self.resolve(detail[1]), len(detail) - 3

    def _padded(self, W: Tensor) -> Tensor:
        return pad(W.detach(), (0, self.padding)) if self.padding else W.detach()


def _dense(matrix: Tensor, heads: int, blocks: int) -> Tensor:
    """A matrix (rows, columns) of which each block is block-diagonal, from its parts (rows, columns / heads)."""
    if heads == 1:
        return matrix
    of_blocks = matrix.unflatten(0, (blocks, heads, -1))
    return torch.cat([torch.block_diag(*parts) for parts in of_blocks])


class WeightGradients:
    """The gradients of the weights in the layout of a kernel: one after another, for each of the schedule's factors
    (columns, size of the left operand)."""

    def __init__(self, weights: PackedWeights, row_parts: int, width: int):
        """width: of x, padded."""
        self.weights, kernel, columns = weights, weights.kernel, weights.sizes("column")
        self.shapes = [(sum(columns[first : first + length]), width if left < 0 else weights.resolve(size))
                       for left, size, first, length in kernel.schedule.factors]  # fmt: skip
        size = sum(rows * columns for rows, columns in self.shapes)
        self.memory = {
            "products": torch.empty(row_parts, size, dtype=kernel.computed),
            "gradients": torch.empty(size, dtype=kernel.computed),
        }

    def of_parameters(self, sums: Tensor) -> list[Tensor]:
        """The gradient of each parameter of the cell; sums: those of bias and vectors, one after another."""
        weights, program = self.weights, self.weights.program
        gates = program.graph.gates
        factors = self.memory["gradients"].split([rows * columns for rows, columns in self.shapes])
        of_W, *of_runs = [factor.view(shape) for factor, shape in zip(factors, self.shapes, strict=True)]
        found = {"W": of_W[:, : of_W.shape[1] - weights.padding]}
        for (product, block, _, length), dense in zip(program.runs, of_runs, strict=True):
            name, rows = weights.rows(product, block, length)
            g, whole = weights.part(product, length, dense), weights.named[name]
            if g.shape == whole.shape and name not in found:
                found[name] = g
            else:
                found.setdefault(name, torch.zeros_like(whole, dtype=g.dtype))[rows] += g
        of_sums = sums.split(weights.sizes("sum"))
        of_gates = dict(zip(gates, of_sums, strict=False))
        biased = [of_gates[gate] for gate in program.graph.bias]
        found["b"] = torch.cat(biased) if biased else sums[:0]
        found |= dict(zip(program.vectors, of_sums[len(gates) :], strict=True))
        return [found[name] if name in found else torch.zeros_like(value) for name, value in weights.named.items()]
