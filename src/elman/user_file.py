"""A Python file of the user's own, which the command line names: a cell, a property of a text."""

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from elman.errors import UserError


class _Loader(SourceFileLoader):
    """Leaves nothing beside the user's file."""

    def set_data(self, path: str, data: object, *, _mode: int = 0) -> None:
        """Where bytecode would be written."""


def run_file(path: Path, what: str) -> ModuleType:
    """Runs the file and returns it as a module. Where it fails, the error names its line; `what` is what it holds."""
    if not path.is_file():
        raise UserError(f"the {what} file {path} does not exist")
    name = f"elman_user_{path.stem}"
    loader = _Loader(name, str(path.absolute()))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where Python looks for a class's source and the names in its annotations
    try:
        loader.exec_module(module)
    except Exception as error:
        line = _line_in(error, path)
        told = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"the {what} file {path} fails{line}: {type(error).__name__}: {told}") from error
    return module


def _line_in(error: Exception, path: Path) -> str:
    """Where in the user's file it went wrong."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    frame, line = error.__traceback__, ""
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path.absolute()):
            line = f" in line {frame.tb_lineno}"
        frame = frame.tb_next
    return line
