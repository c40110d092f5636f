"""How much of the history a language model uses: its loss when it reads only the last k tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from elman.errors import UserError
from elman.tasks.lm import LM

ROWS = 512  # positions at a time
STEPS = 128  # tokens read at a time


def places(length: int, longest: int, positions: int = 2000, seed: int = 0) -> np.ndarray:
    """Which tokens of a text of that length are predicted: some drawn, or all, of those with `longest` before them."""
    if length <= longest:
        raise UserError(f"the text has {length} tokens: to predict one from {longest} takes at least {longest + 1}")
    can = length - longest
    return np.sort(longest + np.random.default_rng(seed).choice(can, min(can, positions), replace=False))


@torch.inference_mode()
def loss_by_history(
    model: LM, ids: np.ndarray, kept: Sequence[int | None], positions: int = 2000, seed: int = 0
) -> np.ndarray:
    """(len(kept), P): nats of the tokens at P places of a text, when the model has read, from its initial state, only
    the k tokens before each; None stands for all of them. The places are `places(len(ids), max(kept), ...)`."""
    given = [k for k in kept if k is not None]
    if not kept or min(given, default=1) < 1:
        raise UserError(f"how many tokens are kept must be 1 or more each, not {list(kept)}")
    where = places(len(ids), max(given, default=1), positions, seed)
    training = model.training
    model.eval()
    try:
        return np.stack([_after_all(model, ids, where) if k is None else _after(model, ids, where, k) for k in kept])
    finally:
        model.train(training)


def _after(model: LM, ids: np.ndarray, where: np.ndarray, k: int) -> np.ndarray:
    nats = []
    for begin in range(0, len(where), ROWS):
        rows = where[begin : begin + ROWS]
        first, *more = _tokens(model, ids[rows[:, None] + np.arange(-k, 0)]).split(STEPS, 1)
        y, state = model.recurrent(model.lookup(first))
        for part in more:
            y, state = model.recurrent(model.lookup(part), state)
        nats.append(_nats(model, y[:, -1], ids[rows]))
    return np.concatenate(nats)


def _after_all(model: LM, ids: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The state is carried from the first token on, as one row."""
    nats, state = [], None
    for begin in range(0, where[-1], STEPS):
        read = _tokens(model, ids[None, begin : begin + STEPS])
        y, state = model.recurrent(model.lookup(read), state)
        rows = where[(where > begin) & (where <= begin + STEPS)]
        nats.append(_nats(model, y[0, rows - begin - 1], ids[rows]))
    return np.concatenate(nats)


def _nats(model: LM, y: Tensor, target: np.ndarray) -> np.ndarray:
    return F.cross_entropy(model.head(y).float(), _tokens(model, target), reduction="none").cpu().numpy()


def _tokens(model: LM, ids: np.ndarray) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64)).to(model.lookup.weight.device)
