"""Rows that cannot be used: the first raises a UserError, or all are skipped and counted."""

from elman.errors import UserError


class BadRows:
    """Called with a row and its problem. With `skip` the caller leaves the row out."""

    def __init__(self, skip: bool):
        self.skip, self.count, self.first = skip, 0, ""

    def __call__(self, row: str, problem: str) -> None:
        if not self.skip:
            raise UserError(f"{row} {problem}; `skip_bad` skips such rows")
        self.count, self.first = self.count + 1, self.first or f"{row} {problem}"

    def notes(self, name: str) -> list[str]:
        """A line to log, if any row was skipped."""
        rows = "1 bad row" if self.count == 1 else f"{self.count:,} bad rows"
        return [f"{name}: {rows} skipped, the first: {self.first}"] if self.count else []
