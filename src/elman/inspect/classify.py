"""The report of a classifier: what it confuses, its predictions for every prefix of a row that is a sequence, and what
its pooling selects."""

from collections.abc import Iterator

import numpy as np

from elman.inspect.confusion import Confusion
from elman.inspect.curves import training
from elman.inspect.panel import Panel
from elman.inspect.pooled import pooled
from elman.inspect.predictions import Predictions
from elman.inspect.prefix_predictions import PrefixPredictions
from elman.inspect.report_options import ReportOptions
from elman.training.trained_model import TrainedModel

TAKES = ("text", "length")


def panels(model: TrainedModel, options: ReportOptions) -> Iterator[Panel]:
    """Every panel of the report."""
    here = Predictions(model, options)
    yield Confusion(here.spec.labels.labels, np.array(here.metrics["confusion"]), model.task.unit).panel()
    if here.source.has_steps("input"):
        prefixes = PrefixPredictions(here)
        yield prefixes.panel()
        if not options.no_text and (panel := pooled(prefixes)) is not None:
            yield panel
    if (gates := here.gates(here.network.recurrent)) is not None:
        yield gates
    yield from training(model.run, options.log)
