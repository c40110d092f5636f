"""The weights of a cell as its kernel reads them, and their gradients as it leaves them."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from elman.cells.cell import Cell
from elman.kernels.kernel import Kernel


class PackedWeights:
    """The weights of a cell, packed for the products of its kernel."""

    def __init__(self, cell: Cell, kernel: Kernel):
        self.kernel, self.program = kernel, kernel.program
        self.inputs, self.hidden = cell.input_size, cell.hidden_size
        self.matrices, self.vectors = cell.matrices(), cell.vectors()
        self.parameters = [cell.W, cell.b, *self.matrices.values(), *self.vectors.values()]
        self.padding = cell.input_size % 2 if kernel.dtype == torch.bfloat16 else 0  # brgemm takes bfloat16 in pairs
        with torch.no_grad():
            self.b = cell.b.to(kernel.computed)
            vectors = [self.vectors[name].to(kernel.computed) for name in self.program.vectors]
            self.stacked = torch.stack(vectors) if vectors else None
            self.W = kernel.packed(self._padded(cell.W), self.hidden)
        self.forward = [
            kernel.packed(self.matrices[name], self.hidden) for name in map(self.name, self.program.products)
        ]

    @cached_property
    def backward(self) -> tuple[Tensor, list[Tensor]]:
        """W, and the blocks of a recurrent matrix of each of the program's runs, for the backward pass."""
        pieces = [self.rows(product, block, length) for product, block, _, length in self.program.runs]
        pieces = [self.matrices[name][rows] for name, rows in pieces]
        return self.kernel.packed(self._padded(self.parameters[0])), [self.kernel.packed(piece) for piece in pieces]

    def memory(self, rows: int) -> dict[str, Tensor]:
        """The arrays of a call of one step of so many rows, without a backward pass."""
        kernel, shape = self.kernel, (rows, self.hidden)
        vectors = {} if self.stacked is None else {"vectors": self.stacked}
        return vectors | {
            "x": torch.zeros(1, rows, self.inputs + self.padding, dtype=kernel.dtype), "W": self.W, "bias": self.b,
            "y": torch.empty(1, *shape, dtype=kernel.dtype),
            "state": torch.empty(2, len(self.program.states), *shape, dtype=kernel.computed),
            "stored": torch.empty(len(kernel.schedule.stored), 2, *shape, dtype=kernel.dtype),
            "row_stored": torch.empty(len(kernel.schedule.row_stored), 2, rows, dtype=kernel.computed),
        }  # fmt: skip

    def one_step(self, rows: int) -> dict[str, int]:
        """The numbers of a call of one step, by one thread."""
        return self.numbers((1, rows, self.inputs + self.padding), slots=2, y_row=self.hidden)

    def numbers(self, shape: Sequence[int], parts: tuple[int, int] = (1, 1), **others: int) -> dict[str, int]:
        """The numbers of a call. shape: of x (T, B, I); parts: of the rows, of the units."""
        T, B, I = shape
        common = {"T": T, "B": B, "I": I, "H": self.hidden, "row_parts": parts[0], "unit_parts": parts[1]}
        return common | {"reverse": 0, "slots": T, "y_step": 0, "y_row": 0} | others

    def parts(self, rows: int) -> tuple[int, int]:
        """The number of parts of the rows, and of the units. Threads that share rows synchronize at each product, and a
        mean over the units cannot be shared."""
        threads, panels = torch.get_num_threads(), (self.hidden + 63) // 64
        if rows >= 4 * threads:
            return threads, 1
        return 1, 1 if self.kernel.schedule.of_rows else min(threads, panels)

    def name(self, product: int) -> str:
        """The name of the matrix of a product."""
        return "_".join(self.program.ops[product].detail)

    def rows(self, product: int, block: int, length: int) -> tuple[str, slice]:
        """Some blocks of a product: the name of the matrix, and its rows."""
        return self.name(product), slice(block * self.hidden, (block + length) * self.hidden)

    def _padded(self, W: Tensor) -> Tensor:
        return pad(W.detach(), (0, self.padding)) if self.padding else W


class WeightGradients:
    """The gradients of the weights in the layout of a kernel: one after another, for each of the schedule's factors
    (columns, width of the left operand)."""

    def __init__(self, weights: PackedWeights, row_parts: int, width: int):
        """width: of x, padded."""
        self.weights, kernel, hidden = weights, weights.kernel, weights.hidden
        self.shapes = [(length * hidden, width if left < 0 else hidden) for left, _, length in kernel.schedule.factors]
        size = sum(rows * columns for rows, columns in self.shapes)
        self.memory = {
            "products": torch.empty(row_parts, size, dtype=kernel.computed),
            "gradients": torch.empty(size, dtype=kernel.computed),
        }

    def of_parameters(self, sums: Tensor) -> list[Tensor]:
        """The gradient of each parameter of the cell; sums (gates and vectors, H): those of bias and vectors."""
        weights, program = self.weights, self.weights.program
        gates = len(program.graph.gates)
        factors = self.memory["gradients"].split([rows * columns for rows, columns in self.shapes])
        of_W, *of_runs = [factor.view(shape) for factor, shape in zip(factors, self.shapes, strict=True)]
        of_matrices: dict[str, Tensor] = {}
        for (product, block, _, length), g in zip(program.runs, of_runs, strict=True):
            name, rows = weights.rows(product, block, length)
            if g.shape == weights.matrices[name].shape and name not in of_matrices:
                of_matrices[name] = g
            else:
                of_matrices.setdefault(name, torch.zeros_like(weights.matrices[name], dtype=g.dtype))[rows] += g
        of_vectors = dict(zip(program.vectors, sums[gates:], strict=True))
        return [
            of_W[:, : of_W.shape[1] - weights.padding], sums[:gates].flatten(),
            *[of_matrices[name] for name in weights.matrices], *[of_vectors[name] for name in weights.vectors],
        ]  # fmt: skip
