"""Sampling: the next token is drawn from the distribution that the model gives, narrowed by filters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from elman.decode.ban import ban, repeats
from elman.options import CountInt, PositiveFloat, PositiveInt, Probability, ShareFloat
from elman.recurrent.state import State
from elman.recurrent.token_stepper import TokenStepper


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
    no_repeat_ngram: CountInt = 0
    """No run of so many tokens twice, unless nothing else is left; acts before the filters. 0: runs may repeat."""

    @property
    def plain(self) -> bool:
        """Whether tokens are drawn from the model's own distribution, or the likeliest taken: no filter or feed."""
        filtered = self.top_k is not None or self.top_p is not None or self.min_p or self.no_repeat_ngram
        return not filtered and self.feed == "sample"

    def take(self, logits: Tensor, uniform: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens (B,) that the uniform numbers (B, 1) choose from logits (B, V), and what the next step gets.
        `written` (B, T) is what `no_repeat` looks at."""
        if self.no_repeat_ngram:
            logits = ban(logits, repeats(written, self.no_repeat_ngram, logits.shape[-1]))
        chances = self.probabilities(logits)
        token = self.choose(chances, uniform)
        return token, token if self.feed == "sample" else chances / chances.sum(-1, keepdim=True)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The filtered distribution (B, V) of logits (B, V)."""
        logits = logits.float()
        if self.greedy:
            return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        if self.temperature != 1.0:
            logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature  # no temperature makes this overflow
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            likeliest = logits.topk(self.top_k, -1)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, likeliest.indices, likeliest.values)
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


BLOCK = 64  # steps between two handings-out


def sample(
    stepper: TokenStepper, prompt: list[int], length: int, how: Sampling, generator: torch.Generator,
    num_samples: int = 1, batch: Mapping[str, Tensor] | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """Yields `length` times the next tokens (num_samples,), after the prompt, which every row is given; `batch` is what
    else the stepper begins with. The numbers drawn depend only on the generator, on the CPU, and the number of
    num_samples."""
    tokens = torch.tensor(prompt, device=stepper.device).expand(num_samples, -1)
    with torch.inference_mode():
        state: State = stepper.begin({**(batch or {}), "input": tokens})
        for time in range(len(prompt) - 1):
            _, state = stepper.step(tokens[:, time], state)
        token = tokens[:, -1]
    for done in range(0, length, BLOCK):
        uniforms = torch.rand(min(BLOCK, length - done), num_samples, 1, generator=generator).to(stepper.device)
        drawn, token, state = _block(stepper, token, state, uniforms, how, tokens)
        if how.no_repeat_ngram:
            tokens = torch.cat((tokens, torch.stack(drawn, 1)), 1)
        yield from drawn


@torch.inference_mode()
def _block(
    stepper: TokenStepper, token: Tensor, state: State, uniforms: Tensor, how: Sampling, written: Tensor
) -> tuple[list[Tensor], Tensor, State]:
    """As many steps as there are uniform numbers (n, num_samples, 1): the tokens drawn, what is fed next, and the
    state. `written` (num_samples, T) is what no run may be repeated of."""
    done = stepper.block(token, state, uniforms.squeeze(-1), how.temperature, how.greedy) if how.plain else None
    if done is not None:
        return list(done[0].unbind()), done[0][-1], done[1]
    drawn = []
    for uniform in uniforms.unbind():
        logits, state = stepper.step(token, state)
        chosen, token = how.take(logits, uniform, written)
        drawn.append(chosen)
        if how.no_repeat_ngram:
            written = torch.cat((written, chosen[:, None]), 1)
    return drawn, token, state
