"""A panel: one thing that was inspected."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from elman.inspect.blocks import Block


@dataclass(frozen=True, eq=False)
class Panel:
    """A section of a report.

    - name: of its section, and its key in report.json
    - summary: the result in one or two sentences
    - metrics: all values, for report.json
    - blocks: what is shown, in order
    - attachments: blocks that are written to image files but not shown in the page
    """

    name: str
    title: str
    summary: str
    metrics: dict[str, Any] = field(default_factory=dict)
    blocks: Sequence[Block] = ()
    attachments: Sequence[Block] = ()
