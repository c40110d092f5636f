"""Conditional generation: a text, to its end, from what a row gives: a label, a sentence, an image."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.rows import Ragged
from elman.data.source import Batch
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Hypothesis, Search, draw
from elman.decode.search import search as beam_search
from elman.log import Log
from elman.nets.embedding import STD
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.recurrent.stepper import Stepper
from elman.recurrent.token_stepper import TokenStepper
from elman.tasks.answer import Answer, Attention
from elman.tasks.capabilities import Previews
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.row_prediction import RowPrediction
from elman.tasks.tables import SequenceSpec
from elman.tokenizers.tokenizer import Tokenizer


class ConditionalModel(Model, Previews):
    """A model that generates a text token by token. One token beyond the vocabulary starts and ends a text.

    A subclass gives the state before the first token (`begin`) and what the head is given for a whole text (`decode`).
    """

    def __init__(self, spec: SequenceSpec, tokens: int):
        """tokens: the size of the vocabulary."""
        super().__init__(spec)
        self.boundary, self.dropout = tokens, spec.dropout

    @abstractmethod
    def begin(self, batch: Batch) -> Any:
        """The state before the first token."""

    @abstractmethod
    def decode(self, tokens: Tensor, state: Any, context: Context) -> tuple[Tensor, Any]:
        """What the head is given (B, T, E) at each step, with the tokens (B, T) as input (teacher forcing); and what
        `penalty` needs."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """The logits (..., V + 1) from what the head is given (..., E)."""

    @abstractmethod
    def stepper(self) -> TokenStepper:
        """The model, one token at a time."""

    @property
    def label_smoothing(self) -> float:
        """The part of the target's probability that is spread over all tokens, in training."""
        return 0.0

    def penalty(self, decoded: Any, nats: Tensor, mask: Tensor) -> Tensor:
        """What is added to the mean loss per token, from the loss (B, T) of each and the mask of those that count."""
        return nats.new_zeros(())

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy per token, in nats. The batch has what `begin` takes, and target (B, T), the end included,
        IGNORED where there is none. The sums are without label smoothing and penalties."""
        target = batch["target"]
        hidden, decoded = self.decode(shifted(target, self.boundary), self.begin(batch), context)
        mask = target != IGNORED
        log_probabilities = self.logits(hidden[mask]).float().log_softmax(-1)
        nats = F.nll_loss(log_probabilities, target[mask], reduction="none")
        mean, count = nats.mean(), mask.sum()
        loss = mean
        if self.training:
            of_tokens = nats.new_zeros(target.shape).masked_scatter(mask, nats)
            epsilon = self.label_smoothing
            if epsilon:
                loss = (1 - epsilon) * mean - epsilon * log_probabilities.mean()
            loss = loss + self.penalty(decoded, of_tokens, mask)
        return Loss(loss, count, {"loss": mean * count})


class TiedModel(ConditionalModel):
    """A conditional model whose embedding is the weight of the head (weight tying, Press & Wolf 2017). A subclass also
    makes single steps (`advance`)."""

    def __init__(self, spec: SequenceSpec, tokens: int):
        super().__init__(spec, tokens)
        self.head = nn.Linear(spec.embedding, tokens + 1)
        nn.init.normal_(self.head.weight, std=STD)

    @property
    @abstractmethod
    def generating(self) -> Recurrent:
        """The layer that generates."""

    @abstractmethod
    def advance(self, layer: Stepper, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step with a token (B,): what the head is given (B, E), and the state, whose `attention` (B, L), if any,
        are the attention weights of the step. `layer`: the stepper of `generating`."""

    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings (B, ..., E) of tokens (B, ...)."""
        return drop(F.embedding(tokens, self.head.weight), self.dropout, self.training)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.head(hidden)

    def stepper(self) -> "TiedStepper":
        return TiedStepper(self)


class TiedStepper(TokenStepper):
    """A `TiedModel`, one token at a time."""

    def __init__(self, model: TiedModel):
        super().__init__()
        self.model, self.layer, self.device = model, model.generating.stepper(), model.device

    def begin(self, inputs: Batch) -> State:
        """See `Stepper`."""
        return self.model.begin(inputs)

    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `TokenStepper`."""
        assert x is not None
        hidden, state = self.model.advance(self.layer, x, state)
        return self.model.logits(hidden), state

    def attention(self, state: State) -> Tensor | None:
        """See `TokenStepper`."""
        return state.get("attention")


