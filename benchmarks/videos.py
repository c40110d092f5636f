"""Quality of labels of generated clips, in which a single frame does not tell the label; run by quality.py."""

import tempfile
from pathlib import Path

from command import SEEDS, elman, evaluated, summary

CLIPS, ONE_LABEL = "builtin:clips", "builtin:clip_labels"
WITHOUT = ("--cell", "none")  # recurrence


def clips(path: Path | None, span: str) -> list[str]:
    """A label for each frame, with recurrence and without; one seed."""
    rows = [_row(CLIPS, span, 0, words, ("accuracy", "edit", "f1_10", "f1_25", "f1_50")) for words in ((), WITHOUT)]
    return _table(["options", "frames right", "edit score", "F1 at 10 %", "25 %", "50 %", "epochs"], span, CLIPS, rows)


def clip_labels(path: Path | None, span: str) -> list[str]:
    """One label for each clip, three seeds."""
    rows = [_row(ONE_LABEL, span, seed, (), ("accuracy", "macro_f1")) for seed in SEEDS]
    return _table(["options", "clips right", "macro-F1", "epochs"], span, ONE_LABEL, rows)


def _row(data: str, span: str, seed: int, words: tuple[str, ...], names: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        elman("train", "video", data, *words, "--seed", str(seed), "--for", span, "--out", run, "--no-preview")
        found, made = evaluated(run, "--split", "test"), summary(run)
    shown = [" ".join(("--seed", str(seed), *words)), *(f"{found[name]:.4f}" for name in names)]
    return "| " + " | ".join([*shown, f"{made['epochs']:.1f}"]) + " |"


def _table(head: list[str], span: str, data: str, rows: list[str]) -> list[str]:
    return [
        f"`elman train video {data} OPTIONS --for {span}`, then `elman eval RUN --split test`",
        "",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *rows,
    ]
