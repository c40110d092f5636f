"""A recording: what one stream of tokens does inside a language model, step by step."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from elman.cells.tap import record
from elman.tasks.lm import LM

LIKELIEST = 5  # tokens of each prediction that are kept
CHUNK = 1000  # steps at a time
IN_MEMORY = 1_000_000_000  # bytes; what is larger lies on the disk


@dataclass
class Recording:
    """What was seen after each of T tokens was read.

    - ids: (T,) the tokens
    - values: by place (`1.c`), (T, H) float16
    - nats: (T,) how surprising each token was, given all before it; the first is NaN
    - likely, chances: (T, 5) the tokens that were expected next, the likeliest first, and their probabilities
    """

    ids: np.ndarray
    values: Mapping[str, np.ndarray]
    nats: np.ndarray
    likely: np.ndarray
    chances: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@torch.no_grad()
def listen(model: LM, ids: np.ndarray, keep: Callable[[str], bool] = lambda place: True) -> Recording:
    """Reads the tokens (T,) as one stream, from the initial state, and keeps the named values whose place is wanted."""
    model.eval()
    device, steps = model.head.weight.device, len(ids)
    tokens = torch.from_numpy(np.asarray(ids).astype(np.int64)).to(device)
    few = min(LIKELIEST, model.head.out_features)
    values: dict[str, np.ndarray] = {}
    nats = torch.full((steps,), torch.nan)
    likely, chances = torch.zeros(steps, few, dtype=torch.int64), torch.zeros(steps, few)
    state: Any = None
    for begin in range(0, steps, CHUNK):
        end = min(begin + CHUNK, steps)
        with record() as seen:
            logits, state = model.logits(tokens[None, begin:end], state)
        log = logits[0].float().log_softmax(-1)
        after = min(end + 1, steps)  # what the last step expects is compared with the next chunk's first token
        nats[begin + 1 : after] = -log[: after - begin - 1].gather(1, tokens[begin + 1 : after, None])[:, 0].cpu()
        best = log.topk(few, -1)
        likely[begin:end], chances[begin:end] = best.indices.cpu(), best.values.exp().cpu()
        wanted = {place: seen[place][0] for place in seen if keep(place)}
        if not values:
            size = sum(2 * value.shape[-1] for value in wanted.values()) * steps
            values = {place: _room((steps, value.shape[-1]), size) for place, value in wanted.items()}
        for place, value in wanted.items():
            torch.from_numpy(values[place])[begin:end] = value.cpu()
    return Recording(np.asarray(ids), values, nats.numpy(), likely.numpy(), chances.numpy())


def _room(shape: tuple[int, ...], size: int) -> np.ndarray:
    """An array of float16, in a file without a name when all of them together are large."""
    if size <= IN_MEMORY:
        return np.empty(shape, np.float16)
    with tempfile.TemporaryFile() as file:  # the mapping keeps it; gone with the array
        return np.memmap(file, np.float16, "w+", shape=shape)
