"""Quality: every number that README and docs quote of it, with the command that measures it:
`python benchmarks/quality.py WHAT`.

    quality.py tinyshakespeare PATH/tinyshakespeare.txt             three seeds of `--for 60s`
    quality.py gigabyte                                             memory and speed on a 1 GB text
    quality.py command-line                                         time of --help, speed of sample
    quality.py feed RUN                                             the input while sampling, and the loss after it
    quality.py units PATH --for 10m                                 properties that the units of a model have learned
    quality.py rt-polarity PATH/rt-polarity.all                     classify: reviews, for or against
    quality.py trec PATH/TREC.train.all                             classify: questions of six kinds
    quality.py names PATH/names                                     classify: surnames of 18 languages
    quality.py mnist PATH/mnist                                     classify: images, row by row
    quality.py dates                                                translate: dates to ISO 8601
    quality.py translation PATH/tatoeba_fra_eng.zip                 translate: English to French
    quality.py counting                                             generate: a^n b^n, how far it counts
    quality.py captions                                             caption: scenes, soft and hard attention
    quality.py captions-plain                                       caption: scenes, without attention
    quality.py questions                                            vqa: scenes, by kind of question
    quality.py easy-vqa PATH/easy_vqa.zip                           vqa: the official test split
    quality.py images                                               memory and waiting, 100,000 images
    quality.py glimpse PATH/mnist                                   glimpse: images, six glimpses of 8 x 8
    quality.py glimpse-random PATH/mnist                            glimpse: the same at random locations
    quality.py glimpse-translated PATH/mnist                        glimpse: images somewhere in 60 x 60
    quality.py draw PATH/mnist                                      draw: digits, beside a plain autoencoder
    quality.py draw-attention PATH/mnist                            draw: digits, through windows
    quality.py clips                                                video: generated clips, a label a frame
    quality.py clip-labels                                          video: the same, one label a clip

Each prints a table and writes it to benchmarks/results/. All runs are commands, as a user would type them.
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

import drawings
import elman as elman_package
import glimpses
import images
import tables
import videos
from command import SEEDS, elman, evaluated, peak_anonymous
from command import summary as read_summary
from elman.tasks.task import Reading

RESULTS = Path(__file__).parent / "results"

# what is measured, and how long each seed trains
TABLES = {
    "rt-polarity": (tables.rt_polarity, "3m"), "trec": (tables.trec, "2m"), "names": (tables.names, "2m"),
    "mnist": (tables.mnist, "5m"), "dates": (tables.dates, "1m"), "translation": (tables.translation, "10m"),
    "counting": (tables.counting, "30s"),
}  # fmt: skip
IMAGES = {
    "captions": (images.attention, "10m"), "captions-plain": (images.plain, "5m"),
    "questions": (images.questions, "10m"),
    "easy-vqa": (images.easy_vqa, "8m"), "images": (images.memory, "2m"),
}  # fmt: skip
GLIMPSES = {
    "glimpse": (glimpses.glimpse, "20m"), "glimpse-random": (glimpses.random, "20m"),
    "glimpse-translated": (glimpses.translated, "20m"),
}  # fmt: skip
DRAWINGS = {"draw": (drawings.draw, "20m"), "draw-attention": (drawings.with_attention, "20m")}
VIDEOS = {"clips": (videos.clips, "5m"), "clip-labels": (videos.clip_labels, "3m")}
TIMED = TABLES | IMAGES | GLIMPSES | DRAWINGS | VIDEOS
# those that take no path
ALONE = ("gigabyte", "command-line", "dates", "counting", "captions", "captions-plain", "questions", "images",
         "clips", "clip-labels")  # fmt: skip


def tinyshakespeare(text: Path, span: str, extra: list[str]) -> list[str]:
    """Three seeds, the last 10 % as validation; and the same with the state reset every 256 characters."""
    lines, losses, resets = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = Path(folder) / str(seed)
            elman("train", "lm", text, "--for", span, "--seed", str(seed), "--out", run, "--no-preview", *extra)
            summary = read_summary(run)
            reset = evaluated(run, "--reset", "256")["loss"]
            losses.append(summary["val_loss"])
            resets.append(reset)
            lines.append(
                f"| {seed} | {summary['val_loss']:.4f} | {summary['val_bits']:.4f} | {reset:.4f} | "
                f"{summary['units_per_s']:,.0f} | {summary['train_seconds']:.1f} | {summary['parameters']:,} |"
            )
    median, spread = statistics.median(losses), max(losses) - min(losses)
    return [
        f"`elman train lm {text.name} --for {span} --seed N{''.join(' ' + word for word in extra)}`, "
        "the last 10 % as validation, nats per character",
        "",
        "| seed | val_loss | bits | reset every 256 | tokens/s | seconds | parameters |",
        "|---|---|---|---|---|---|---|",
        *lines,
        "",
        f"median of {len(SEEDS)} seeds: {median:.4f} (spread {spread:.4f}); with the state reset every 256 characters: "
        f"{statistics.median(resets):.4f}",
    ]


def gigabyte() -> list[str]:
    """Memory and speed on a generated text of 1 GB and on one of 1 MB, in turn."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        texts = {"1 MB": Path(folder) / "small.txt", "1 GB": Path(folder) / "large.txt"}
        words = [bytes(random.Random(0).choices(b"abcdefghijklmnopqrstuvwxyz", k=n % 9 + 1)) for n in range(5000)]
        block = b" ".join(random.Random(1).choices(words, k=200_000))[:1_000_000]
        texts["1 MB"].write_bytes(block)
        with texts["1 GB"].open("wb") as file:
            for _ in range(1000):
                file.write(block)
        os.environ["ELMAN_CACHE"] = str(Path(folder) / "cache")
        speeds: dict[str, list[float]] = {name: [] for name in texts}
        peaks: dict[str, list[int]] = {name: [] for name in texts}
        for turn in range(3):
            for name, text in texts.items():
                run = Path(folder) / f"{name} {turn}"
                sizes = ("--hidden", "256", "--dropout", "0.1", "--steps", "400")
                peaks[name].append(peak_anonymous("train", "lm", text, *sizes, "--out", run, "--no-preview"))
                speeds[name].append(read_summary(run)["units_per_s"])
        for name in texts:
            rows.append(f"| {name} | {statistics.median(speeds[name]):,.0f} | {max(peaks[name]) / 1e6:,.0f} |")
    ratios = sorted(large / small for small, large in zip(speeds["1 MB"], speeds["1 GB"], strict=True))
    return [
        "`elman train lm TEXT --hidden 256 --dropout 0.1 --steps 400`, three of each in turn; the first encodes it",
        "",
        "| text | tokens/s (median) | peak of anonymous memory, MB (highest) |",
        "|---|---|---|",
        *rows,
        "",
        f"speed on 1 GB over speed on 1 MB, median of the pairs: {statistics.median(ratios):.3f} "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f})",
    ]


