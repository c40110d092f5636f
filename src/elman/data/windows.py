"""Streams as windows for truncated back-propagation through time."""

from collections.abc import Mapping
from copy import copy

import numpy as np
import torch

from elman.data.source import Batch, Source

IGNORED = -100  # the target that cross-entropy leaves out


class Windows(Source):
    """A stream of T steps, divided into contiguous rows that are read in parallel, window by window. The state at the
    end of a window is the initial state of the next.

    Row b has the steps from `starts[b]` to `starts[b + 1]`, so that an epoch has every step once. The first rows are
    one step longer where the number of rows does not divide T.
    """

    def __init__(
        self,
        fields: Mapping[str, np.ndarray],
        batch_size: int,
        seq_len: int,
        bptt: int | None = None,
        reset: np.ndarray | None = None,
        ignored: Mapping[str, int] | None = None,
        key: str = "",
    ):
        """
        - fields: arrays (T, ...), memory-mapped ones included; the shortest gives T
        - batch_size: number of rows; fewer for a stream that is shorter than a window for each
        - seq_len: steps forward an update (k1 of Williams & Peng 1990 and Sutskever 2013)
        - bptt: steps that the gradient goes back (k2), `seq_len` if None. Above `seq_len`, the bptt - seq_len steps
          before a window are computed again, without loss. Below, the graph is cut inside the window
        - reset: (T,) bool, the steps that are the first of a sequence
        - ignored: the value that each of some fields has at steps without loss; if None, a batch has a `mask` instead
        """
        self.fields = {name: np.asarray(values) for name, values in fields.items()}
        self.reset, self.ignored, self.key = reset, ignored, key
        self.steps = min(map(len, self.fields.values()))
        self.batch_size = min(batch_size, max(1, self.steps // seq_len))  # rather fewer rows than shorter ones
        base, longer = divmod(self.steps, self.batch_size)
        rows = np.arange(self.batch_size)
        self.starts = rows * base + np.minimum(rows, longer)
        self.lengths = base + (rows < longer)
        self.row_length = int(self.lengths.max())  # of the longest row
        self.seq_len = min(seq_len, self.row_length)
        self.bptt = self.seq_len if bptt is None else bptt

    @classmethod
    def of_tokens(
        cls, ids: np.ndarray, batch_size: int, seq_len: int, bptt: int | None = None, key: str = ""
    ) -> "Windows":
        """N + 1 token ids as N steps, in which each token is the `input` of the next, its `target`."""
        return cls({"input": ids, "target": ids[1:]}, batch_size, seq_len, bptt, ignored={"target": IGNORED}, key=key)

    @property
    def ids(self) -> np.ndarray:
        """The token ids (N + 1,) of a stream of tokens."""
        return self.fields["input"]

    def __len__(self) -> int:
        """Windows in an epoch."""
        return -(-self.row_length // self.seq_len)

    def __str__(self) -> str:
        bptt = f", back-propagation through {self.bptt}" if self.bptt != self.seq_len else ""
        return f"batches of {self.batch_size} x {self.seq_len} steps{bptt}, {len(self):,} an epoch"

    def batch(self, epoch: int, index: int) -> Batch:
        """Window `index`; every epoch is the same.

        - each field: (B, S, ...), integers (T,) as int64; where no loss is taken, `ignored` fields have their value
        - mask: (B, S) bool, the steps with a loss, unless `ignored` was given
        - reset: (B, S) bool, where it was given
        - cuts: the steps before which the state is detached, a tuple
        - carry: the number of steps after which the state is the initial one of the next window, an integer
        """
        begin, end = index * self.seq_len, min((index + 1) * self.seq_len, self.row_length)
        context = max(0, self.bptt - self.seq_len)
        first, next_first = max(0, begin - context), max(0, end - context)
        steps = np.arange(first, end)
        positions = self.starts[:, None] + steps
        with_loss = (steps >= begin) & (steps < self.lengths[:, None])
        batch: Batch = {name: _take(values, positions) for name, values in self.fields.items()}
        if self.ignored is None:
            batch["mask"] = torch.from_numpy(with_loss)
        for name, value in (self.ignored or {}).items():
            batch[name][torch.from_numpy(~with_loss)] = value
        if self.reset is not None:
            batch["reset"] = _take(self.reset, positions)
        cuts = range(self.bptt, end - first, self.bptt) if self.bptt < self.seq_len else ()
        return batch | {"cuts": tuple(cuts), "carry": next_first - first}

    def shard(self, rank: int, world: int) -> "Windows":
        """See `Source`: some of the rows."""
        part = copy(self)
        rows = slice(rank * len(self.starts) // world, (rank + 1) * len(self.starts) // world)
        part.starts, part.lengths = self.starts[rows], self.lengths[rows]
        return part


def _take(values: np.ndarray, positions: np.ndarray) -> torch.Tensor:
    """The values (B, S, ...) at these positions (B, S). A shorter row goes on beyond its end, at most with the last."""
    found = values[np.minimum(positions, len(values) - 1)]
    is_index = values.ndim == 1 and values.dtype.kind in "iu"
    return torch.from_numpy(found.astype(np.int64) if is_index else found)
