"""`elman sample`: a trained model writes."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from elman.cli.screen import printable
from elman.data.tokens import Unknown
from elman.decode.sampling import Sampling
from elman.options import CountInt, PositiveFloat, PositiveInt, check
from elman.training.model import Model, load
from elman.training.run import Which, newest


@Parameter(name="*")
@dataclass(frozen=True)
class Writing:
    """What is written, and how it is shown."""

    prompt: str = ""
    """The text to go on from."""
    length: PositiveInt = 500
    """How many tokens to write."""
    stop: str | None = None
    """End after this text was written."""
    seed: CountInt | None = None
    """The same seed writes the same text."""
    streams: PositiveInt = 1
    """How many texts to write."""
    pace: PositiveFloat | None = None
    """Characters a second; as fast as it goes when not given."""
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
    clean = printable if sys.stdout.isatty() else str
    pieces = model.stream(
        writing.prompt, writing.length, how, writing.seed, writing.stop, writing.unknown, writing.streams,
        lambda line: print("elman:", line, file=sys.stderr),
    )  # fmt: skip
    texts = [[writing.prompt] for _ in range(writing.streams)]
    if writing.streams == 1:
        sys.stdout.write(clean(writing.prompt))
    shown = time.monotonic()
    for count, piece in enumerate(pieces):
        if writing.streams > 1:
            for text, new in zip(texts, piece, strict=True):
                text.append(new)
            continue
        sys.stdout.write(clean(piece[0]))
        if writing.pace:
            shown += len(piece[0]) / writing.pace
            sys.stdout.flush()
            time.sleep(max(0.0, shown - time.monotonic()))
        elif count % 64 == 0:  # often enough to look steady, seldom enough to cost nothing
            sys.stdout.flush()
    if writing.streams > 1:
        sys.stdout.write("\n\n".join(clean("".join(text)) for text in texts))
    sys.stdout.write("\n")
    sys.stdout.flush()
