"""Language model: every token predicts the next (the lecture's character model)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import PurePath
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data import corpus
from elman.data.corpus import Corpus
from elman.data.source import Batch
from elman.data.windows import IGNORED, Windows
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError
from elman.options import Bound, PositiveInt, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.state import State
from elman.recurrent.token_stepper import RecurrentTokenStepper
from elman.recurrent.truncation import unroll
from elman.tasks.capabilities import Generates, Previews, Prompt
from elman.tasks.loss import Context, Loss
from elman.tasks.model import Model
from elman.tasks.network import TokenNetworkOptions
from elman.tasks.spec import AnyTokenizer, Spec
from elman.tasks.task import Dataset, Reading, Task, entropy
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import Tokenizer

SMALLEST_SPLIT = 64  # tokens: a loss over fewer is noise
TOKENS = "char"  # unless given
FIRST = 1000  # tokens among which is one that samples begin with
COUNTED = 1_000_000  # tokens over which the unigram entropy is taken
PREVIEWED = 160  # tokens
Inside = Bound("a pattern of files in the folder", lambda pattern: not {"..", "/"} & {*PurePath(pattern).parts})


@dataclass(frozen=True)
class LMOptions(TokenizerOptions, TokenNetworkOptions):
    """Options of the data and the network. None: chosen from the size of the text and the training time."""

    encoding: str = "utf-8"
    """How the text's bytes are characters: utf-8, latin-1, cp1252, utf-16, ..."""
    pattern: Annotated[str, Inside] = "**/*"
    """Which files of a folder are read."""
    valid: ShareFloat = 0.1
    """Fraction of the text, after the training split, used for validation."""
    test: ShareFloat = 0.0
    """Fraction of the text, at its end, held out from training and validation; see `elman eval --split test`."""
    learn_initial_state: bool = False
    """Learn the state before the first token instead of starting at 0."""
    reset_probability: ShareFloat = 0.02
    """Probability, in training, that a row's state is reset before a batch: a model must also know how a text
    begins."""
    seq_len: PositiveInt = 64
    """Steps forward per update (k1 of truncated back-propagation)."""
    bptt: PositiveInt | None = None
    """Steps the gradient goes back (k2); seq_len when not given."""


@dataclass(frozen=True, kw_only=True)
class LMSpec(Spec):
    """tokenizer: that of the text; hidden, embedding, dropout: as chosen; seed_text: the first token of the text, with
    which generation starts without a prompt."""

    options: LMOptions
    tokenizer: AnyTokenizer
    hidden: PositiveInt
    embedding: PositiveInt
    dropout: ShareFloat
    seed_text: str


class LMModel(Model, Previews):
    """Embedding, `Recurrent`, linear head, cross-entropy."""

    def __init__(self, spec: LMSpec):
        super().__init__(spec)
        options, self.dropout = spec.options, spec.dropout
        self.embedding = nn.Embedding(len(spec.tokenizer), spec.embedding)
        self.recurrent = options.recurrent(
            spec.embedding, spec.hidden, spec.dropout, learn_initial_state=options.learn_initial_state
        )
        self.head = nn.Linear(self.recurrent.output_size, len(spec.tokenizer))

    def describe(self) -> str:
        return f"{super().describe()}, embedding {self.spec.embedding}, dropout {self.dropout:g}"

    def loss(self, batch: Batch, state: State = None, context: Context = Context()) -> Loss:
        """Mean cross-entropy, in nats, over the targets that are not IGNORED.

        input, target: (B, S); cuts: steps before which the state is detached; carry: the number of steps after which
        the state is that of the next batch.
        """
        probability = self.spec.options.reset_probability
        if self.training and probability and state is not None:
            # otherwise training meets the initial state once an epoch only, and the carried states, computed by older
            # weights, may not be reachable from it
            state = self.recurrent.reset_state(state, torch.rand(len(batch["input"])) < probability)
        y, carried = unroll(self.recurrent, self.embedding(batch["input"]), state, batch["cuts"], batch["carry"])
        target = batch["target"]
        logits = self.head(drop(y, self.dropout, self.training)).flatten(0, 1).float()
        nats = F.cross_entropy(logits, target.flatten(), ignore_index=IGNORED, reduction="sum")
        count = (target != IGNORED).sum()
        return Loss(nats / count, count, {"loss": nats}, carried)

    def logits(self, tokens: Tensor, state: State = None) -> tuple[Tensor, State]:
        """The logits (B, T, V) of the token after each of these (B, T), and the state after the last."""
        y, state = self.recurrent(self.embedding(tokens), state)
        return self.head(y), state

    def stepper(self) -> RecurrentTokenStepper:
        """The model, one token at a time."""
        return RecurrentTokenStepper(self.recurrent, self.embedding.weight, self.head)

    def preview(self, context: Context) -> str:
        tokenizer = self.spec.tokenizer
        prompt, generator = tokenizer.encode(self.spec.seed_text), torch.Generator().manual_seed(0)
        generated = sample(self.stepper(), prompt, PREVIEWED, Sampling(), generator)
        return tokenizer.decode(int(token) for token in generated)


