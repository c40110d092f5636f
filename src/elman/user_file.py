"""A Python file of the user's own, named on the command line: a cell, a property of a text. Its path is never read from
a run, whose author may be somebody else."""

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from elman.errors import UserError


class _Loader(SourceFileLoader):
    """Writes no bytecode into the folder of the user's file."""

    def set_data(self, path: str, data: object, *, _mode: int = 0) -> None:
        """Called to write bytecode; does nothing."""


def run_file(path: Path, what: str) -> ModuleType:
    """Runs the file and returns its module; one that is the same as before is not run again, so that its classes are
    the same. Where it fails, the UserError names the line. `what` it defines is part of the message."""
    if not path.is_file():
        raise UserError(f"the {what} file {path} does not exist")
    key = (path.absolute(), path.read_bytes())
    if key not in _modules:
        _modules[key] = _run(path, what)
    return _modules[key]


_modules: dict[tuple[Path, bytes], ModuleType] = {}  # by path and text


def _run(path: Path, what: str) -> ModuleType:
    name = f"elman_user_{path.stem}"
    loader = _Loader(name, str(path.absolute()))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for the source of its classes and the names in their annotations
    try:
        loader.exec_module(module)
    except Exception as error:
        line = _line_in(error, path)
        message = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"the {what} file {path} fails{line}: {type(error).__name__}: {message}") from error
    return module


def _line_in(error: Exception, path: Path) -> str:
    """The line of the user's file that failed, as part of a sentence."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    frame, line = error.__traceback__, ""
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path.absolute()):
            line = f" in line {frame.tb_lineno}"
        frame = frame.tb_next
    return line
