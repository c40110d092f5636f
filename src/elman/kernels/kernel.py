"""A compiled program, called with tensors."""

import ctypes
from collections.abc import Mapping

import torch
from torch import Tensor

from elman.cells.graph import Graph
from elman.kernels.compiler import NoKernel, load
from elman.kernels.program import Program
from elman.kernels.source import Source

NUMBERS = ("T", "B", "H", "row_parts", "column_parts", "reverse", "places", "y_stride")
TENSORS = ("lengths", "fresh", "x", "y", "state", "initial", "stored", "row_stored", "kept", "row_kept", "results",
           "matrices", "vectors", "columns", "sums", "taps")  # fmt: skip


class Call(ctypes.Structure):
    """`Call` of frame.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in NUMBERS] + [(name, ctypes.c_void_p) for name in TENSORS]


class Kernel:
    """The kernel of an equation for one dtype. Raises NoKernel when there can be none.

    dtype: what is stored and multiplied; all else is computed in `computed`, float32 for bfloat16.
    """

    def __init__(self, graph: Graph, dtype: torch.dtype, recorded: bool = False):
        self.program = Program(graph, recorded)
        self.dtype = dtype
        self.computed = torch.float64 if dtype == torch.float64 else torch.float32
        self.source = Source(self.program, str(dtype).removeprefix("torch."))
        self.library = load(self.source.text)

    def packed(self, matrix: Tensor, across: bool = False) -> Tensor:
        """A right factor, or with `across` the transpose of one, in the order in which a product reads it; see `pack`
        in frame.hpp."""
        matrix = matrix.detach().to(self.computed).contiguous()
        made = torch.empty(matrix.numel(), dtype=self.dtype)
        rows, columns = matrix.shape
        block = columns if not across else min(rows, columns)
        self.library.pack(*map(ctypes.c_void_p, (matrix.data_ptr(), made.data_ptr())),
                          *map(ctypes.c_int64, (rows, columns, block)), ctypes.c_int(across))  # fmt: skip
        return made

    def run(self, name: str, numbers: Mapping[str, int], tensors: Mapping[str, Tensor | None],
            matrices: list[Tensor]) -> None:  # fmt: skip
        """Calls `forward` or `backward`. What the pass needs only while it runs is made here."""
        rows, hidden = numbers["B"], numbers["H"]
        scratch = torch.empty((self.source.kept + self.source.blocks) * rows * hidden, dtype=self.computed)
        row_scratch = torch.empty(self.source.row_kept * rows, dtype=self.computed)
        pointers = (ctypes.c_void_p * max(1, len(matrices)))(*[matrix.data_ptr() for matrix in matrices])
        addresses = {name: value.data_ptr() for name, value in tensors.items() if value is not None}
        addresses |= {
            "kept": scratch.data_ptr(),
            "results": scratch[self.source.kept * rows * hidden :].data_ptr(),
            "row_kept": row_scratch.data_ptr(),
            "matrices": ctypes.addressof(pointers),
        }
        if getattr(self.library, name)(ctypes.byref(Call(**numbers, **addresses))):
            raise RuntimeError(f"the kernel of {self.program.graph.gates} failed in torch's brgemm")


__all__ = ["Kernel", "NoKernel"]
