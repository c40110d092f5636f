"""Labels over time as spans, and as one label a frame."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from elman.errors import UserError

TOLERANCE = 1e-3  # seconds: tables have rounded times


@dataclass(frozen=True)
class Span:
    """From `start` to before `end`, in seconds. where: its row in a table, for messages."""

    start: float
    end: float
    label: str
    where: str = ""

    @classmethod
    def parse(cls, start: str, end: str, label: str, where: str) -> "Span":
        """The span in a row of a table. UserError unless 0 <= start < end."""
        found = cls(_seconds(start, "start", where), _seconds(end, "end", where), label, where)
        if not 0 <= found.start < found.end:
            raise UserError(
                f"{where} has a span from {start} to {end}: it must start at 0 or later, and end after that"
            )
        return found

    def __str__(self) -> str:
        return f"{self.start:.2f} to {self.end:.2f} s"


@dataclass(frozen=True)
class Spans:
    """The spans of a clip, in order of time, none over another."""

    spans: tuple[Span, ...]

    @classmethod
    def of(cls, spans: Sequence[Span]) -> "Spans":
        """UserError where two overlap."""
        ordered = sorted(spans, key=lambda span: span.start)
        for first, second in pairwise(ordered):
            if second.start < first.end - TOLERANCE:
                late, early = sorted((first, second), key=spans.index, reverse=True)
                raise UserError(f"{late.where} has a span, {late}, that overlaps that of {early.where}, {early}")
        return cls(tuple(ordered))

    @property
    def stamp(self) -> str:
        """Their content, for the key of a table."""
        return " ".join(f"{span.start:g} {span.end:g} {span.label}" for span in self.spans)

    def at(self, times: np.ndarray, end: float, background: str) -> list[str]:
        """The label of each frame at these times (T,); that of gaps is `background`. UserError for a span that ends
        after `end`, the end of the clip, by more than a frame."""
        frame = end - float(times[-1])
        for span in self.spans:
            if span.end > end + frame + TOLERANCE:
                raise UserError(f"{span.where} has a span, {span}, that lies outside of its clip, which ends at "
                                f"{end:.2f} s")  # fmt: skip
        found = [background] * len(times)
        for span in self.spans:
            begin, stop = np.searchsorted(times, np.array([span.start, span.end]) - TOLERANCE)
            found[begin:stop] = [span.label] * (stop - begin)
        return found


def _seconds(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where} has the {name} '{text}': expected a number of seconds")
    return value


def runs(labels: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Runs of equal labels: first frame, frame after the last, and label."""
    begin = 0
    for index in range(1, len(labels) + 1):
        if index == len(labels) or labels[index] != labels[begin]:
            yield begin, index, labels[begin]
            begin = index
