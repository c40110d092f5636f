"""Quality of the tasks that take images; run by quality.py."""

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from command import elman, evaluated, peak_anonymous
from command import summary as read_summary

SCENES = "builtin:scenes:count=30000"
QUESTIONS = "builtin:scene_questions:count=30000"
ATTENTION = ("--decoder", "soft"), ("--decoder", "hard")
PLAIN = tuple(("--decoder", "plain", "--image-enters", way) for way in ("add", "state", "first"))
FEW, MANY = 2_000, 100_000  # images of the two folders whose memory is compared


def attention(path: Path | None, span: str) -> list[str]:
    """Captions of scenes with soft and with hard attention."""
    return captions(ATTENTION, span)


def plain(path: Path | None, span: str) -> list[str]:
    """Captions of scenes without attention, by where the image enters."""
    return captions(PLAIN, span)


def captions(decoders: Sequence[tuple[str, ...]], span: str) -> list[str]:
    """Metrics of the captions of scenes for some decoders."""
    lines = []
    for words in decoders:
        found, summary = trained("caption", SCENES, span, *words)
        cells = [f"`{' '.join(words)}`", f"{summary['epochs']:.1f}", f"{found['loss']:.3f}"]
        for pair in ("seen", "unseen"):
            metrics = found["by_pair"][pair]
            cells += [f"{metrics['true']:.4f}", f"{metrics['bleu4']:.1f}", f"{metrics['cider']:.2f}"]
        lines.append("| " + " | ".join([*cells, on_objects(found)]) + " |")
    return [
        f"`elman train caption {SCENES} DECODER --for {span}`, then `elman eval RUN --split test`: greedy "
        "captions of 3,000 scenes with pairs of colour and shape that are in the training split, and 3,000 with pairs "
        "that are not; one seed",
        "",
        "| decoder | epochs | loss, nats per token | true, known pairs | BLEU-4 | CIDEr-D "
        "| true, unknown pairs | BLEU-4 | CIDEr-D | attention on the named object |",
        "|---" * 10 + "|",
        *lines,
        "",
        "True: a parser of the sentence finds it true of the scene. Attention: the sum of the weights on the object "
        "that is named, at the last word of its name, and its ratio to that of uniform weights.",
    ]


def on_objects(metrics: dict[str, Any]) -> str:
    """The attention on named objects, and its ratio to uniform attention."""
    if "attention" not in metrics:
        return ""
    return f"{metrics['attention']:.3f} ({metrics['attention'] / metrics['attention_uniform']:.1f} x)"


def questions(path: Path | None, span: str) -> list[str]:
    """Accuracy on questions about scenes, by kind."""
    found, summary = trained("vqa", QUESTIONS, span)
    ways = ("accuracy", "prior", "question_only", "image_only")
    rows = [("all", found)]
    for pair, name in (("seen", "known pairs"), ("unseen", "unknown pairs")):
        metrics = found["by_pair"][pair]
        rows += [(name, metrics), *((f"{name}, {kind}", each) for kind, each in metrics["by_kind"].items())]
    return [
        f"`elman train vqa {QUESTIONS} --for {span}`, {summary['epochs']:.1f} epochs, "
        f"{summary['parameters']:,} parameters, then `elman eval RUN --split test`: 3,000 scenes with pairs of colour "
        "and shape that are in the training split, and 3,000 with a question about a pair that is not; one seed",
        "",
        "| questions | accuracy | the most frequent answer | question alone | image alone |",
        "|---|---|---|---|---|",
        *(f"| {name} | " + " | ".join(f"{of[way]:.4f}" for way in ways) + " |" for name, of in rows),
    ]


def easy_vqa(path: Path, span: str) -> list[str]:
    """The official test split of easy-VQA; its own small model is published with 93.8 %."""
    found, summary = trained("vqa", str(path), span)
    ways = ("accuracy", "prior", "question_only", "image_only")
    return [
        f"`elman train vqa {path.name} --for {span}`, {summary['epochs']:.1f} epochs, then "
        "`elman eval RUN --split test`: the official test split; one seed. Published for its own small model: 0.938",
        "",
        "| accuracy | the most frequent answer | question alone | image alone |",
        "|---|---|---|---|",
        "| " + " | ".join(f"{found[way]:.4f}" for way in ways) + " |",
    ]


def trained(kind: str, data: str, span: str, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics of a run on its test split, and its summary."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        elman("train", kind, data, *words, "--for", span, "--out", run, "--no-preview")
        return evaluated(run, "--split", "test"), read_summary(run)


def memory(path: Path | None, span: str) -> list[str]:
    """Memory, speed and waiting with few and with many JPEGs of the size of photographs, in turn."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ELMAN_CACHE"] = str(Path(folder) / "cache")
        for count in (FEW, MANY):
            table = Path(folder) / f"{count}" / "captions.csv"
            table.parent.mkdir()
            table.write_text(
                "image,caption\n" + "".join(f"{name},{caption}\n" for name, caption in photographs(table.parent, count))
            )
            run = Path(folder) / f"run-{count}"
            peak = peak_anonymous("train", "caption", table, "--for", span, "--out", run, "--no-preview")
            summary = read_summary(run)
            speed, waiting = summary["units_per_s"], summary["waiting"]
            rows.append(f"| {count:,} | {peak / 1e6:,.0f} | {speed:,.0f} | {waiting:.1%} |")
    return [
        f"`elman train caption captions.csv --for {span}`, JPEGs of 256 by 256 pixels, each decoded for the first time",
        "",
        "| images | peak of anonymous memory, MB | tokens/s | waiting for images |",
        "|---|---|---|---|",
        *rows,
    ]


def photographs(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    """Writes images into a folder; yields their names and captions."""
    draw = random.Random(0)
    for number in range(count):
        made = Image.frombytes("RGB", (8, 8), draw.randbytes(192)).resize((256, 256), Image.Resampling.BICUBIC)
        name = f"{number}.jpg"
        made.save(folder / name, quality=85)
        yield name, f"image {draw.choice(('one', 'two', 'three'))} of {draw.choice(('red', 'green', 'blue'))}"
