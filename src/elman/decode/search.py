"""Search: outputs that end, for a batch of rows, by beam search or by independent samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from elman.decode.logits_mask import exclude, repeated_ngrams
from elman.decode.sampling import Sampling
from elman.errors import UserError
from elman.options import CountFloat, CountInt, NotWith, PositiveInt
from elman.recurrent.state import State, over
from elman.recurrent.token_stepper import TokenStepper


@dataclass(frozen=True)
class Search:
    """Options of the search for an output."""

    beam: Annotated[PositiveInt, NotWith("sample", True)] = 1
    """Beam size; 1 is greedy search."""
    n_best: PositiveInt = 1
    """Outputs per input, best first: at most `beam`, or this many samples."""
    length_norm: CountFloat = 1.0
    """A score is divided by the length, end token included, to this power (Wu et al. 2016, section 7). 0: no
    normalisation, which favours short outputs; 1: the mean over tokens."""
    min_length: CountInt = 0
    """Tokens before the end token is allowed."""
    max_length: PositiveInt | None = None
    """Greatest number of tokens, end token included; if not given, chosen by the task."""

    def normalize(self, score: float, length: int) -> float:
        """The score by which outputs of different lengths are compared."""
        return score / length**self.length_norm

    def limit(self, default: int) -> int:
        """The greatest number of tokens: `max_length`, or the task's default."""
        if self.max_length is None:
            return max(default, self.min_length + 1)
        if self.min_length > self.max_length:
            raise UserError(f"`min_length` {self.min_length} is more than `max_length` {self.max_length}")
        return self.max_length


@dataclass(frozen=True)
class Hypothesis:
    """An output.

    - tokens: without the end token
    - score: the sum of the log-probabilities of the tokens and the end token
    - normed: the score normalised by length
    - ended: whether the end token was reached; otherwise the output was truncated
    - attention: weights (T, L) of each step, the end token's included, where the stepper has attention
    """

    tokens: list[int]
    score: float
    normed: float
    ended: bool
    attention: Tensor | None = None


@torch.inference_mode()
def search(
    stepper: TokenStepper, batch: Mapping[str, Tensor], rows: int, start: int, end: int, options: Search,
    max_length: int | list[int], no_repeat_ngram: int = 0,
) -> list[list[Hypothesis]]:  # fmt: skip
    """Beam search: the `options.n_best` hypotheses of each row of the batch, best first; fewer where there are fewer
    outputs.

    A hypothesis that ends leaves the beam and its slot stays empty, so that at most `options.beam` are found for a row.
    A row is done once no unfinished hypothesis can still be among the best.

    - start, end: the tokens that begin and end an output
    - max_length: the task's limit, for all rows or for each
    - no_repeat_ngram: see `Sampling`; ignored where only the end token would remain before `min_length`
    """
    if options.n_best > options.beam:
        raise UserError(f"`n_best` {options.n_best} is more than `beam` {options.beam}: pass `beam` {options.n_best}")
    limits = [options.limit(each) for each in ([max_length] * rows if isinstance(max_length, int) else max_length)]
    found: list[list[Hypothesis]] = [[] for _ in range(rows)]
    beams = _Beams(stepper, batch, rows, start, end, options)
    last = torch.tensor(limits, device=stepper.device)[:, None]
    for length in range(1, max(limits) + 1):
        beams.advance(no_repeat_ngram)
        beams.finish(beams.token == end, found)
        rest = zip(found, beams.best_scores(), limits, strict=True)
        if all(_done(row, score, options, limit) for row, score, limit in rest):
            break
        beams.finish((beams.token != end) & (last == length), found)  # truncated
    return [_ranked(row, options.n_best) for row in found]


def _ranked(found: list[Hypothesis], n_best: int) -> list[Hypothesis]:
    return sorted(found, key=lambda each: each.normed, reverse=True)[:n_best]


def _done(found: list[Hypothesis], score: float, options: Search, limit: int) -> bool:
    """Whether a row is done whose best unfinished hypothesis has this score. Scores are at most 0 and decrease as a
    hypothesis grows, so that its continuations are at most the same score normalised by the greatest length."""
    bound = options.normalize(score, limit)
    return score == -torch.inf or sum(each.normed >= bound for each in found) >= options.n_best


