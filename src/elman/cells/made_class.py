"""Classes of cells that are made at run time, and how a cell of such a class is pickled."""

from typing import Any


def subclass(kind: type, made_by: tuple[Any, ...], **members: Any) -> type:
    """A cell of the same name and options with some members of its own. made_by: the function that makes this class
    with its arguments, for pickle."""
    own = {**members, "__doc__": kind.__doc__, "__module__": kind.__module__, "made_by": made_by}
    made = type(kind.__name__, (kind,), own)
    made.name = kind.name  # type: ignore[attr-defined]
    return made


class ClassOf:
    """Pickled in place of the class of a cell, which may have been made at run time."""

    def __init__(self, kind: type):
        self.kind = kind

    def __reduce__(self) -> Any:
        made_by = vars(self.kind).get("made_by")
        if made_by is None:
            return _itself, (self.kind,)
        function, *arguments = made_by
        return function, tuple(ClassOf(value) if isinstance(value, type) else value for value in arguments)


def _itself(kind: type) -> type:
    return kind


def new(kind: Any) -> Any:
    """An object of this class, without its attributes."""
    kind = kind.kind if isinstance(kind, ClassOf) else kind  # of copy.copy, which pickles nothing
    return kind.__new__(kind)
