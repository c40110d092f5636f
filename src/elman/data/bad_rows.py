"""Rows that cannot be used: the first is an error, or all are left out and counted."""

from elman.errors import UserError


class BadRows:
    """Called with a row and what is wrong with it. With `skip` the row is to be left out."""

    def __init__(self, skip: bool):
        self.skip, self.count, self.first = skip, 0, ""

    def __call__(self, row: str, problem: str) -> None:
        if not self.skip:
            raise UserError(f"{row} {problem}; --skip-bad leaves such rows out")
        self.count, self.first = self.count + 1, self.first or f"{row} {problem}"

    def notes(self, name: str) -> list[str]:
        rows = "1 bad row" if self.count == 1 else f"{self.count:,} bad rows"
        return [f"{name}: {rows} left out, the first: {self.first}"] if self.count else []
