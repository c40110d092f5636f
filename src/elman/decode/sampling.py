"""Sampling: the next token is drawn from the model's distribution, after temperature and filters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from elman.decode.logits_mask import exclude, repeated_ngrams
from elman.options import CountInt, OnlyWith, PositiveFloat, PositiveInt, Probability, ShareFloat
from elman.recurrent.state import State
from elman.recurrent.token_stepper import TokenStepper

BLOCK = 64  # steps that are computed before their tokens are yielded


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature and filters apply in the order of the fields. Where there is an option
    `sample`, all but the last depend on it."""

    greedy: Annotated[bool, OnlyWith("sample")] = False
    """Always take the most probable token."""
    temperature: Annotated[PositiveFloat, OnlyWith("sample")] = 1.0
    """Divides the logits: below 1 the distribution is sharper, above 1 flatter."""
    top_k: Annotated[PositiveInt | None, OnlyWith("sample")] = None
    """Keep the k most probable tokens."""
    top_p: Annotated[float | None, Probability, OnlyWith("sample")] = None
    """Keep the smallest set of most probable tokens whose probabilities reach this sum (nucleus sampling)."""
    min_p: Annotated[ShareFloat, OnlyWith("sample")] = 0.0
    """Keep the tokens with at least this fraction of the highest probability."""
    feed: Annotated[Literal["sample", "softmax"], OnlyWith("sample")] = "sample"
    """The input of the next step: the token that was drawn, or the whole distribution."""
    no_repeat_ngram: CountInt = 0
    """No n-gram of this size twice, unless no other token remains; applies before the filters. 0: no limit."""

    @property
    def unfiltered(self) -> bool:
        """Whether tokens are drawn from softmax(logits / temperature), or the most probable is taken, and fed back."""
        filtered = self.top_k is not None or self.top_p is not None or self.min_p or self.no_repeat_ngram
        return not filtered and self.feed == "sample"

    def next_token(self, logits: Tensor, uniform: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens (B,) that uniform numbers (B, 1) in [0, 1) select from logits (B, V), and the input of the next
        step. `generated` (B, T): the tokens so far, for `no_repeat_ngram`."""
        if self.no_repeat_ngram:
            logits = exclude(logits, repeated_ngrams(generated, self.no_repeat_ngram, logits.shape[-1]))
        probabilities = self.probabilities(logits)
        token = self.choose(probabilities, uniform)
        return token, token if self.feed == "sample" else probabilities / probabilities.sum(-1, keepdim=True)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The filtered distribution (B, V) of logits (B, V); not normalised after `top_p` and `min_p`."""
        logits = logits.float()
        if self.greedy:
            return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        if self.temperature != 1.0:
            logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature  # no temperature makes this overflow
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            top = logits.topk(self.top_k, -1)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, top.indices, top.values)
        probabilities = logits.softmax(-1)
        if self.top_p is not None:
            ordered, order = probabilities.sort(-1, descending=True)
            outside = ordered.cumsum(-1) - ordered >= self.top_p  # the more probable ones already reach it
            probabilities = probabilities.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
        if self.min_p:
            lowest = self.min_p * probabilities.amax(-1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < lowest, 0.0)
        return probabilities

    def choose(self, probabilities: Tensor, uniform: Tensor) -> Tensor:
        """The tokens (B,) at which the cumulative sum of probabilities (B, V) exceeds uniform numbers (B, 1) in [0, 1).
        Probabilities need not sum to 1."""
        cumulative = probabilities.cumsum(-1)
        # scaled by the sum, so that neither rounding nor a filter selects a token of probability 0
        token = torch.searchsorted(cumulative, uniform * cumulative[..., -1:], right=True).squeeze(-1)
        return token.clamp(max=probabilities.shape[-1] - 1)  # beyond the last where probabilities are NaN


def sample(
    stepper: TokenStepper, prompt: list[int], length: int, sampling: Sampling, generator: torch.Generator,
    num_samples: int = 1, batch: Mapping[str, Tensor] | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """Yields the next tokens (num_samples,), `length` times. Every row starts with the prompt.

    - generator: on the CPU; the random numbers depend on nothing but it and num_samples
    - batch: further inputs of the stepper's `begin`
    """
    tokens = torch.tensor(prompt, device=stepper.device).expand(num_samples, -1)
    with torch.inference_mode():
        state = stepper.begin({**(batch or {}), "input": tokens})
        for time in range(len(prompt) - 1):
            _, state = stepper.step(tokens[:, time], state)
        token = tokens[:, -1]
    for begin in range(0, length, BLOCK):
        uniforms = torch.rand(min(BLOCK, length - begin), num_samples, 1, generator=generator).to(stepper.device)
        drawn, token, state = _steps(stepper, token, state, uniforms, sampling, tokens)
        if sampling.no_repeat_ngram:
            tokens = torch.cat((tokens, torch.stack(drawn, 1)), 1)
        yield from drawn


@torch.inference_mode()
def _steps(
    stepper: TokenStepper, token: Tensor, state: State, uniforms: Tensor, sampling: Sampling, generated: Tensor
) -> tuple[list[Tensor], Tensor, State]:
    """A step for each of the uniform numbers (n, B, 1): the tokens drawn, the input of the next step, and the state.
    `generated` (B, T): prompt and tokens so far."""
    if sampling.unfiltered:
        block = stepper.block(token, state, uniforms.squeeze(-1), sampling.temperature, sampling.greedy)
        if block is not None:
            tokens, state = block
            return list(tokens.unbind()), tokens[-1], state
    drawn = []
    for uniform in uniforms.unbind():
        logits, state = stepper.step(token, state)
        chosen, token = sampling.next_token(logits, uniform, generated)
        drawn.append(chosen)
        if sampling.no_repeat_ngram:
            generated = torch.cat((generated, chosen[:, None]), 1)
    return drawn, token, state
