"""The options of a report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from elman.errors import UserError
from elman.options import CountInt, PositiveInt, changed
from elman.tokenizers.tokenizer import Log, Unknown

ALWAYS = ("no_text", "seed", "log")  # of every report


@dataclass(frozen=True)
class ReportOptions:
    """What a report covers, and what is left out. A kind of task declares which of them it takes."""

    text: str | None = None
    """A text or a table to read instead of the held-out data of the run."""
    language: str | None = None
    """Language of the text: python, c, latex, markdown or text; inferred when not given."""
    length: PositiveInt | None = None
    """How much is read; 40,000 tokens of a text, 2,000 rows of a table, 500 images of draw or 200 clips when not
    given."""
    unit: str | None = None
    """Only one unit, painted over the text, as in 1.c.137."""
    no_text: bool = False
    """Leave the text itself out of the report."""
    unknown: Unknown = "error"
    """What to do with a character of the text that the model does not know."""
    seed: CountInt = 0
    """Seed of all random choices."""
    properties: Sequence[Callable[[str], Any]] = ()
    """Properties of the user's own: functions of the text that give one value per character."""
    log: Log = lambda line: None
    """Where lines for the user go."""

    def check_taken(self, taken: Iterable[str], what: str) -> None:
        """Raises a UserError for an option that was given but is not taken by `what`."""
        for option in changed(self):
            if option not in (*ALWAYS, *taken):
                name = "property" if option == "properties" else option
                raise UserError(f"`{name}` does not go with {what}: leave it out")
