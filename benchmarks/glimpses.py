"""Quality of classification in glimpses on MNIST (Mnih et al. 2014); run by quality.py. `path` is the folder with the
IDX files: 60,000 images, a tenth of them for validation, and the 10,000 of the official test split."""

import tempfile
from pathlib import Path

from command import elman, evaluated, summary

SHORT = "5m"  # of the fully connected network
SIX = ("--glimpses", "6", "--glimpse-size", "8")
RANDOM = (*SIX, "--attention", "random")
TRANSLATED = ("--canvas-size", "60", "--glimpses", "6", "--glimpse-size", "12", "--scales", "3", "--cell", "lstm")
FULLY_CONNECTED = ("--encoder", "mlp", "--cell", "none", "--no-bidirectional", "--hidden", "256", "--pooling", "last",
                   "--batch-size", "128", "--dropout", "0.3", "--lr", "0.001")  # fmt: skip


def glimpse(path: Path, span: str) -> list[str]:
    """28 x 28, six glimpses of 8 x 8 at one scale; beside it a fully connected network of equal size."""
    baseline = _row("classify", path, SHORT, *FULLY_CONNECTED)
    return _table(path, [_row("glimpse", path, span, *SIX), baseline])


def random(path: Path, span: str) -> list[str]:
    """The same at random locations."""
    return _table(path, [_row("glimpse", path, span, *RANDOM)])


def translated(path: Path, span: str) -> list[str]:
    """Each image at a random position of 60 x 60, six glimpses of 12 x 12 at three scales."""
    return _table(path, [_row("glimpse", path, span, *TRANSLATED)])


def _row(kind: str, path: Path, span: str, *words: str) -> str:
    """Trains and evaluates; the test error in percent, that of the mean of sampled runs, and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        elman("train", kind, path, *words, "--for", span, "--out", run, "--no-preview")
        found, made = evaluated(run, "--split", "test"), summary(run)
    sampled = found.get("sampled_accuracy")
    values = [f"{kind} {' '.join(words)}", f"{100 - 100 * found['accuracy']:.2f}",
              "" if sampled is None else f"{100 - 100 * sampled:.2f}", f"{made['epochs']:.1f}",
              f"{made['train_seconds']:.0f}", f"{made['parameters']:,}"]  # fmt: skip
    return "| " + " | ".join(values) + " |"


def _table(path: Path, rows: list[str]) -> list[str]:
    return [
        f"`elman train OPTIONS {path.name} --for TIME`, then `elman eval RUN --split test`; one seed",
        "",
        "| options | test error, % | mean of 10 sampled runs, % | epochs | seconds | parameters |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
