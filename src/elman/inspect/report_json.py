"""Reports as JSON: every value that was measured."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.inspect.panel import Panel


def to_json(panels: Sequence[Panel]) -> dict[str, Any]:
    """The summary and the metrics of each panel, by name."""
    return {panel.name: plain({"title": panel.title, "summary": panel.summary} | panel.metrics) for panel in panels}


def plain(value: Any) -> Any:
    """Arrays as lists, numbers with six digits; what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
