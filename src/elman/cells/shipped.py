"""The cells of this package, found by their files."""

import importlib
import pkgutil

import elman.cells
from elman.cells.cell import Cell


def registered() -> dict[str, type[Cell]]:
    """All cells that have a name: those of this package, and those that a user's code has defined."""
    for module in pkgutil.iter_modules(elman.cells.__path__):
        importlib.import_module(f"elman.cells.{module.name}")
    return dict(sorted(Cell.registered.items()))


def shipped() -> dict[str, type[Cell]]:
    """The cells of this package by name: every module of `elman.cells` may define some."""
    return {name: kind for name, kind in registered().items() if kind.__module__.startswith("elman.cells.")}
