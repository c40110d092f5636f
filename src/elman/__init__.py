"""elman trains, samples, looks inside and ships recurrent networks."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from elman.cells.cell import Cell as Cell
    from elman.cells.tap import hold as hold
    from elman.cells.tap import record as record
    from elman.cells.tap import tap as tap
    from elman.errors import UserError as UserError
    from elman.inspect.report import report as report
    from elman.recurrent.layer import Recurrent as Recurrent
    from elman.training.api import load as load
    from elman.training.api import train as train

_HOME = {
    "Cell": "elman.cells.cell",
    "Recurrent": "elman.recurrent.layer",
    "UserError": "elman.errors",
    "hold": "elman.cells.tap",
    "load": "elman.training.api",
    "report": "elman.inspect.report",
    "record": "elman.cells.tap",
    "tap": "elman.cells.tap",
    "train": "elman.training.api",
}
__all__ = ["Cell", "Recurrent", "UserError", "__version__", "hold", "load", "record", "report", "tap", "train"]


def __getattr__(name: str) -> Any:
    # imported when first used, so that `elman --help` need not wait for torch
    if name not in _HOME:
        raise AttributeError(f"module 'elman' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)
