"""Registries: objects by name, each declared in a file of its own."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Generic, TypeVar

from elman.errors import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """The objects of one kind by name: those that the modules of a package declare, imported when they are first
    needed, and those of any other module that was imported, such as a user's own file.

    - what: the kind, for messages
    - package: its modules call `add` when they are imported
    """

    def __init__(self, what: str, package: str):
        self.what, self.package = what, package
        self._found: dict[str, T] = {}

    def add(self, name: str, value: T) -> T:
        """Registers a value, which replaces one of the same name, and returns it."""
        self._found[name] = value
        return value

    def all(self) -> dict[str, T]:
        """All values by name, in the order of the names."""
        for info in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            importlib.import_module(f"{self.package}.{info.name}")
        return dict(sorted(self._found.items()))

    def names(self) -> Iterable[str]:
        """The valid names."""
        return self.all().keys()

    def find(self, name: str) -> T:
        """The value of that name. UserError, which gives the nearest valid name, where there is none."""
        if name not in self._found and name not in self.all():
            raise unknown(self.what, name, self.names())
        return self._found[name]