class _Beams:
    """The unfinished hypotheses of all rows: (rows, beam) slots. An empty slot has the score -inf."""

    def __init__(
        self, stepper: TokenStepper, batch: Mapping[str, Tensor], rows: int, start: int, end: int, options: Search
    ):
        self.stepper, self.end, self.options = stepper, end, options
        self.state = _repeated(stepper.begin(batch), options.beam)
        self.token = torch.full((rows, options.beam), start, device=stepper.device)
        self.generated = self.token.new_empty(rows * options.beam, 0)
        self.attention: Tensor | None = None
        self.score = torch.full((rows, options.beam), -torch.inf, device=stepper.device)
        self.score[:, 0] = 0.0  # before the first token all are the same
        self.free = torch.full((rows, 1), options.beam, device=stepper.device)  # slots without a finished hypothesis

    def advance(self, no_repeat_ngram: int) -> None:
        """One step: the `beam` best of all one-token continuations of a row."""
        rows, beam = self.score.shape
        logits, state = self.stepper.step(self.token.flatten(), self.state)
        log_probabilities, vocabulary = logits.float().log_softmax(-1), logits.shape[-1]
        if self.generated.shape[1] < self.options.min_length:
            log_probabilities = exclude(log_probabilities, _is_token(self.end, log_probabilities))
        if no_repeat_ngram:
            log_probabilities = exclude(log_probabilities, repeated_ngrams(self.generated, no_repeat_ngram, vocabulary))
        scores = self.score[..., None] + log_probabilities.view(rows, beam, vocabulary)
        scores = scores.masked_fill(self.score[..., None] == -torch.inf, -torch.inf).flatten(1)
        # of equal scores `max` takes the first, as `argmax` does
        self.score, index = scores.topk(beam) if beam > 1 else scores.max(-1, keepdim=True)
        self.score = self.score.masked_fill(torch.arange(beam, device=index.device) >= self.free, -torch.inf)
        self.token = index % vocabulary
        origin = (index // vocabulary + beam * torch.arange(rows, device=index.device)[:, None]).flatten()
        self.generated = torch.cat((self.generated[origin], self.token.view(-1, 1)), 1)
        self._record_attention(self.stepper.attention(state), origin)
        self.state = over(state, lambda part: part.index_select(0, origin)) if beam > 1 else state

    def _record_attention(self, weights: Tensor | None, origin: Tensor) -> None:
        """Appends the attention weights (rows * beam, L) of a step to those of the hypotheses that it continued."""
        if weights is not None:
            before = weights.new_empty(len(weights), 0, weights.shape[1]) if self.attention is None else self.attention
            self.attention = torch.cat((before[origin], weights[origin, None]), 1)

    def finish(self, mask: Tensor, found: list[list[Hypothesis]]) -> None:
        """Moves the hypotheses in the slots of a mask (rows, beam) to those found for their row."""
        mask = mask & (self.score > -torch.inf)
        generated = self.generated.view(*mask.shape, -1)
        for row, slot in mask.nonzero().tolist():
            tokens, score = generated[row, slot].tolist(), float(self.score[row, slot])
            attention = None if self.attention is None else self.attention[row * mask.shape[1] + slot].float().cpu()
            found[row].append(_hypothesis(tokens, score, self.end, self.options, attention))
        self.score = self.score.masked_fill(mask, -torch.inf)
        self.free = self.free - mask.sum(-1, keepdim=True)

    def best_scores(self) -> list[float]:
        """The best score of each row."""
        return self.score.amax(-1).tolist()


@torch.inference_mode()
def draw(
    stepper: TokenStepper, batch: Mapping[str, Tensor], rows: int, start: int, end: int, options: Search,
    sampling: Sampling, generator: torch.Generator, max_length: int,
) -> list[list[Hypothesis]]:  # fmt: skip
    """`options.n_best` independent samples for each row of the batch, best first; some may be equal.

    Scores are those of the model before temperature and filters. The random numbers depend on nothing but the
    generator, on the CPU, and the number of samples.
    """
    limit, count = options.limit(max_length), rows * options.n_best
    state = _repeated(stepper.begin(batch), options.n_best)
    x = torch.full((count,), start, device=stepper.device)
    generated, score = x.new_empty(count, 0), torch.zeros(count, device=stepper.device)
    ended = torch.zeros(count, dtype=torch.bool, device=stepper.device)
    attention = list[Tensor]()
    for length in range(1, limit + 1):
        logits, state = stepper.step(x, state)
        weights = stepper.attention(state)
        attention += [] if weights is None else [weights]
        is_end = _is_token(end, logits)
        # a row that has ended continues with the end token, of probability 1
        logits = torch.where(ended[:, None], torch.where(is_end, 0.0, -torch.inf), logits.float())
        log_probabilities = logits.log_softmax(-1)
        if length <= options.min_length:
            logits = exclude(logits, is_end)
        uniform = torch.rand(count, 1, generator=generator).to(stepper.device)
        token, x = sampling.next_token(logits, uniform, generated)
        score = score + log_probabilities.gather(1, token[:, None]).squeeze(1)
        generated, ended = torch.cat((generated, token[:, None]), 1), token == end
        if ended.all():
            break
    recorded = torch.stack(attention, 1).float().cpu() if attention else [None] * count
    samples = zip(generated.tolist(), score.tolist(), recorded, strict=True)
    drawn = [_hypothesis(tokens, total, end, options, each) for tokens, total, each in samples]
    n_best = options.n_best
    return [_ranked(drawn[row * n_best : (row + 1) * n_best], n_best) for row in range(rows)]


def _repeated(state: State, times: int) -> State:
    """Each row of a state repeated, next to each other."""
    return over(state, lambda part: part.repeat_interleave(times, 0))


def _is_token(token: int, logits: Tensor) -> Tensor:
    """The mask (V,) of one token, for logits (B, V)."""
    return torch.arange(logits.shape[-1], device=logits.device) == token


def _hypothesis(
    tokens: list[int], score: float, end: int, options: Search, attention: Tensor | None = None
) -> Hypothesis:
    """The output that the tokens up to the first end token are, with the attention weights of their steps."""
    length = tokens.index(end) if end in tokens else len(tokens)
    ended = length < len(tokens)
    attention = None if attention is None else attention[: length + ended]
    return Hypothesis(tokens[:length], score, options.normalize(score, length + ended), ended, attention)
