"""Sampling: the next token is drawn from the distribution that the model gives, narrowed by filters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter
from torch import Tensor

from elman.options import PositiveFloat, PositiveInt, Probability, ShareFloat
from elman.recurrent.state import State


@Parameter(name="*")
@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The filters act in this order."""

    greedy: bool = False
    """Always take the likeliest token."""
    temperature: PositiveFloat = 1.0
    """Divides the logits: below 1 bolder for the likely, above 1 more even."""
    top_k: PositiveInt | None = None
    """Only the k likeliest tokens."""
    top_p: Annotated[float | None, Probability] = None
    """Only the likeliest tokens that together reach this probability."""
    min_p: ShareFloat = 0.0
    """Only tokens at least this share as likely as the likeliest."""
    feed: Literal["sample", "softmax"] = "sample"
    """What the next step gets: the token that was chosen, or the whole distribution."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """The filtered distribution (B, V) of logits (B, V)."""
        logits = logits.float()
        if self.greedy:
            return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        if self.temperature != 1.0:
            logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            weakest = logits.topk(self.top_k, -1).values[..., -1:]
            logits = logits.masked_fill(logits < weakest, -torch.inf)
        chances = logits.softmax(-1)
        if self.top_p is not None:
            ordered, order = chances.sort(-1, descending=True)
            outside = ordered.cumsum(-1) - ordered >= self.top_p  # those before it are already enough
            chances = chances.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
        if self.min_p:
            chances = chances.masked_fill(chances < self.min_p * chances.amax(-1, keepdim=True), 0.0)
        return chances

    def choose(self, chances: Tensor, uniform: Tensor) -> Tensor:
        """The tokens (B,) at which the cumulated chances (B, V) pass the uniform numbers (B, 1) in [0, 1)."""
        cumulated = chances.cumsum(-1)
        # scaled by the sum, so that neither rounding nor a filter lets the number pass the last token with a chance
        return torch.searchsorted(cumulated, uniform * cumulated[..., -1:], right=True).squeeze(-1)


BLOCK = 1024  # uniform numbers drawn at once


@torch.inference_mode()
def sample(
    stepper: Any, prompt: list[int], length: int, how: Sampling, generator: torch.Generator, rows: int = 1
) -> Iterator[Tensor]:
    """Yields `length` times the next tokens (rows,), after the prompt, which every row is given. The numbers drawn
    depend only on the generator, on the CPU, and the number of rows."""
    device = stepper.device
    tokens = torch.tensor(prompt, device=device).expand(rows, -1)
    state: State = stepper.begin({"input": tokens})
    for time in range(len(prompt) - 1):
        _, state = stepper.step(tokens[:, time], state)
    token, uniforms = tokens[:, -1], torch.empty(0)
    for done in range(length):
        if done % BLOCK == 0:
            uniforms = torch.rand(BLOCK, rows, 1, generator=generator).to(device)
        logits, state = stepper.step(token, state)
        chances = how.probabilities(logits)
        chosen = how.choose(chances, uniforms[done % BLOCK])
        yield chosen
        token = chosen if how.feed == "sample" else chances / chances.sum(-1, keepdim=True)
