"""Is the model Markov? Its loss by the length of the history that it reads, against n-gram models of the same text; and
samples of both."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elman.decode.sampling import Sampling
from elman.inspect.blocks import Chart, Heading, Table
from elman.inspect.chart import COLOURS, axes, styled
from elman.inspect.history import loss_by_history, positions
from elman.inspect.ngram import NGram
from elman.inspect.panel import Panel
from elman.inspect.wellformed import Score, wellformed
from elman.training.trained_model import TrainedModel

ORDER = 12  # of the largest n-gram model
KEPT = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COUNTED = 2_000_000  # last tokens of the training split, counted by the n-gram models
POSITIONS = 2000  # of the held-out text, at which a token is predicted
SAMPLES, LENGTH = 20, 1000  # of each model; tokens of each


@dataclass(frozen=True)
class Texts:
    """The texts that are compared: tokens of the training and of held-out text, the size of the vocabulary, the text of
    tokens, and their language."""

    train: np.ndarray
    held_out: np.ndarray
    vocab_size: int
    decode: Callable[[list[int]], str]
    language: str


@styled
def markov(model: TrainedModel, texts: Texts, seed: int = 0) -> Panel:
    """The panel of a language model."""
    held_out = texts.held_out
    kept = [k for k in KEPT if k < len(held_out) // 2]
    by_history = loss_by_history(model.model, held_out, [*kept, None], POSITIONS, seed)
    losses, error = by_history.mean(1), by_history.std(1) / math.sqrt(by_history.shape[1])
    counted = texts.train[-COUNTED:]
    order = min(ORDER, len(counted) - 1)
    grams = NGram(counted, order, texts.vocab_size)
    where = positions(len(held_out), kept[-1], POSITIONS, seed)  # the same for both
    by_order = grams.nats(held_out)[:, where].mean(1)
    figure, axis = axes()
    axis.errorbar(kept, losses[:-1], 2 * error[:-1], marker="o", markersize=4, label=f"this model ({model.path.name})")
    axis.axhline(losses[-1], linestyle=":", label="with the full history")
    axis.plot(np.arange(1, order), by_order[1:], marker="s", markersize=4, color=COLOURS[1],
              label="n-gram model of n - 1 tokens of history")  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(kept, [str(k) for k in kept])
    axis.set_xlabel("tokens of history")
    axis.set_ylabel("nats per token, held-out text")
    axis.legend()
    ours, theirs, real = _samples(model, texts, grams, seed)
    scores = {name: wellformed(each, texts.language) for name, each in
              {"this model": ours, f"{order}-gram": theirs, "the text itself": real}.items()}  # fmt: skip
    metrics = {
        "history": {**{str(k): loss for k, loss in zip(kept, losses, strict=False)}, "all": losses[-1]},
        "standard_error": error, "ngram": {str(n + 1): loss for n, loss in enumerate(by_order)},
        "ngram_tokens": len(counted), "positions": by_history.shape[1],
        "samples": {name: {what: vars(score) for what, score in each.items()} for name, each in scores.items()},
    }  # fmt: skip
    return Panel("markov", "Is it Markov?", _summary(kept, losses, by_order), metrics, [
        Chart("markov", figure), Heading(f"Well-formedness of samples ({SAMPLES} of {LENGTH:,} tokens each)"),
        _table(scores),
    ])  # fmt: skip


def _summary(kept: list[int], losses: np.ndarray, by_order: np.ndarray) -> str:
    enough = next((k for k, loss in zip(kept, losses, strict=False) if loss < losses[-1] + 0.01), None)
    best = int(by_order.argmin())
    used = (f"With {enough} tokens of history the model is within 0.01 nats of its loss" if enough else
            f"Even with {kept[-1]} tokens of history the model is not within 0.01 nats of its loss")  # fmt: skip
    return (
        f"{used} with the full history, {losses[-1]:.3f} nats per token. The best n-gram model, of order {best + 1}, "
        f"has {by_order[best]:.3f} at the same positions."
    )


def _samples(model: TrainedModel, texts: Texts, grams: NGram, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Samples of the model; of the n-gram model, after the start of the training text; and pieces of the text."""
    streams = model.stream("", LENGTH, Sampling(), seed, num_samples=SAMPLES)
    ours = ["".join(pieces) for pieces in zip(*streams, strict=True)]
    first = texts.train[: grams.order].tolist()
    drawn = grams.sample(LENGTH, np.random.default_rng(seed), first, SAMPLES)
    cuts = np.linspace(0, max(0, len(texts.held_out) - LENGTH), SAMPLES).astype(int)
    real = [texts.decode(texts.held_out[cut : cut + LENGTH].tolist()) for cut in cuts]
    return ours, [texts.decode(row.tolist()) for row in drawn], real


def _table(scores: dict[str, dict[str, Score]]) -> Table:
    kinds = list(next(iter(scores.values())))
    return Table(["", *scores], [
        [kind, *(f"{each[kind].fraction:.1%} of {each[kind].count:,}" if each[kind].count else "none"
                 for each in scores.values())] for kind in kinds
    ])  # fmt: skip
