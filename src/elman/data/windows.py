"""A stream of tokens as windows for truncated back-propagation through time."""

import numpy as np
import torch
from torch import Tensor

from elman.data.source import Source

IGNORED = -100  # the target that cross-entropy leaves out


class Windows(Source):
    """The stream cut into contiguous rows, read window by window; the state goes from each window to the next.

    N + 1 tokens make N steps, in which each token predicts the next. Row b is steps `starts[b]` to `starts[b + 1]`, so
    in an epoch every step is taken once. The first rows are one step longer where `rows` does not divide N.

    - window: steps forward an update (k1 of Williams & Peng 1990 and Sutskever 2013)
    - back: steps the gradient goes back (k2). Larger than the window: the back - window steps before it are run again
      without loss. Smaller: the graph is cut inside the window.
    """

    workers = 0

    def __init__(self, ids: np.ndarray, rows: int, window: int, back: int | None = None):
        self.ids = ids
        steps = len(ids) - 1
        self.steps = steps
        self.rows = min(rows, max(1, steps // window))  # of a short text rather fewer rows than shorter ones
        base, longer = divmod(steps, self.rows)
        numbers = np.arange(self.rows)
        self.starts = numbers * base + np.minimum(numbers, longer)
        self.sizes = base + (numbers < longer)
        self.longest = int(self.sizes.max())
        self.window = min(window, self.longest)
        self.back = self.window if back is None else back

    @classmethod
    def of_tokens(cls, ids: np.ndarray, batch_size: int, seq_len: int, bptt: int | None = None) -> "Windows":
        return cls(ids, batch_size, seq_len, bptt)

    @property
    def seq_len(self) -> int:
        return self.window

    @property
    def batch_size(self) -> int:
        return self.rows

    def __len__(self) -> int:
        """Windows in an epoch."""
        return -(-self.longest // self.window)

    def __str__(self) -> str:
        back = f", gradient {self.back} back" if self.back != self.window else ""
        return f"{self.rows} rows, windows of {self.window}{back}, {len(self):,} windows an epoch"

    def batch(self, epoch: int, index: int) -> dict[str, Tensor]:
        """Window `index`; every epoch reads the same. The first begins without a state.

        input, target: (B, S) int64, the target IGNORED where no loss is taken; cuts: (n,) the steps before which the
        state is detached; carry: () the number of steps after which the state is that of the next window's first.
        """
        begin, end = index * self.window, min((index + 1) * self.window, self.longest)
        context = max(0, self.back - self.window)
        first, next_first = max(0, begin - context), max(0, end - context)
        steps = np.arange(first, end + 1)
        tokens = self.ids[np.minimum(self.starts[:, None] + steps, len(self.ids) - 1)].astype(np.int64)
        counted = (steps[:-1] >= begin) & (steps[:-1] < self.sizes[:, None])
        return {
            "input": torch.from_numpy(tokens[:, :-1]),
            "target": torch.from_numpy(np.where(counted, tokens[:, 1:], IGNORED)),
            "cuts": tuple(range(self.back, end - first, self.back) if self.back < self.window else ()),
            "carry": next_first - first,
        }
