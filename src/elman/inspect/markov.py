"""Is it Markov? Loss against the history that is kept, beside n-gram models of the same text; and samples of both."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elman.decode.sampling import Sampling
from elman.inspect.chart import axes, styled
from elman.inspect.history import loss_by_history, places
from elman.inspect.ngram import NGram
from elman.inspect.panel import Panel, table
from elman.inspect.wellformed import Score, wellformed
from elman.training.trained_model import Model

ORDER = 12  # of the largest n-gram model
KEPT = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COUNTED = 2_000_000  # tokens of the training part that the n-grams count, the last ones
POSITIONS = 2000  # of the held-out text at which a token is predicted
SAMPLES, LENGTH = 20, 1000  # of each model, and tokens of each


@dataclass(frozen=True)
class Texts:
    """What is compared: tokens of training and held-out text, a vocabulary of V, and how tokens are spelled."""

    train: np.ndarray
    held_out: np.ndarray
    vocabulary: int
    spell: Callable[[list[int]], str]
    language: str


@styled
def markov(model: Model, texts: Texts, seed: int = 0) -> Panel:
    """The panel of a language model."""
    held_out = texts.held_out
    kept = [k for k in KEPT if k < len(held_out) // 2]
    by_history = loss_by_history(model.task, held_out, [*kept, None], POSITIONS, seed)  # type: ignore[arg-type]
    losses, spread = by_history.mean(1), by_history.std(1) / math.sqrt(by_history.shape[1])
    counted = texts.train[-COUNTED:]
    order = min(ORDER, len(counted) - 1)
    grams = NGram(counted, order, texts.vocabulary)
    where = places(len(held_out), kept[-1], POSITIONS, seed)  # the same for both
    by_order = grams.nats(held_out)[:, where].mean(1)
    figure, axis = axes()
    axis.errorbar(kept, losses[:-1], 2 * spread[:-1], marker="o", markersize=4, label=f"this model ({model.path.name})")
    axis.axhline(losses[-1], linestyle=":", label="all that came before")
    axis.plot(np.arange(1, order), by_order[1:], marker="s", markersize=4, color="#f08a24",
              label="n-gram of n - 1 characters and the next")  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(kept, [str(k) for k in kept])
    axis.set_xlabel("tokens of history that are kept")
    axis.set_ylabel("nats a token, held-out text")
    axis.legend()
    ours, theirs, real = _samples(model, texts, grams, seed)
    scores = {name: wellformed(each, texts.language) for name, each in
              {"this model": ours, f"{order}-gram": theirs, "the text itself": real}.items()}  # fmt: skip
    figures = {
        "history": {**{str(k): loss for k, loss in zip(kept, losses, strict=False)}, "all": losses[-1]},
        "standard_error": spread, "ngram": {str(n + 1): loss for n, loss in enumerate(by_order)},
        "ngram_tokens": len(counted), "positions": by_history.shape[1],
        "samples": {name: {what: vars(score) for what, score in each.items()} for name, each in scores.items()},
    }  # fmt: skip
    return Panel("markov", "Is it Markov?", _says(kept, losses, by_order), figures, {"markov": figure}, _table(scores))


def _says(kept: list[int], losses: np.ndarray, by_order: np.ndarray) -> str:
    enough = next((k for k, loss in zip(kept, losses, strict=False) if loss < losses[-1] + 0.01), None)
    best = int(by_order.argmin())
    used = f"The model comes within 0.01 nats of its best with {enough} tokens of history" if enough else (
        f"Even {kept[-1]} tokens of history do not bring the model within 0.01 nats of its best")  # fmt: skip
    return (
        f"{used}: {losses[-1]:.3f} nats a token with all of it. The best n-gram model, of order {best + 1}, reaches "
        f"{by_order[best]:.3f} at the same places."
    )


def _samples(model: Model, texts: Texts, grams: NGram, seed: int) -> tuple[list[str], list[str], list[str]]:
    """What the model writes, what the n-gram model writes after the same beginning, and pieces of the text."""
    streams = model.stream("", LENGTH, Sampling(), seed, num_samples=SAMPLES)
    ours = ["".join(pieces) for pieces in zip(*streams, strict=True)]
    first = texts.train[: grams.order].tolist()
    drawn = grams.sample(LENGTH, np.random.default_rng(seed), first, SAMPLES)
    cuts = np.linspace(0, max(0, len(texts.held_out) - LENGTH), SAMPLES).astype(int)
    real = [texts.spell(texts.held_out[cut : cut + LENGTH].tolist()) for cut in cuts]
    return ours, [texts.spell(row.tolist()) for row in drawn], real


def _table(scores: dict[str, dict[str, Score]]) -> str:
    kinds = list(next(iter(scores.values())))
    rows = [[kind, *(f"{each[kind].share:.1%} of {each[kind].count:,}" if each[kind].count else "none"
                     for each in scores.values())] for kind in kinds]  # fmt: skip
    return f"<h3>What samples get right ({SAMPLES} of {LENGTH:,} tokens each)</h3>" + table(["", *scores], rows)