class LM(Task, Generates, kind="lm", summary="a language model of a text, by characters, bytes, words or subwords"):
    """A language model."""

    Options, Spec, Model = LMOptions, LMSpec, LMModel
    unit = "token"
    lr = 0.01
    nats = True

    def prepare(self, paths: list[str], options: LMOptions, budget: float | None = None, seed: int = 0) -> Dataset:
        text = read(paths, options)
        hidden, dropout = sizes(len(text.ids), budget)
        hidden = options.hidden or hidden
        spec = LMSpec(
            options=options.resolved(),
            tokenizer=text.tokens,
            hidden=hidden,
            embedding=options.embedding or min(64, hidden),
            dropout=dropout if options.dropout is None else options.dropout,
            seed_text=first_token(text),
        )
        splits, notes = divide(text, options)
        train = streams(splits["train"], options, text.key)
        assert train is not None
        if train.seq_len < options.seq_len or train.batch_size < options.batch_size:
            notes.append(f"the text is small: batch size {train.batch_size} and sequence length {train.seq_len} "
                         f"instead of {options.batch_size} and {options.seq_len}")  # fmt: skip
        valid, test = (streams(splits[name], options, text.key) for name in ("valid", "test"))
        unigram = entropy(splits["train"][:COUNTED])
        return Dataset(train, valid, test, spec, text.key, text.paths, [*text.notes, *notes], unigram)

    def source(self, spec: LMSpec, paths: list[str], split: str | None, reading: Reading = Reading()) -> Windows | None:
        options = spec.options
        if reading.reset is not None:
            options = replace(options, seq_len=reading.reset, bptt=None)
        if split is None:
            (path,) = paths
            ids = corpus.read_with(spec.tokenizer, path, options.encoding, reading.unknown, reading.log)
            return Windows.of_tokens(ids, options.batch_size, options.seq_len)
        text = read(paths, options)
        if text.tokens.to_json() != spec.tokenizer.to_json():
            raise UserError(f"{', '.join(paths)} now has other tokens than the run was trained with: name a text with "
                            "`text`")  # fmt: skip
        return streams(divide(text, options)[0][split], options, text.key)

    def prompt(self, spec: LMSpec, text: str, labels: tuple[str, ...], reading: Reading) -> Prompt:
        """Without a text, generation starts with the first token of the training text; nothing ends it."""
        if labels:
            raise UserError(f"`label` {labels[0]}: a language model has no labels; elman train generate makes one that "
                            "has")  # fmt: skip
        ids = spec.tokenizer.encode(text, reading.unknown, reading.log)
        return Prompt({}, ids or spec.tokenizer.encode(spec.seed_text), None)

    def stepper(self, model: LMModel) -> RecurrentTokenStepper:
        return model.stepper()

    def tokenizer(self, spec: LMSpec) -> Tokenizer:
        return spec.tokenizer


# seconds of training, units of the one layer, and dropout for a text that is read some ten times in it
SIZES = ((20, 128, 0.0), (100, 256, 0.1), (200, 384, 0.2), (900, 512, 0.3), (3600, 768, 0.4), (float("inf"), 1024, 0.5))
# a text of fewer tokens cannot teach more units than these
SMALL_TEXTS = ((1_000, 64), (30_000, 128), (300_000, 256))
TOKENS_PER_SECOND = 60_000  # on two cores, about; only to estimate how often the text is read


def sizes(tokens: int, budget: float | None) -> tuple[int, float]:
    """Units and dropout, from the tokens of a text and the seconds of training."""
    budget = 90.0 if budget is None else budget
    hidden, dropout = next((hidden, dropout) for limit, hidden, dropout in SIZES if budget <= limit)
    hidden = min([hidden, *(most for limit, most in SMALL_TEXTS if tokens < limit)])
    if tokens < SMALL_TEXTS[0][0] or tokens > budget * TOKENS_PER_SECOND / 2:
        dropout = 0.0  # overfitted on purpose, or read so rarely that it cannot be overfitted
    return hidden, dropout


def read(paths: list[str], options: LMOptions) -> Corpus:
    """The text as tokens."""
    if options.valid + options.test >= 1:
        raise UserError(f"`valid` {options.valid:g} and `test` {options.test:g} leave nothing to train on: together "
                        "they must be less than 1")  # fmt: skip
    return corpus.read(
        paths, options.tokens or TOKENS, options.encoding, options.pattern, options.vocab_size, options.lower,
        1 - options.valid - options.test,
    )  # fmt: skip


def divide(text: Corpus, options: LMOptions) -> tuple[dict[str, np.ndarray], list[str]]:
    """The token ids of the contiguous training, validation and test splits, and lines for the user."""
    total, notes, held_out = len(text.ids), list[str](), _held_out(text, options)
    for name, size in held_out.items():
        if 0 < size < SMALLEST_SPLIT or size == 0 < getattr(options, name):
            held_out[name] = 0
            notes.append(f"no {name} split: {getattr(options, name):.0%} of {total} tokens is too little")
    first = total - held_out["valid"] - held_out["test"]
    if first < 2:
        first = 0
        notes.append("no training split is left")
    end = first + held_out["valid"]
    return {"train": text.ids[:first], "valid": text.ids[first:end], "test": text.ids[end:]}, notes


def _held_out(text: Corpus, options: LMOptions) -> dict[str, int]:
    """Tokens of the splits after the training split. Where the tokenizer was learned from it, it ends just there."""
    total = len(text.ids)
    if text.train is None:
        return {"valid": int(total * options.valid), "test": int(total * options.test)}
    rest = total - text.train
    test = int(rest * options.test / (options.valid + options.test)) if rest else 0
    return {"valid": rest - test, "test": test}


def streams(ids: np.ndarray, options: LMOptions, key: str) -> Windows | None:
    """The tokens as parallel streams; None where there are too few."""
    if len(ids) < 2:
        return None
    return Windows.of_tokens(ids, options.batch_size, options.seq_len, options.bptt, key)


def first_token(text: Corpus) -> str:
    """The first token that is encoded again as itself: not half of a character, nor the unknown word."""
    candidates: Sequence[int] = text.ids[:FIRST].tolist()
    for token in chain(candidates, range(len(text.tokens))):
        if text.tokens.encode(decoded := text.tokens.decode([token]), "skip") == [token]:
            return decoded
    return ""
