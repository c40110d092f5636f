"""Search: outputs that end, found by beams or by drawing, for many rows side by side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from elman.decode.ban import ban, repeats
from elman.decode.sampling import Sampling
from elman.errors import UserError
from elman.options import CountFloat, CountInt, PositiveInt
from elman.recurrent.state import State, over
from elman.recurrent.token_stepper import TokenStepper


@dataclass(frozen=True)
class Search:
    """How an output that ends is found."""

    beam: PositiveInt = 1
    """Hypotheses kept side by side; 1: the likeliest token at each step."""
    n_best: PositiveInt = 1
    """How many outputs are given for each input, best first: at most --beam, or that many samples."""
    length_norm: CountFloat = 1.0
    """Scores are divided by the length, the end counted, to this power (Wu et al. 2016, section 7). 0: not divided,
    which favours short outputs; 1: the mean of a token."""
    min_length: CountInt = 0
    """Tokenizer before the end may come."""
    max_length: PositiveInt | None = None
    """At most so many tokens, the end counted; chosen by the task when not given."""

    def normed(self, score: float, length: int) -> float:
        """The score by which hypotheses of different lengths are compared."""
        return score / length**self.length_norm

    def limit(self, chosen: int) -> int:
        """At most so many tokens; `chosen` is what the task proposes."""
        if self.max_length is None:
            return max(chosen, self.min_length + 1)
        if self.min_length > self.max_length:
            raise UserError(f"--min-length {self.min_length} is more than --max-length {self.max_length}")
        return self.max_length


@dataclass(frozen=True)
class Hypothesis:
    """An output: its tokens without the end, the sum of the log-probabilities that the model gives them and the end,
    that sum by length, and whether it came to its end or was cut off."""

    tokens: list[int]
    score: float
    normed: float
    ended: bool
    attention: Tensor | None = None


@torch.inference_mode()
def search(
    stepper: TokenStepper, batch: dict[str, Tensor], rows: int, start: int, end: int, how: Search,
    max_length: int | list[int], no_repeat: int = 0,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The `how.n_best` hypotheses of each row of the batch, best first; fewer where there are not so many outputs.

    A hypothesis that ends leaves the beam, and its place stays empty: of `how.beam` that are found the best are given.
    `no_repeat` is that of `Sampling`, within a hypothesis; where only the end is left before `min_length`, it yields.
    """
    if how.n_best > how.beam:
        raise UserError(f"--n-best {how.n_best} is more than --beam {how.beam}: pass --beam {how.n_best}")
    limits = [how.limit(each) for each in ([max_length] * rows if isinstance(max_length, int) else max_length)]
    found: list[list[Hypothesis]] = [[] for _ in range(rows)]
    beams = _Beams(stepper, batch, rows, start, end, how)
    last = torch.tensor(limits, device=stepper.device)[:, None]
    for length in range(1, max(limits) + 1):
        beams.grow(no_repeat)
        beams.move(beams.token == end, found)
        rest = zip(found, beams.highest(), limits, strict=True)
        if all(_settled(row, score, how, limit) for row, score, limit in rest):
            break
        beams.move((beams.token != end) & (last == length), found)  # cut off
    return [_ranked(row, how.n_best) for row in found]


def _ranked(found: list[Hypothesis], best: int) -> list[Hypothesis]:
    return sorted(found, key=lambda each: each.normed, reverse=True)[:best]


def _settled(found: list[Hypothesis], score: float, how: Search, limit: int) -> bool:
    """Whether a row is done whose best unfinished hypothesis has that score. Scores are at most 0 and only fall as it
    grows, so that nothing made of it can be better than the same score divided by the greatest length."""
    reachable = how.normed(score, limit)
    return score == -torch.inf or sum(each.normed >= reachable for each in found) >= how.n_best


