"""`elman eval`: the loss and the metrics of a trained model."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from elman.cli.log import log
from elman.cli.output import as_json, for_line, metric
from elman.cli.parameters import command
from elman.errors import UserError
from elman.options import PositiveInt, check
from elman.tasks.capabilities import Measures
from elman.tasks.task import Reading
from elman.tokenizers.tokenizer import Unknown
from elman.training.device import find_device, find_precision
from elman.training.evaluate import evaluate
from elman.training.run import Which, newest
from elman.training.trained_model import load


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    split: Literal["train", "valid", "test"] = "valid"
    """The split of the data of the run."""
    text: str | None = None
    """Other data, all of it, instead of a split of the run's own."""
    reset: PositiveInt | None = None
    """Reset the state after so many tokens, instead of carrying it through the whole text."""
    unknown: Unknown = "error"
    """What to do with a character that the model does not know."""
    cell: str | None = None
    """FILE.py:NAME of a cell that could not be traced into an equation."""
    weights: Which = "best"
    """The best weights on the validation split, or the last."""
    device: str = "cpu"
    """Device to compute on."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of matrix products."""
    json: bool = False
    """Print JSON."""


@command
def eval_(run: Path | None = None, /, *paths: str, options: EvaluationOptions = EvaluationOptions()) -> None:
    """Evaluate a trained model: the mean loss, in bits too where it is in nats, and metrics such as F1 and BLEU.

    Parameters
    ----------
    run
        The run folder; the newest in runs/ when not given.
    paths
        The data of the run, where it was not trained on this machine.
    """
    check(options)
    if options.text is not None and paths:
        raise UserError(f"`text` {options.text} and {paths[0]} exclude each other")
    model = load(run or newest(), options.device, options.weights, options.cell)
    reading = Reading(options.unknown, options.reset, log)
    if options.text is None:
        source = model.source(options.split, paths, reading, f"elman eval {model.path} PATH")
    else:
        source = model.task.source(model.spec, [options.text], None, reading)
    if source is None:
        raise UserError(f"{model.path} has no {options.split} split: `split` train, or `text` FILE")
    precision = find_precision(options.precision, find_device(options.device))
    found = evaluate(model.model, source, precision, reset=options.reset is not None)
    values: dict[str, Any] = {**found.means, "count": found.count}
    if model.task.nats:
        values["bits"] = found.loss / math.log(2)
    metrics = model.task.measure(model.model, source) if isinstance(model.task, Measures) else {}
    if options.json:
        print(as_json(values | metrics))
    else:
        _report(options.text or f"{options.split} split", model.task.unit, values, metrics)


def _report(what: str, unit: str, values: dict[str, Any], metrics: dict[str, Any]) -> None:
    loss, count = values.pop("loss"), values.pop("count")
    bits = f" nats, {values.pop('bits'):.4f} bits per {unit}" if "bits" in values else ""
    parts = [f"loss {loss:.4f}{bits}", *(metric(name, value) for name, value in (values | metrics).items())]
    print(for_line(f"{what}: {' · '.join(filter(None, parts))} · {count:,} {unit}s"))
    for signature in metrics.get("signatures", ()):
        print(for_line(str(signature)))