def command_line() -> list[str]:
    """The time of `elman --help`, and characters per second of `elman sample` with one layer of 256."""
    with tempfile.TemporaryDirectory() as folder:
        text, run = Path(folder) / "text.txt", Path(folder) / "run"
        text.write_text("".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz \n", k=100_000)))
        elman(
            "train", "lm", text, "--hidden", "256", "--embedding", "64", "--steps", "20", "--out", run, "--no-preview"
        )
        helps = [clock(lambda: elman("--help")) for _ in range(7)]
        # two lengths: their difference leaves out start and loading
        lengths = (1_000, 41_000)
        pairs = [[clock(lambda n=n: elman("sample", run, "--length", str(n), "--seed", "1")) for n in lengths]
                 for _ in range(5)]  # fmt: skip
    speeds = [(lengths[1] - lengths[0]) / (long - short) for short, long in pairs]
    return [
        "| what | median | least | most |",
        "|---|---|---|---|",
        f"| `elman --help`, seconds | {statistics.median(helps):.3f} | {min(helps):.3f} | {max(helps):.3f} |",
        f"| `elman sample`, one LSTM layer of 256, characters per second | {statistics.median(speeds):,.0f} | "
        f"{min(speeds):,.0f} | {max(speeds):,.0f} |",
        "",
        f"the whole command for {lengths[1]:,} characters, start included: "
        f"{statistics.median(pair[1] for pair in pairs):.2f} s",
    ]


def feed(run: Path) -> list[str]:
    """The loss of the true character k steps after 100 true characters, by the input of the steps in between."""
    trained = elman_package.load(run)
    source = trained.source("valid", reading=Reading(reset=132))
    assert source is not None
    batches = [source.batch(0, index) for index in range(len(source) - 1)]
    text = torch.cat([batch["input"] for batch in batches])
    generator = torch.Generator().manual_seed(0)
    choices = {
        "the true character": lambda p, true: true,
        "a sample": lambda p, true: torch.multinomial(p, 1, generator=generator).squeeze(-1),
        "the distribution (`--feed softmax`)": lambda p, true: p,
        "the most probable character": lambda p, true: p.argmax(-1),
    }
    shown = (1, 2, 3, 5, 10, 30)
    lines = []
    for name, choose in choices.items():
        losses = torch.zeros(33, len(text))
        with torch.inference_mode():
            stepper, logits = trained.model.stepper(), None
            state = stepper.begin({"input": text})
            for time in range(131):
                token = text[:, time] if logits is None or time < 100 else choose(logits.softmax(-1), text[:, time])
                logits, state = stepper.step(token, state)
                if time >= 99:
                    losses[time - 99] = F.cross_entropy(logits, text[:, time + 1], reduction="none")
        mean = losses.mean(1)
        lines.append(f"| {name} | " + " | ".join(f"{mean[k - 1]:.2f}" for k in shown) + " |")
    return [
        f"{len(text):,} positions of the validation split; nats of the character k steps after the last true one",
        "",
        "| input | " + " | ".join(f"k = {k}" for k in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
        *lines,
    ]


def units(text: Path, span: str, extra: list[str]) -> list[str]:
    """The best unit of a model for each property of 100,000 held-out characters; trained unless there is a run."""
    run = Path("runs") / f"units-{text.stem}-{span}"
    if not (run / "summary.json").exists():
        elman("train", "lm", text, "--for", span, "--out", run, "--no-preview", *extra)
    elman("inspect", run, "--length", "100000")
    found = json.loads((run / "report.json").read_text("utf-8"))["units"]["properties"]
    summary = read_summary(run)
    names = ("score", "untrained", "shuffled", "probe", "probe_untrained")
    rows = [
        [each["meaning"], each["kind"], each["unit"], *(f"{each[name]:.3f}" for name in names)]
        for each in found.values()
    ]
    return [
        f"`elman train lm {text.name} --for {span}`, {summary['parameters']:,} parameters, {summary['val_loss']:.4f} "
        f"nats per character on the validation split; `elman inspect {run} --length 100000`",
        "",
        "A unit is chosen on one half of the characters and scored on the other.",
        "",
        "| property | score | best unit | score | best untrained | best, shuffled labels | probe | probe, untrained |",
        "|---|---|---|---|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def clock(run: Callable[[], object]) -> float:
    """The time of a call, in seconds."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def machine() -> str:
    """The machine in one line."""
    found = torch.cpu.get_capabilities()
    bf16 = next((name for name in ("amx_bf16", "avx512_bf16") if found.get(name)), "no bfloat16")
    return f"{found.get('cpu_name', platform.machine())}, {os.cpu_count()} cores, {bf16}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tinyshakespeare", "gigabyte", "command-line", "feed", "units", *TIMED))
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--for", dest="span")
    options, extra = parser.parse_known_args()
    options.span = options.span or TIMED.get(options.what, (None, "60s"))[1]
    if options.what not in ALONE and options.path is None:
        parser.error(f"{options.what} needs a path")
    lines = {
        "tinyshakespeare": lambda: tinyshakespeare(options.path, options.span, extra),
        "feed": lambda: feed(options.path),
        "units": lambda: units(options.path, options.span, extra),
        "gigabyte": gigabyte,
        "command-line": command_line,
        **{name: (lambda run=run: run(options.path, options.span)) for name, (run, _) in TIMED.items()},
    }[options.what]()
    name = options.what + {
        "tinyshakespeare": f"-{options.span}",
        "units": f"-{options.path and options.path.stem}-{options.span}",
    }.get(options.what, "")
    typed = ["quality.py", options.what, *([options.path.name] if options.path else []),
             *(["--for", options.span] if options.what in ("tinyshakespeare", "units", *TIMED) else [])]  # fmt: skip
    shown = "\n".join([f"# {name}", "", f"`python benchmarks/{' '.join(typed)}` on {machine()}", "", *lines])
    print(shown)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(shown + "\n")


if __name__ == "__main__":
    main()