class _Beams:
    """The unfinished hypotheses of all rows, (rows, beam) of them. An empty place has the score -inf."""

    def __init__(self, stepper: TokenStepper, batch: dict[str, Tensor], rows: int, start: int, end: int, how: Search):
        self.stepper, self.end, self.how = stepper, end, how
        self.state = _repeated(stepper.begin(batch), how.beam)
        self.token = torch.full((rows, how.beam), start, device=stepper.device)
        self.written = self.token.new_empty(rows * how.beam, 0)
        self.attention: Tensor | None = None
        self.score = torch.full((rows, how.beam), -torch.inf, device=stepper.device)
        self.score[:, 0] = 0.0  # before the first token all are the same
        self.room = torch.full((rows, 1), how.beam, device=stepper.device)

    def grow(self, no_repeat: int) -> None:
        """Every hypothesis by one token: the likeliest of all that can be made of a row's."""
        rows, beam = self.score.shape
        logits, state = self.stepper.step(self.token.flatten(), self.state)
        chances, tokens = logits.float().log_softmax(-1), logits.shape[-1]
        if self.written.shape[1] < self.how.min_length:
            chances = ban(chances, _only(self.end, chances))
        if no_repeat:
            chances = ban(chances, repeats(self.written, no_repeat, tokens))
        scores = self.score[..., None] + chances.view(rows, beam, tokens)
        scores = scores.masked_fill(self.score[..., None] == -torch.inf, -torch.inf).flatten(1)
        # of equal ones `max` takes the first, as `argmax` does
        self.score, place = scores.topk(beam) if beam > 1 else scores.max(-1, keepdim=True)
        self.score = self.score.masked_fill(torch.arange(beam, device=place.device) >= self.room, -torch.inf)
        self.token = place % tokens
        origin = (place // tokens + beam * torch.arange(rows, device=place.device)[:, None]).flatten()
        self.written = torch.cat((self.written[origin], self.token.view(-1, 1)), 1)
        weights = self.stepper.attention(state)
        self.state = over(state, lambda part: part.index_select(0, origin)) if beam > 1 else state
        if weights is not None:
            before = (
                self.attention[origin]
                if self.attention is not None
                else weights.new_empty(len(weights), 0, weights.shape[1])
            )
            self.attention = torch.cat((before, weights[origin, None]), 1)

    def move(self, which: Tensor, found: list[list[Hypothesis]]) -> None:
        """Moves these (rows, beam), as far as they are hypotheses, to the found ones of their row."""
        which = which & (self.score > -torch.inf)
        written = self.written.view(*which.shape, -1)
        for row, place in which.nonzero().tolist():
            tokens, score = written[row, place].tolist(), float(self.score[row, place])
            attention = None if self.attention is None else self.attention[row * which.shape[1] + place].float().cpu()
            found[row].append(_hypothesis(tokens, score, self.end, self.how, attention))
        self.score = self.score.masked_fill(which, -torch.inf)
        self.room = self.room - which.sum(-1, keepdim=True)

    def highest(self) -> list[float]:
        """The best score of each row."""
        return self.score.amax(-1).tolist()


@torch.inference_mode()
def draw(
    stepper: TokenStepper, batch: dict[str, Tensor], rows: int, start: int, end: int, how: Search, sampling: Sampling,
    generator: torch.Generator, max_length: int,
) -> list[list[Hypothesis]]:  # fmt: skip
    """`how.n_best` outputs of each row of the batch drawn independently, best first; some may be equal. Scores are
    those of the model, before any filter. The numbers drawn depend only on the generator, on the CPU, and on how
    many."""
    limit, count = how.limit(max_length), rows * how.n_best
    state = _repeated(stepper.begin(batch), how.n_best)
    fed = torch.full((count,), start, device=stepper.device)
    written, score = fed.new_empty(count, 0), torch.zeros(count, device=stepper.device)
    ended = torch.zeros(count, dtype=torch.bool, device=stepper.device)
    for length in range(1, limit + 1):
        logits, state = stepper.step(fed, state)
        only = _only(end, logits)
        # what has ended can but end again, at no cost
        logits = torch.where(ended[:, None], torch.where(only, 0.0, -torch.inf), logits.float())
        chances = logits.log_softmax(-1)
        if length <= how.min_length:
            logits = ban(logits, only)
        uniform = torch.rand(count, 1, generator=generator).to(stepper.device)
        token, fed = sampling.take(logits, uniform, written)
        score = score + chances.gather(1, token[:, None]).squeeze(1)
        written, ended = torch.cat((written, token[:, None]), 1), token == end
        if ended.all():
            break
    drawn = [_hypothesis(*each, end, how) for each in zip(written.tolist(), score.tolist(), strict=True)]
    return [_ranked(drawn[row * how.n_best : (row + 1) * how.n_best], how.n_best) for row in range(rows)]


def _repeated(state: State, times: int) -> State:
    """Each row of a state that many times, one after the other."""
    return over(state, lambda part: part.repeat_interleave(times, 0))


def _only(token: int, logits: Tensor) -> Tensor:
    """True for that one of the tokens (V,) of logits (B, V)."""
    return torch.arange(logits.shape[-1], device=logits.device) == token


def _hypothesis(tokens: list[int], score: float, end: int, how: Search, attention: Tensor | None = None) -> Hypothesis:
    """The output that the tokens up to the first end are."""
    length = tokens.index(end) if end in tokens else len(tokens)
    ended = length < len(tokens)
    return Hypothesis(tokens[:length], score, how.normed(score, length + ended), ended, attention)
