"""How much of the history a language model uses: its loss when it has read only the last k tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elman.errors import UserError

BATCH = 512  # positions
STEPS = 128  # tokens read at a time


def positions(length: int, longest: int, count: int = 2000, seed: int = 0) -> np.ndarray:
    """Random positions (P,), sorted, of at most `count` tokens of a text of `length` with at least `longest` tokens
    before them."""
    if length <= longest:
        raise UserError(f"the text has {length} tokens: predicting one from {longest} takes at least {longest + 1}")
    candidates = length - longest
    draw = np.random.default_rng(seed)
    return np.sort(longest + draw.choice(candidates, min(candidates, count), replace=False))


@torch.inference_mode()
def loss_by_history(
    network: Any, ids: np.ndarray, kept: Sequence[int | None], count: int = 2000, seed: int = 0
) -> np.ndarray:
    """(len(kept), P): the loss, in nats, of the tokens at P positions of a text when the model has read, from its
    initial state, only the k tokens before each; None stands for all. The positions are `positions(len(ids),
    max(kept), ...)`.

    network: has `recurrent`, `embedding` and `head`.
    """
    finite = [k for k in kept if k is not None]
    if not kept or min(finite, default=1) < 1:
        raise UserError(f"the history must be 1 or more tokens, not {list(kept)}")
    where = positions(len(ids), max(finite, default=1), count, seed)
    training = network.training
    network.eval()
    try:
        return np.stack([_full(network, ids, where) if k is None else _limited(network, ids, where, k) for k in kept])
    finally:
        network.train(training)


def _limited(network: Any, ids: np.ndarray, where: np.ndarray, k: int) -> np.ndarray:
    nats = []
    for begin in range(0, len(where), BATCH):
        rows = where[begin : begin + BATCH]
        first, *more = _tokens(network, ids[rows[:, None] + np.arange(-k, 0)]).split(STEPS, 1)
        y, state = network.recurrent(network.embedding(first))
        for part in more:
            y, state = network.recurrent(network.embedding(part), state)
        nats.append(_nats(network, y[:, -1], ids[rows]))
    return np.concatenate(nats)


def _full(network: Any, ids: np.ndarray, where: np.ndarray) -> np.ndarray:
    """With the state carried from the first token, as one row."""
    nats, state = [], None
    for begin in range(0, where[-1], STEPS):
        part = _tokens(network, ids[None, begin : begin + STEPS])
        y, state = network.recurrent(network.embedding(part), state)
        rows = where[(where > begin) & (where <= begin + STEPS)]
        nats.append(_nats(network, y[0, rows - begin - 1], ids[rows]))
    return np.concatenate(nats)


def _nats(network: Any, y: Tensor, target: np.ndarray) -> np.ndarray:
    return F.cross_entropy(network.head(y).float(), _tokens(network, target), reduction="none").cpu().numpy()


def _tokens(network: Any, ids: np.ndarray) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64)).to(network.device)
