"""`elman sample`: a trained model writes."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from elman.cells.tap import Record, hold, record
from elman.cli.log import log
from elman.decode.sampling import Sampling
from elman.errors import UserError
from elman.inspect.live import check_unit, valued
from elman.options import CountInt, PositiveFloat, PositiveInt, check
from elman.printable import printable
from elman.tokenizers.tokenizer import Unknown
from elman.training.run import Which, newest
from elman.training.trained_model import Model, load


@Parameter(name="*")
@dataclass(frozen=True)
class Writing:
    """What is written, and how it is shown."""

    prompt: str = ""
    """The text to go on from."""
    label: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """What is to be written, by a model that was trained with labels: Japanese, or country=Japan where there are
    several."""
    length: PositiveInt = 500
    """How many tokens to write."""
    stop: str | None = None
    """End after this text was written."""
    seed: CountInt | None = None
    """The same seed writes the same text."""
    num_samples: PositiveInt = 1
    """How many texts to write."""
    chars_per_second: PositiveFloat | None = None
    """Characters a second; as fast as it goes when not given."""
    hold: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """Hold a unit at a value while it writes, as in 1.c.137=1.0; may be given several times."""
    paint: str | None = None
    """Paint what is written by the value of a unit, as in 1.c.137: blue low, red high."""
    unknown: Unknown = "error"
    """What to do with a character of the prompt that the model never saw."""
    weights: Which = "best"
    """The best on the validation part, or the last."""
    device: str = "cpu"
    """Where to compute."""


def sample_(run: Path | None = None, /, *, writing: Writing = Writing(), how: Sampling = Sampling()) -> None:
    """Let a trained model write.

    Parameters
    ----------
    run
        The run folder; the newest in runs/ when not given.
    """
    check(writing, how)
    model = load(run or newest(), writing.device, writing.weights)
    write(model, writing, how)


def write(model: Model, writing: Writing, how: Sampling) -> None:
    """Writes to standard output: one stream as it comes, several one after the other."""
    if writing.paint and writing.num_samples > 1:
        raise UserError(f"--paint and --num-samples {writing.num_samples} exclude each other: one stream is painted")
    held = dict(map(_held, writing.hold))
    for unit in (*held, *filter(None, [writing.paint])):
        for layer in model.task.layers():
            check_unit(layer, unit)
    with hold(held), record() if writing.paint else nullcontext() as seen:
        pieces = model.stream(
            writing.prompt, writing.length, how, writing.seed, writing.stop, writing.unknown, writing.num_samples,
            log, writing.label,
        )  # fmt: skip
        if writing.num_samples > 1:
            texts = zip(*pieces, strict=True)
            sys.stdout.write("\n\n".join(_clean(writing.prompt + "".join(text)) for text in texts))
        elif writing.paint and seen is not None:
            _flow((piece for (piece,) in pieces), writing, _painted(model, writing, seen))
        else:
            sys.stdout.write(_clean(writing.prompt))
            _flow((piece for (piece,) in pieces), writing, lambda pieces: map(_clean, pieces))
    sys.stdout.write("\n")
    sys.stdout.flush()


def _flow(pieces: Iterable[str], writing: Writing, shown: Callable[[Iterable[str]], Iterable[str]]) -> None:
    """One stream as it comes."""
    began = time.monotonic()
    for count, text in enumerate(shown(pieces)):
        sys.stdout.write(text)
        if writing.chars_per_second:
            sys.stdout.flush()
            time.sleep(max(0.0, began + (count + 1) / writing.chars_per_second - time.monotonic()))
        elif count % 64 == 0:  # often enough to look steady, seldom enough to cost nothing
            sys.stdout.flush()


def _painted(model: Model, writing: Writing, seen: Record) -> Callable[[Iterable[str]], Iterable[str]]:
    """Each piece in the colour of the unit; the prompt is read first, and painted too."""
    from elman.inspect import painting  # not imported where nothing is painted
    from elman.inspect.gates import places

    unit = str(writing.paint)
    (layer,) = model.task.layers()
    decode, data = model.tokens.decoder(), model.config["data"]
    _, given, _ = model.task.opening(data, writing.prompt, writing.label, writing.unknown, lambda line: None)
    prompt = [decode(token) for token in given] if writing.prompt else []
    gate = unit.rpartition(".")[0] in places(layer)

    def paint(pieces: Iterable[str]) -> Iterator[str]:
        middle, far = 0.0, 0.0
        for count, (piece, value) in enumerate(valued(chain(prompt, pieces), seen, unit, 0 if prompt else len(given))):
            # what is to come is not known: a value is strong that is far from the middle of those before
            middle += (value - middle) / (count + 1)
            far += (abs(value - middle) - far) / (count + 1)
            shade = 2 * value - 1 if gate else (value - middle) / max(2.5 * far, painting.PALE)
            yield painting.terminal(piece, [max(-1.0, min(1.0, shade))] * len(piece))

    return paint


LARGEST = 1e30  # of a value to hold


def _held(text: str) -> tuple[str, float]:
    unit, equals, value = text.partition("=")
    try:
        if abs(float(value)) < LARGEST:  # no NaN either
            return unit, float(value)
        raise ValueError
    except ValueError:
        what = f"the value '{value}'" if equals else "no value"
        raise UserError(f"--hold {text} has {what}: write a unit and a number, as in 1.c.137=1.0") from None


def _clean(text: str) -> str:
    """What may go to a terminal."""
    return printable(text) if sys.stdout.isatty() else text