class ConditionalGeneration(RowPrediction):
    """A task whose models answer a row with a text, by search or by sampling.

    - target: the role of the text that is generated
    - answer_name: the name of the text in an answer
    """

    unit = "token"
    lr = 0.004
    nats = True
    decodes = True
    target: ClassVar[str]
    answer_name: ClassVar[str]

    @abstractmethod
    def target_tokenizer(self, spec: Any) -> Tokenizer:
        """That of the generated text."""

    @abstractmethod
    def limits(self, batch: Batch) -> list[int]:
        """The greatest number of tokens for each row."""

    @abstractmethod
    def attention(self, model: Any, batch: Batch, row: int, found: Hypothesis) -> Attention | None:
        """The attention of a hypothesis for a row of a batch, where the model has any."""

    def answer(
        self, model: TiedModel, batch: Batch, search: Search = Search(), sampling: Sampling = Sampling(),
        drawn: bool = False, seed: int = 0, **_: Any,
    ) -> list[Answer]:  # fmt: skip
        """The generated text; score, by which texts are compared; `candidates` where more than one is wanted; and
        `truncated` where no end was reached. By beam search, or `drawn` by sampling."""
        limits = self.limits(batch)
        arguments = (model.stepper(), batch, len(limits), model.boundary, model.boundary, search)
        if drawn:
            # a seed for each batch: with one seed, row i of every batch would get the same numbers
            mixed = np.random.SeedSequence([seed, int(batch["row"][0])]).generate_state(1)
            found = draw(*arguments, sampling, torch.Generator().manual_seed(int(mixed[0])), max(limits))
        else:
            found = beam_search(*arguments, limits, sampling.no_repeat_ngram)
        return [self._answer(model, batch, number, row, each, search.n_best)
                for number, (row, each) in enumerate(zip(batch["row"].tolist(), found, strict=True))]  # fmt: skip

    def _answer(self, model: Any, batch: Batch, number: int, row: int, found: list[Hypothesis], n_best: int) -> Answer:
        tokenizer, best = self.target_tokenizer(model.spec), found[0]
        texts = [tokenizer.decode(each.tokens).removeprefix(tokenizer.lead) for each in found]
        values: dict[str, Any] = {self.answer_name: texts[0], "score": best.normed}
        if not best.ended:
            values["truncated"] = True
        if n_best > 1:
            values["candidates"] = [{self.answer_name: text, "score": each.normed}
                                    for text, each in zip(texts, found, strict=True)]  # fmt: skip
        return Answer(row, values, self.attention(model, batch, number, best))

    def predict(self, model: Any, rows: Table, log: Log, **decoding: Any) -> Iterator[Answer]:
        found = list(super().predict(model, rows, log, **decoding))
        cut = sum("truncated" in answer.values for answer in found)
        if cut:
            log(f"{cut:,} of {len(found):,} {self.answer_name}s were truncated before their end; see `max_length`")
        return iter(found)

    def line(self, answer: Answer) -> str:
        """The generated text, or all candidates with a tab between them."""
        return "\t".join(each[self.answer_name] for each in answer.values.get("candidates", [answer.values]))


def token_texts(tokenizer: Tokenizer, ids: list[int]) -> tuple[str, ...]:
    """The text of each token, as it stands in the whole."""
    decode = tokenizer.decoder()
    return tuple(decode(token) for token in ids)


def with_end(ids: list[np.ndarray], end: int) -> Ragged:
    """Texts as targets, each with its end, the token beyond the vocabulary."""
    return Ragged([np.append(each, end).astype(np.int64) for each in ids], IGNORED)


def shifted(target: Tensor, start: int) -> Tensor:
    """The input tokens (B, T) for targets (B, T): each target one step later, after the start token."""
    return torch.cat((torch.full_like(target[:, :1], start), target[:, :-1].clamp(min=0)), 1)
