"""Quality of the tasks on tables; run by quality.py."""

import hashlib
import json
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import elman as elman_package
from command import SEEDS, elman, evaluated
from command import summary as read_summary
from elman.data.table_reader import TableOptions, read
from elman.metrics.translation import TranslationScores, group_references
from elman.options import build
from elman.tasks.classify import Classify, ClassifyOptions
from elman.tasks.loss import Context
from elman.tasks.translate import Translate, TranslateOptions

LONG = 10  # words from which a sentence is long
ANY, LONGER = 2_000, 1_000  # test sentences
RESAMPLES = 300
ATTENTION = ("general", "none")
COUNTING = ("--hidden", "16", "--dropout", "0", "--lr", "0.01", "--weight-decay", "0", "--precision", "float32")


def classified(span: str, words: Sequence[str | Path], options: dict[str, Any], grams: dict[str, Any]) -> list[str]:
    """A classifier for each seed, and a logistic regression on n-grams on the same splits."""
    rows, scores = list[str](), list[float]()
    for seed, found, summary in trained(span, "classify", *words):
        scores.append(found["accuracy"])
        values = (found["accuracy"], found["macro_f1"], summary["val_metrics"]["accuracy"])
        size = f"{summary['train_seconds']:.0f} | {summary['parameters']:,}"
        rows.append(f"| {seed} | {' | '.join(f'{value:.4f}' for value in values)} | {size} |")
    splits, _, _ = Classify().splits([str(words[0])], build(ClassifyOptions, options))
    accuracy, macro = regression(splits, grams)
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in splits.items())
    typed = " ".join(word.name if isinstance(word, Path) else word for word in words)
    return [
        f"`elman train classify {typed} --for {span} --seed N`; rows: {sizes}",
        "",
        "| seed | test accuracy | test macro-F1 | validation accuracy | seconds | parameters |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"{median(scores)}; logistic regression on a bag of {grams['what']}: {accuracy:.4f}, macro-F1 {macro:.4f}",
    ]


def trained(span: str, *words: str | Path) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Each seed, the metrics of its run on the test split, and the summary of the run."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = Path(folder) / str(seed)
            elman("train", *words, "--for", span, "--seed", str(seed), "--out", run, "--no-preview")
            yield seed, evaluated(run, "--split", "test"), read_summary(run)


def median(scores: list[float]) -> str:
    """The median over the seeds, and their range."""
    return f"median of {len(scores)} seeds: {statistics.median(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})"


