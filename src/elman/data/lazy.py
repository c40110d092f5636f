"""A value of a table that is identified by its name, and opened only when it is needed."""

from abc import ABC


class Lazy(ABC):
    """Two of a kind with the same `name` are the same value; the name has no folder of the machine in it, so that a
    split by its hash is the same everywhere."""

    name: str

    @property
    def origin(self) -> str | None:
        """Identifies its content among that of all values on this machine; None where computing it costs no more than
        keeping it."""
        return None

    @property
    def stamp(self) -> str:
        """The name, and what changes with the content."""
        return self.name

    def __str__(self) -> str:
        return self.name
