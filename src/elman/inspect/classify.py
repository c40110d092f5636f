"""The report of a classifier: what it confuses, and what it would say after each word."""

from collections.abc import Iterator

import numpy as np

from elman.inspect.confusion import Confusion
from elman.inspect.curves import training
from elman.inspect.look import Look
from elman.inspect.panel import Panel
from elman.inspect.pooled import pooled
from elman.inspect.predictions import Predictions
from elman.inspect.prefix_predictions import PrefixPredictions
from elman.tasks.classify import Classify
from elman.training.trained_model import Model

TAKES = ("text", "length")


def panels(model: Model, look: Look) -> Iterator[Panel]:
    """Every panel of the report, one after another."""
    here = Predictions(model, look)
    assert isinstance(here.task, Classify)
    found = Confusion(here.config["labels"], np.array(here.judged["confusion"]), here.task.unit)
    yield Panel("confusion", "What is confused", found.says(), found.figures(), {"confusion": found.chart()},
                found.body())  # fmt: skip
    running = PrefixPredictions(here, here.task)
    yield running.panel()
    if not look.quiet and running.tokens is not None and (words := pooled(running)) is not None:
        yield words
    if (gates := here.gates(here.task.recurrent)) is not None:
        yield gates
    yield from training(model.run, look.log)
