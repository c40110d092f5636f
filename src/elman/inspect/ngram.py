"""N-gram models, the baseline of a language model: the next token is predicted from the last few alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from elman.errors import UserError

FALLBACK = (0.5, 1.0, 1.5)  # discounts where they cannot be estimated
NEVER = np.iinfo(np.int64).max  # a key that does not occur


@dataclass(frozen=True)
class Level:
    """The k-grams of a text, numbered in the order of their keys; len(level) is the number of every unknown k-gram."""

    keys: np.ndarray  # V times the number of the first k - 1 tokens plus the last token; NEVER at the end

    def __len__(self) -> int:
        return len(self.keys) - 1

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The numbers of k-grams."""
        found = np.searchsorted(self.keys, keys)
        return np.where(self.keys[found] == keys, found, len(self))


@dataclass(frozen=True)
class Discounted:
    """The probabilities of one order in each context. The last entries are those of unknown k-grams and contexts."""

    kept: np.ndarray  # of each k-gram: the discounted probability of its last token
    left: np.ndarray  # of each context: the probability that is left to the order below

    @staticmethod
    def of(counts: np.ndarray, context: np.ndarray, contexts: int) -> "Discounted":
        """From the counts of k-grams, less their discounts, relative to those of their contexts."""
        discount = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
        total = np.bincount(context, counts, contexts + 1)
        left = np.where(total, np.bincount(context, discount, contexts + 1), 1.0)
        total = np.maximum(total, 1.0)
        return Discounted(np.append((counts - discount) / total[context], 0.0), left / total)

    @cached_property
    def before(self) -> np.ndarray:
        """The sum of the probabilities kept by all k-grams before each."""
        return np.concatenate([[0.0], self.kept.cumsum()])


class NGram:
    """Interpolated modified Kneser-Ney (Chen & Goodman 1999) of the orders 1 to `order`, from tokens (N,) of a
    vocabulary of V.

    Every count is discounted, and the discounted mass is distributed by the order below, in which a k-gram counts as
    often as there are distinct tokens before it. Below order 1 the distribution is uniform, so that no probability is
    0.
    """

    def __init__(self, ids: np.ndarray, order: int, vocabulary: int):
        if min(order, vocabulary) < 1:
            raise UserError(f"order and vocabulary must be above 0, not {order} and {vocabulary}")
        self.order, self.vocabulary = order, vocabulary
        # highest[k]: where order k + 1 is the highest; lower[k]: where it is not
        self.levels, self.highest, self.lower = list[Level](), list[Discounted](), list[Discounted]()
        ids = self._checked(ids)
        history = np.zeros(len(ids) + 1, np.int64)  # the number of the k-gram at each position
        context, contexts = np.zeros(0, np.int64), 1
        for k in range(order):
            shorter = history
            keys, history, counts = np.unique(
                shorter[:-1] * vocabulary + ids[k:], return_inverse=True, return_counts=True
            )
            if k:
                last = np.zeros(len(keys), np.int64)  # of each k-gram, the number of its last k - 1 tokens
                last[history] = shorter[1:]
                self.lower.append(Discounted.of(np.bincount(last, minlength=len(self.levels[-1])), context, contexts))
                contexts = len(self.levels[-1])
            context = keys // vocabulary
            self.levels.append(Level(np.append(keys, NEVER)))
            self.highest.append(Discounted.of(counts, context, contexts))

    def nats(self, ids: np.ndarray) -> np.ndarray:
        """(order, T): -log of the probability of each token given the n - 1 before it, for each order n. Where only k
        are before it, the orders above k + 1 have the value of order k + 1."""
        ids = self._checked(ids)
        nats = np.zeros((self.order, len(ids)))
        history, below = np.zeros(len(ids) + 1, np.int64), np.full(len(ids) + 1, 1 / self.vocabulary)
        for k, (level, highest) in enumerate(zip(self.levels, self.highest, strict=True)):
            context, below = history[:-1], below[1:]
            history = level.find(context * self.vocabulary + ids[k:])
            nats[k, k:] = -np.log(highest.kept[history] + highest.left[context] * below)
            nats[k, :k] = nats[k - 1, :k]
            if k + 1 < self.order:
                below = self.lower[k].kept[history] + self.lower[k].left[context] * below
        return nats

    def sample(self, length: int, rng: np.random.Generator, prompt: Sequence[int] = (), rows: int = 1) -> np.ndarray:
        """(rows, length) tokens sampled from the highest order; each row continues the prompt."""
        given = self._checked(np.array(prompt, np.int64)[-self.order :])
        drawn = np.zeros((rows, length), np.int64)
        # histories[k]: of each row, the number of its last k tokens
        histories = [np.zeros(rows, np.int64)] + [np.full(rows, len(level)) for level in self.levels[:-1]]
        for token in given:
            histories = self._read(np.full(rows, token), histories)
        for time in range(length):
            drawn[:, time] = self._draw(histories[: len(given) + time + 1], rng)
            histories = self._read(drawn[:, time], histories)
        return drawn

    def _draw(self, histories: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """A token for each row: with the probability that an order keeps, one of its own, else one of a lower order."""
        tokens = rng.integers(self.vocabulary, size=len(histories[0]))
        rows = np.arange(len(tokens))  # those without a token from an order above
        for k in reversed(range(len(histories))):
            level, of_order = self.levels[k], (self.highest if k + 1 == len(histories) else self.lower)[k]
            first = histories[k][rows] * self.vocabulary  # the keys of a context are contiguous
            begin, end = np.searchsorted(level.keys, first), np.searchsorted(level.keys, first + self.vocabulary)
            uniform = of_order.before[begin] + rng.random(len(rows))
            kept = uniform < of_order.before[end]
            found = np.searchsorted(of_order.before, uniform[kept], side="right") - 1
            tokens[rows[kept]] = level.keys[found] - first[kept]
            rows = rows[~kept]
        return tokens

    def _read(self, token: np.ndarray, histories: list[np.ndarray]) -> list[np.ndarray]:
        """The histories with one more token (rows,)."""
        longer = zip(self.levels[:-1], histories[:-1], strict=True)
        return [histories[0], *(level.find(history * self.vocabulary + token) for level, history in longer)]

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.vocabulary:
            raise UserError(f"tokens must be from 0 to {self.vocabulary - 1}, not {ids.min()} to {ids.max()}")
        return ids.astype(np.int64)


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """The discounts of counts of 1, of 2, and of 3 or more, from the numbers of counts of 1, 2, 3 and 4."""
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=5)[1:5].tolist()
    if not n1 * n2 * n3 * n4:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if min(found) > 0 else FALLBACK  # a discount of 0 could leave no probability to unknown tokens
