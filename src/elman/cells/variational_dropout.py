"""Variational dropout of the recurrent products of any cell."""

import functools
from typing import Any

from elman.cells.cell import Cell
from elman.cells.made_class import subclass


@functools.cache
def with_variational_dropout(kind: type[Cell], p: float) -> type[Cell]:
    """A cell with dropout of what its recurrent matrices are multiplied by, with the same mask in every step of a
    sequence, and for all gates of a product.

    Gal & Ghahramani 2016, arXiv 1512.05287, equation 7, tied weights. Whatever the state does without a matrix (the
    carry of a GRU) is unaffected. The input is dropped by `Recurrent`.
    """

    def recur(self: Cell, *gates: str, of: Any, **options: Any) -> Any:
        return kind.recur(self, *gates, of=self.dropout(of, p, "sequence"), **options)

    return subclass(kind, (with_variational_dropout, kind, p), recur=recur)
