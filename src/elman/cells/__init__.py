"""Cells: recurrences written as their equations."""

from elman.cells.cell import Cell as Cell
