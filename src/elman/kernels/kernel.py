"""A compiled program, called with tensors."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from elman.cells.graph import Graph
from elman.cells.size import HIDDEN, resolve
from elman.kernels.compiler import NoKernel, load
from elman.kernels.printer import print_kernel
from elman.kernels.program import Program
from elman.kernels.schedule import Schedule

MOST_OPS = 500  # of a graph: the compiler takes some 10 s for so many
NUMBERS = ("T", "B", "H", "I", "row_parts", "unit_parts", "reverse", "slots", "y_step", "y_row", "seed",
           "first_step")  # fmt: skip
TENSORS = ("lengths", "reset", "x", "W", "bias", "inputs", "input_gradient", "y", "state", "initial", "stored",
           "row_stored", "temporaries", "row_temporaries", "results", "matrices", "vectors", "columns", "sums", "taps",
           "products", "gradients")  # fmt: skip


class Call(ctypes.Structure):
    """The arguments of a kernel: `Call` of runtime/call.hpp, which describes them."""

    _fields_ = [(name, ctypes.c_int64) for name in NUMBERS] + [(name, ctypes.c_void_p) for name in TENSORS]


class Kernel:
    """The kernel of an equation for one dtype. Raises NoKernel where there can be none.

    dtype: of what is stored and multiplied; all else is computed in `computed`, float32 for bfloat16.
    """

    def __init__(self, graph: Graph, dtype: torch.dtype, recorded: bool = False):
        if len(graph.ops) > MOST_OPS:
            raise NoKernel(f"its equation has {len(graph.ops):,} operations, more than {MOST_OPS}")
        self.program = Program(graph, recorded)
        self.dtype = dtype
        self.computed = torch.float64 if dtype == torch.float64 else torch.float32
        self.schedule = Schedule(self.program)
        self._sizes: dict[tuple[str, int, int], list[int]] = {}
        self.library = load(print_kernel(self.schedule, str(dtype).removeprefix("torch.")))
        if not self.library.supported():
            raise NoKernel("torch has no product of this kind for this processor")

    def sizes(self, array: str, hidden: int, inputs: int) -> list[int]:
        """The sizes of the values of an array of the schedule's layout, in a layer with so many units and inputs."""
        known = self._sizes.get((array, hidden, inputs))
        if known is None:
            known = [resolve(size, hidden, inputs) for size in self.schedule.layout[array]]
            self._sizes[array, hidden, inputs] = known
        return known

    def output_size(self, hidden: int, inputs: int) -> int:
        """The size of an output, in a layer with so many units and inputs."""
        graph = self.program.graph
        return resolve(graph.sizes.get(graph.output or graph.states[0], HIDDEN), hidden, inputs)

    def packed(self, matrix: Tensor, block: int | None = None) -> Tensor:
        """A right factor (rows, columns) in the order in which a product reads it; with `block` its transpose, in
        blocks of so many columns. See `pack_panels` in runtime/products.hpp."""
        matrix = matrix.detach().to(self.computed).contiguous()
        packed = torch.empty(matrix.numel(), dtype=self.dtype)
        rows, columns = matrix.shape
        self.library.pack(
            *map(ctypes.c_void_p, (matrix.data_ptr(), packed.data_ptr())),
            *map(ctypes.c_int64, (rows, columns, block or columns)), ctypes.c_int(block is not None),
            ctypes.c_int64(torch.get_num_threads()),
        )  # fmt: skip
        return packed

    def run(
        self, name: str, numbers: dict[str, int], tensors: Mapping[str, Tensor | None], matrices: list[Tensor]
    ) -> None:
        """Calls `forward`, `backward` or `weight_gradients`."""
        call, _ = self.call(numbers, tensors, matrices)
        self.start(name, call)

    def start(self, name: str, *arguments: ctypes.Structure | ctypes.Array[Any]) -> None:
        """Calls a function of the library."""
        self.prepared(name, *arguments)()

    def prepared(self, name: str, *arguments: ctypes.Structure | ctypes.Array[Any]) -> Callable[[], None]:
        """A call of a function of the library that can be repeated, as long as its arguments live."""
        function, pointers = getattr(self.library, name), [*map(ctypes.byref, arguments)]

        def start() -> None:
            if function(*pointers):
                raise RuntimeError("torch's brgemm failed in a kernel")

        return start

    def call(
        self, numbers: dict[str, int], tensors: Mapping[str, Tensor | None], matrices: list[Tensor]
    ) -> tuple[Call, tuple[dict[str, Tensor], object]]:
        """The arguments of a call, and what must outlive it; scratch memory is allocated here."""
        rows, size = numbers["B"], lambda array: sum(self.sizes(array, numbers["H"], numbers["I"]))
        sizes = {"temporaries": size("temporary"), "results": max(size("result"), size("back")),
                 "inputs": min(numbers["T"], 32) * size("input"),  # of at most so many steps at a time
                 "row_temporaries": self.schedule.row_temporaries}  # fmt: skip
        scratch = {key: torch.empty(size * rows, dtype=self.computed) for key, size in sizes.items()}
        pointers = (ctypes.c_void_p * max(1, len(matrices)))(*[matrix.data_ptr() for matrix in matrices])
        addresses = {key: value.data_ptr() for key, value in {**tensors, **scratch}.items() if value is not None}
        return Call(**numbers, **addresses, matrices=ctypes.addressof(pointers)), (scratch, pointers)
