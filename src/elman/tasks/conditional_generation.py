"""What tasks share that write a text from what a row gives: a translation, a caption."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Hypothesis, Search, draw
from elman.decode.search import search as beams
from elman.log import Log
from elman.nets.embedding import SPREAD
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.tables import TableTask, shifted
from elman.tasks.task import Answer, Batch
from elman.tokenizers import registry
from elman.tokenizers.tokenizer import Tokenizer


class ConditionalGeneration(TableTask):
    """A text, to its end, from what a row gives.

    A subclass says how writing begins (`begin`), how it goes on by one token (`advance`) and what the head is given for
    a whole text (`decode`). `writes` is the role that is written, `answer` the word for it.
    """

    unit: ClassVar[str] = "token"
    lr: ClassVar[float] = 0.004
    writes: ClassVar[str]
    answer: ClassVar[str]  # the word for what is written

    def __init__(self, tokens: int, embedding: int, dropout: float, smoothing: float):
        """tokens: how many there are to write. One more is known: it begins and ends a text."""
        super().__init__()
        self.head = nn.Linear(embedding, tokens + 1)
        nn.init.normal_(self.head.weight, std=SPREAD)
        self.boundary, self.dropout, self.smoothing = tokens, dropout, smoothing

    @property
    @abstractmethod
    def written_by(self) -> Recurrent:
        """The layer that writes."""

    @abstractmethod
    def begin(self, batch: Batch) -> dict[str, Any]:
        """The state before the first token."""

    @abstractmethod
    def advance(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], token: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """One token (B,) on: what the head is given (B, E), and the state. `step`: the layer's `unrolled()`."""

    @abstractmethod
    def decode(self, tokens: Tensor, state: dict[str, Any], batch: Batch) -> tuple[Tensor, Any]:
        """What the head is given (B, T, E) at each step, the tokens (B, T) being fed; and what `penalty` needs."""

    @abstractmethod
    def limits(self, batch: Batch) -> list[int]:
        """At most so many tokens are written of each row."""

    def penalty(self, seen: Any, nats: Tensor, counted: Tensor) -> Tensor:
        """What is added to the mean loss of a token, from the nats (B, T) of those that are counted (B, T)."""
        return nats.new_zeros(())

    def vectors(self, tokens: Tensor) -> Tensor:
        """Of tokens (B, ...), (B, ..., E): the head's weights, so what is said of a token is learned with what is read
        of it (Press & Wolf 2017)."""
        return drop(F.embedding(tokens, self.head.weight), self.dropout, self.training)

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """The batch has what `begin` takes; target (B, T), the end included, IGNORED where there is none; in training
        progress (). What is logged is without smoothing and penalty."""
        target = batch["target"]
        out, seen = self.decode(shifted(target, self.boundary), self.begin(batch), batch)
        counted = target != IGNORED
        chances = self.head(out[counted]).float().log_softmax(-1)
        nats = F.nll_loss(chances, target[counted], reduction="none")
        mean, count = nats.mean(), counted.sum()
        loss = mean
        if self.training:
            of_tokens = nats.new_zeros(target.shape).masked_scatter(counted, nats)
            loss = (1 - self.smoothing) * mean - self.smoothing * chances.mean()
            loss = loss + self.penalty(seen, of_tokens, counted)
        return loss, None, {"nats": mean.detach() * count, "tokens": count}

    def stepper(self) -> "ConditionalStepper":
        return ConditionalStepper(self)

    def answers(
        self, batch: Batch, config: dict[str, Any], search: Search = Search(), sampling: Sampling = Sampling(),
        drawn: bool = False, seed: int = 0, **_: Any,
    ) -> list[Answer]:  # fmt: skip
        """What is written; score, by which texts are compared; and the `candidates` where more than one is asked for.
        By beams, or `drawn` by sampling; `cut` where no end was reached."""
        limits = self.limits(batch)
        asked = (self.stepper(), batch, len(limits), self.boundary, self.boundary, search)
        if drawn:
            # other numbers for each batch, or the tenth row of every one would get the same
            mixed = np.random.SeedSequence([seed, int(batch["row"][0])]).generate_state(1)
            found = draw(*asked, sampling, torch.Generator().manual_seed(int(mixed[0])), max(limits))
        else:
            found = beams(*asked, limits, sampling.no_repeat_ngram)
        tokens = registry.from_json(config["tokens"][self.writes])
        return [self._answer(each, tokens, search.n_best) for each in found]

    def _answer(self, found: list[Hypothesis], tokens: Tokenizer, best: int) -> Answer:
        texts = [tokens.decode(each.tokens).removeprefix(tokens.lead) for each in found]
        answer: Answer = {self.answer: texts[0], "score": found[0].normed}
        if not found[0].ended:
            answer["cut"] = True
        if best > 1:
            answer["candidates"] = [{self.answer: text, "score": each.normed}
                                    for text, each in zip(texts, found, strict=True)]  # fmt: skip
        return answer

    def predict(self, rows: Table, config: dict[str, Any], log: Log, **how: Any) -> list[Answer]:
        found = super().predict(rows, config, log, **how)
        cut = sum("cut" in answer for answer in found)
        if cut:
            log(f"{cut:,} of {len(found):,} {self.answer}s were cut: they came to no end; see --max-length")
        return found

    def line(self, answer: Answer) -> str:
        """What was written, or all that were asked for, a tab between them."""
        return "\t".join(each[self.answer] for each in answer.get("candidates", [answer]))


class ConditionalStepper:
    """A writer a token at a time."""

    def __init__(self, model: ConditionalGeneration):
        self.model, self.step_of = model, model.written_by.unrolled()
        self.device = model.head.weight.device

    def begin(self, batch: Batch) -> State:
        """See `Stepper`: the state after what the rows give."""
        return self.model.begin(batch)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Stepper`."""
        out, state = self.model.advance(self.step_of, token, state)
        return self.model.head(out), state