def regression(splits: dict[str, Any], grams: dict[str, Any]) -> tuple[float, float]:
    """Accuracy and macro-F1 on the test split; the regularisation is chosen on the validation split."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    counter = CountVectorizer(binary=True, **{name: value for name, value in grams.items() if name != "what"})
    counts = {"train": counter.fit_transform(splits["train"].columns["text"])}
    counts |= {name: counter.transform(splits[name].columns["text"]) for name in ("valid", "test")}
    labels = {name: split.columns["label"] for name, split in splits.items()}
    models = [
        LogisticRegression(C=c, max_iter=2000).fit(counts["train"], labels["train"]) for c in (0.1, 0.3, 1, 3, 10)
    ]
    best = max(models, key=lambda model: model.score(counts["valid"], labels["valid"]))
    predicted = best.predict(counts["test"])
    macro = f1_score(labels["test"], predicted, average="macro", zero_division=0)
    return best.score(counts["test"], labels["test"]), macro


WORDS = {"what": "words and pairs of words", "ngram_range": (1, 2), "token_pattern": r"\S+"}
LETTERS = {"what": "one to three letters", "analyzer": "char_wb", "ngram_range": (1, 3), "lowercase": False}


def rt_polarity(path: Path, span: str) -> list[str]:
    """Sentences of film reviews, for or against (Pang & Lee 2005)."""
    return classified(span, [path, "--encoding", "latin-1"], {"encoding": "latin-1"}, WORDS)


def trec(path: Path, span: str) -> list[str]:
    """Questions of six kinds (Li & Roth 2002), the official test split; `path` is the training file."""
    test = path.with_name(path.name.replace("train", "test"))
    options = {"encoding": "latin-1", "test": str(test)}
    return classified(span, [path, "--encoding", "latin-1", "--test", test], options, WORDS)


def names(path: Path, span: str) -> list[str]:
    """Surnames of 18 languages, identical rows once; a folder with one file a language."""
    splits, _, _ = Classify().splits([str(path)], build(ClassifyOptions, {"deduplicate": True}))
    texts = splits["test"].columns["text"]
    lines = classified(span, [path, "--deduplicate", "--tokens", "char"], {"deduplicate": True}, LETTERS)
    ceiling = len(set(texts)) / len(texts)
    bound = f"of {len(texts):,} test rows at most {ceiling:.4f} can be correct"
    return [*lines, "", f"A name of several languages is classified correctly for one only: {bound}."]


def mnist(path: Path, span: str) -> list[str]:
    """Each image is a sequence of its 28 rows; `path` is the folder with the IDX files."""
    lines, scores = [], list[float]()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for split, name in (("train", "train"), ("test", "t10k")):
            columns = read([str(path / f"{name}-images-idx3-ubyte.gz")], TableOptions()).columns
            images = np.stack([image.values for image in columns["image"]]) / np.float32(255)
            np.savez(home / f"{split}.npz", x=images, y=columns["label"])
        for seed, found, _ in trained(span, "classify", home / "train.npz", "--test", home / "test.npz"):
            scores.append(found["accuracy"])
            lines.append(f"| {seed} | {found['accuracy']:.4f} |")
    return [
        f"`elman train classify train.npz --test test.npz --for {span} --seed N`; 60,000 images (a tenth for "
        "validation) and the 10,000 of the official test split",
        "",
        "| seed | test accuracy |",
        "|---|---|",
        *lines,
        "",
        median(scores),
    ]


def dates(path: Path | None, span: str) -> list[str]:
    """Dates in many spellings to ISO 8601, generated."""
    lines, scores = [], list[float]()
    for seed, found, _ in trained(span, "translate", "builtin:dates", "--lr", "0.002"):
        scores.append(found["exact"])
        lines.append(f"| {seed} | {found['exact']:.4f} | {found['sources']:,} |")
    return [
        f"`elman train translate builtin:dates --lr 0.002 --for {span} --seed N`",
        "",
        "| seed | exact | test dates |",
        "|---|---|---|",
        *lines,
        "",
        median(scores),
    ]


def translation(path: Path, span: str) -> list[str]:
    """English to French (Tatoeba), with attention and without, on test sentences of any length and on long ones; all
    French sentences that are paired with an English one are references."""
    splits, _, _ = Translate().splits([str(path)], build(TranslateOptions, {}))
    targets = group_references(splits["test"].columns["source"], splits["test"].columns["target"])
    order = sorted(targets, key=lambda text: hashlib.blake2b(text.encode()).digest())
    longer = [text for text in order if len(text.split()) >= LONG][:LONGER]
    tests = {f"{ANY:,} of any length": order[:ANY], f"{len(longer):,} of {LONG} words or more": longer}
    predictions: dict[str, dict[str, str]] = {}
    about = []
    with tempfile.TemporaryDirectory() as folder:
        for attention in ATTENTION:
            run = Path(folder) / attention
            elman("train", "translate", path, "--attention", attention, "--for", span, "--out", run, "--no-preview")
            summary = read_summary(run)
            about.append(f"{attention}: {summary['parameters']:,} parameters, {summary['epochs']:.1f} epochs, "
                         f"validation {summary['val_loss']:.3f} nats per token")  # fmt: skip
            file, out = Path(folder) / "test.txt", Path(folder) / f"{attention}.jsonl"
            sources = sorted({text for sentences in tests.values() for text in sentences})
            file.write_text("\n".join(sources) + "\n")
            elman("predict", run, "--file", file, "--beam", "5", "-o", out)
            answers = [json.loads(line)["translation"] for line in out.read_text().splitlines()]
            predictions[attention] = dict(zip(sources, answers, strict=True))
    lines = []
    general, none = (TranslationScores(predictions[attention], targets) for attention in ATTENTION)
    for name, sentences in tests.items():
        ours, theirs = general.bleu(sentences), none.bleu(sentences)
        low, high = interval(general, none, sentences)
        lines.append(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours - theirs:.2f} ({low:.2f} to {high:.2f}) | "
                     f"{general.chrf(sentences):.2f} | {none.chrf(sentences):.2f} |")  # fmt: skip
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in splits.items())
    return [
        f"`elman train translate {path.name} --attention general|none --for {span}`, `elman predict RUN --beam 5`; "
        f"pairs: {sizes}, split by the English sentence; {'; '.join(about)}",
        "",
        "| test sentences | BLEU, attention (general) | BLEU, none | difference (95 % of resamples) "
        "| chrF, attention | chrF, none |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
        f"Signatures: {', '.join(general.signatures())}; {RESAMPLES} paired bootstrap resamples; one seed.",
    ]


def interval(ours: TranslationScores, theirs: TranslationScores, sentences: list[str]) -> tuple[float, float]:
    """The middle 95 % of the difference in BLEU over resamples of the sentences."""
    random_, differences = random.Random(0), []
    for _ in range(RESAMPLES):
        chosen = random_.choices(sentences, k=len(sentences))
        differences.append(ours.bleu(chosen) - theirs.bleu(chosen))
    differences.sort()
    return differences[int(0.025 * RESAMPLES)], differences[int(0.975 * RESAMPLES)]


def counting(path: Path | None, span: str) -> list[str]:
    """a^n b^n, trained on n up to 100: the largest n up to which every text is predicted correctly, each b and then its
    end (after Weiss, Goldberg & Yahav 2018)."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for cell in ("lstm", "gru"):
            reached = []
            for seed in SEEDS:
                run = Path(folder) / f"{cell}-{seed}"
                elman("train", "generate", "builtin:anbn", "--cell", cell, *COUNTING, "--for", span, "--seed",
                      str(seed), "--out", run, "--no-preview")  # fmt: skip
                reached.append(counted(run))
            lines.append(f"| {cell} | {' | '.join(map(str, reached))} |")
    return [
        f"`elman train generate builtin:anbn --cell CELL {' '.join(COUNTING)} --for {span} --seed N`; n is "
        "at most 100 in training",
        "",
        "| cell | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " |",
        "|---" * (1 + len(SEEDS)) + "|",
        *lines,
    ]


def counted(run: Path) -> int:
    """The largest n (of 1 to 1000) up to which a model predicts every a^n b^n correctly after its first b."""
    trained = elman_package.load(run)
    model, tokenizer = trained.model, trained.tokenizer
    end = len(tokenizer)
    a, b = tokenizer.encode("ab")
    for n in range(1, 1001):
        text = torch.tensor([[end] + [a] * n + [b] * n])
        with torch.inference_mode():
            hidden, _ = model.decode(text, model.begin({"input": text}), Context())
            predicted = model.logits(hidden[0, n + 1 :]).argmax(-1).tolist()  # after each b
        if predicted != [b] * (n - 1) + [end]:
            return n - 1
    return 1000
