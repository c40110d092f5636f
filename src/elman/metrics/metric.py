"""The contract of a metric. To add one, write a file in this package that registers a `Metric`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from elman.registry import Registry

Compute = Callable[[Sequence[Any], Sequence[Any], Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class Metric:
    """Values that are computed from predictions and references.

    - name: unique, for the registry; the values have names of their own
    - kinds: the kinds of tasks that it is computed for
    - compute: `compute(predictions, references, labels)` returns values by name, as JSON. A prediction is a label
      (classify), a list of tags (tag), or a text (translate, caption); its reference is a label, a list of tags, or a
      list of all texts that count as right. `labels` are those that can be predicted
    """

    name: str
    kinds: tuple[str, ...]
    compute: Compute


METRICS: Registry[Metric] = Registry("metric", "elman.metrics")


def register(metric: Metric) -> Metric:
    """Makes a metric available, and returns it."""
    return METRICS.add(metric.name, metric)


def evaluate(
    kind: str, predictions: Sequence[Any], references: Sequence[Any], labels: Sequence[str] = ()
) -> dict[str, Any]:
    """The values of all metrics of a kind of task. `predictions[i]` belongs to `references[i]`."""
    found: dict[str, Any] = {}
    for metric in METRICS.all().values():
        if kind in metric.kinds:
            found |= metric.compute(predictions, references, labels)
    return found
