"""`elman eval`: the loss of a trained model."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

from elman.cli.log import log
from elman.cli.screen import shown
from elman.errors import UserError
from elman.options import PositiveInt, check
from elman.tokenizers.tokenizer import Unknown
from elman.training.device import find_device, find_precision
from elman.training.evaluate import evaluate
from elman.training.run import Which, newest
from elman.training.trained_model import load


@Parameter(name="*")
@dataclass(frozen=True)
class Evaluation:
    """What the loss is taken over, and how."""

    split: Literal["train", "valid", "test"] = "valid"
    """Which part of the text of the run."""
    reset: PositiveInt | None = None
    """Begin without a state every so many tokens, instead of carrying it through the whole part."""
    unknown: Unknown = "error"
    """What to do with a character of --text that the model never saw."""
    weights: Which = "best"
    """The best on the validation part, or the last."""
    device: str = "cpu"
    """Where to compute."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the products."""
    json: bool = False
    """Print JSON."""


def eval_(run: Path | None = None, /, *, text: str | None = None, evaluation: Evaluation = Evaluation()) -> None:
    """The loss of a trained model, in nats and bits a token, and what else is counted of its kind: F1, BLEU.

    Parameters
    ----------
    run
        The run folder; the newest in runs/ when not given.
    text
        Another text, as a whole, instead of a part of the run's own.
    """
    check(evaluation)
    model = load(run or newest(), evaluation.device, evaluation.weights)
    device = find_device(evaluation.device)
    source = model.task.source(
        model.config, evaluation.split, text, evaluation.reset, evaluation.unknown,
        log,
    )  # fmt: skip
    if source is None:
        raise UserError(f"{model.path} has no {evaluation.split} part: --split train, or --text FILE")
    precision = find_precision(evaluation.precision, device)
    sums = evaluate(model.task, source, device, precision, reset=evaluation.reset is not None)
    figures = {"loss": sums["loss"], "bits": sums["loss"] / math.log(2), "tokens": int(sums["tokens"])}
    judged = model.task.judge(source, model.config["data"])
    if evaluation.json:
        print(json.dumps(figures | judged))
    else:
        what, unit = text or f"the {evaluation.split} part", model.task.unit
        told = f"{figures['loss']:.4f} nats, {figures['bits']:.4f} bits a {unit} over {figures['tokens']:,} {unit}s"
        print(
            "; ".join(
                [f"{what}: {told}", *(f"{name} {shown(value)}" for name, value in judged.items() if shown(value))]
            )
        )
        for signature in judged.get("signatures", ()):
            print(signature)
