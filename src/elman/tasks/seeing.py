"""What tasks share that see pictures."""

from dataclasses import dataclass

from cyclopts import Parameter

from elman.options import PositiveInt
from elman.tasks.tables import TableTaskOptions


@Parameter(name="*")
@dataclass(frozen=True)
class SeeingOptions(TableTaskOptions):
    """How pictures are read."""

    image_column: str | None = None
    """The column of the pictures; the one that has some when not given."""
    size: PositiveInt = 64
    """Pixels to a side: every picture is brought to this size."""
