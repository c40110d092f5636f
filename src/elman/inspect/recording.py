"""A recording: what a language model computes along one stream of tokens."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from elman.cells.tap import record
from elman.errors import UserError

TOP = 5  # predictions kept per step
CHUNK = 1000  # steps computed together
IN_MEMORY = 1_000_000_000  # bytes; above it the values are on disk


@dataclass(frozen=True, eq=False)
class Recording:
    """What was computed after each of T tokens.

    - ids: (T,) the tokens
    - values: (T, H) float16 by address (`1.c`)
    - nats: (T,) the loss of each token given all before it; NaN for the first
    - top, probabilities: (T, 5) the most probable next tokens, most probable first
    """

    ids: np.ndarray
    values: Mapping[str, np.ndarray]
    nats: np.ndarray
    top: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@torch.no_grad()
def read(network: Any, ids: np.ndarray, keep: Callable[[str], bool] = lambda address: True) -> Recording:
    """Reads tokens (T,) as one stream from the initial state and records the values at the addresses to `keep`.

    network: gives `logits(tokens (1, T), state)` and the new state.
    """
    network.eval()
    steps = len(ids)
    tokens = torch.from_numpy(np.asarray(ids).astype(np.int64)).to(network.device)
    values: dict[str, np.ndarray] = {}
    nats, top, probabilities = torch.full((steps,), torch.nan), list[torch.Tensor](), list[torch.Tensor]()
    state: Any = None
    for begin in range(0, steps, CHUNK):
        end = min(begin + CHUNK, steps)
        with record() as recorded:
            logits, state = network.logits(tokens[None, begin:end], state)
        log = logits[0].float().log_softmax(-1)
        after = min(end + 1, steps)  # the last prediction of a chunk is scored on the first token of the next
        nats[begin + 1 : after] = -log[: after - begin - 1].gather(1, tokens[begin + 1 : after, None])[:, 0].cpu()
        best = log.topk(min(TOP, log.shape[-1]), -1)
        top.append(best.indices.cpu())
        probabilities.append(best.values.exp().cpu())
        wanted = {address: recorded[address][0] for address in recorded if keep(address)}
        if not values:
            size = sum(2 * value.shape[-1] for value in wanted.values()) * steps
            values = {address: _empty((steps, value.shape[-1]), size) for address, value in wanted.items()}
        for address, value in wanted.items():
            torch.from_numpy(values[address])[begin:end] = value.cpu()
    if not nats[1:].isfinite().all():
        raise UserError("the loss of the model on this text is not finite: there is nothing to inspect")
    return Recording(
        np.asarray(ids), values, nats.numpy(), torch.cat(top).numpy(), torch.cat(probabilities).numpy()
    )  # fmt: skip


def _empty(shape: tuple[int, ...], size: int) -> np.ndarray:
    """An array of float16, memory-mapped from an unnamed file where all arrays together (`size` bytes) are large."""
    if size <= IN_MEMORY:
        return np.empty(shape, np.float16)
    with tempfile.TemporaryFile() as file:  # kept by the mapping until the array is freed
        return np.memmap(file, np.float16, "w+", shape=shape)
