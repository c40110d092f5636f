"""The data and the metrics of a trained model on a table."""

from typing import Any

from elman.training.trained_model import TrainedModel


def source(trained: TrainedModel, split: str | None = "valid", *paths: object) -> Any:
    """A split of the data of a run, or all of other data, read again."""
    named = [str(path) for path in paths] or trained.run.data_paths()
    return trained.task.source(trained.spec, named, split)


def measure(trained: TrainedModel, split: str = "valid", limit: int | None = None) -> dict[str, Any]:
    """The metrics of a run on a split of its data."""
    return trained.task.measure(trained.model, source(trained, split), limit)  # type: ignore[attr-defined]
