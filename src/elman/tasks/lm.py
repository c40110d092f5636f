"""Language model: every token predicts the next (the lecture's character model)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, ClassVar

import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.cells.tap import watched
from elman.data import corpus
from elman.data.corpus import Corpus
from elman.data.windows import IGNORED, Windows
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError
from elman.files import STANDARD_INPUT
from elman.log import Log
from elman.options import PositiveInt, ShareFloat, restore
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State, detach
from elman.tasks.network import NetworkOptions
from elman.tasks.task import Batch, Data, Source, Stepper, Task, entropy
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.tokenizer import Unknown

SMALLEST_SPLIT = 64  # tokens: a loss over fewer says nothing
TOKENS = "char"  # unless said
FIRST = 1000  # tokens among which is one that samples begin with
COUNTED = 1_000_000  # tokens from which it is taken how often each comes


@Parameter(name="*")
@dataclass(frozen=True)
class LMOptions(TokenizerOptions, NetworkOptions):
    """What is read and what is built. None: chosen from the size of the text and the time there is."""

    encoding: str = "utf-8"
    """How the text's bytes are characters: utf-8, latin-1, cp1252, utf-16, ..."""
    pattern: str = "**/*"
    """Which files of a folder are read."""
    valid: ShareFloat = 0.1
    """Share of the text, after the training part, on which the loss is watched."""
    test: ShareFloat = 0.0
    """Share of the text, at its end, that training never looks at; see `elman eval --split test`."""
    learn_initial_state: bool = False
    """Learn the state before the first token instead of starting at 0."""
    reset_probability: ShareFloat = 0.02
    """Share of the rows that begin anew at a window, in training: a model must also know how a text begins."""
    seq_len: PositiveInt = 64
    """Steps forward an update (truncated back-propagation)."""
    bptt: PositiveInt | None = None
    """Steps the gradient goes back; the window when not given."""


class LM(Task):
    """Lookup, `Recurrent`, linear head, cross-entropy."""

    kind: ClassVar[str] = "lm"
    summary: ClassVar[str] = "a language model of a text, by characters, bytes, words or pieces of words"
    Options: ClassVar[type] = LMOptions

    def __init__(
        self,
        vocabulary: int,
        embedding: int,
        hidden: int,
        cell: Any = "lstm",
        layers: int = 1,
        dropout: float = 0.0,
        residual: bool = False,
        learned_state: bool = False,
        backend: str = "auto",
        fresh: float = 0.0,
    ):
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.lookup = nn.Embedding(vocabulary, embedding)
        self.recurrent = Recurrent(
            embedding, hidden, cell, layers, dropout=dropout, residual=residual, backend=backend,
            learned_state=learned_state,
        )  # fmt: skip
        self.head = nn.Linear(hidden, vocabulary)
        self.dropout, self.fresh = dropout, fresh

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{super().describe()}, embedding {self._config['embedding']}, dropout {self._config['dropout']:g}"

    @classmethod
    def prepare(
        cls, paths: list[str], options: LMOptions, seconds: float | None = None, key: str | None = None, seed: int = 0
    ) -> tuple[LMOptions, Data]:
        text = _text(paths, options, key)
        return _chosen(options, len(text.ids), seconds), _data(text, options)

    @classmethod
    def new(cls, options: LMOptions, data: Data) -> "LM":
        assert options.hidden is not None
        assert options.embedding is not None
        assert options.dropout is not None
        return cls(
            len(registry.from_json(data.config["tokens"])), options.embedding, options.hidden, options.cell, options.layers,
            options.dropout, options.residual, options.learn_initial_state, options.backend, options.reset_probability,
        )  # fmt: skip

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """input and target (B, S); the graph is cut before each of `cuts`; the state carried on is that after `carry`
        steps. Mean nats over the targets that are not IGNORED."""
        if self.training and self.fresh and state is not None:
            # a model that has read its text only once or twice would hardly know how one begins: the states that it
            # carries along were begun with weights long gone, and from the start it may never reach the like of them
            state = self.recurrent.anew(state, torch.rand(len(batch["input"])) < self.fresh)
        cuts, carry = set(batch["cuts"]), batch["carry"]
        x, outputs = self.lookup(batch["input"]), []
        carried = detach(state) if carry == 0 else None
        for begin, end in pairwise(sorted({0, carry, x.shape[1]} | cuts)):
            if begin in cuts:
                state = detach(state)
            y, state = self.recurrent(x[:, begin:end], state)
            outputs.append(y)
            if end == carry:
                carried = detach(state)
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
        target = batch["target"]
        logits = self.head(drop(y, self.dropout, self.training)).flatten(0, 1).float()
        nats = F.cross_entropy(logits, target.flatten(), ignore_index=IGNORED, reduction="sum")
        tokens = (target != IGNORED).sum()
        return nats / tokens, carried, {"nats": nats.detach(), "tokens": tokens}

    def logits(self, tokens: Tensor, state: State = None) -> tuple[Tensor, State]:
        """The logits (B, T, V) of the token after each of these (B, T), and the state after the last."""
        y, state = self.recurrent(self.lookup(tokens), state)
        return self.head(y), state

    def source(
        self, config: dict[str, Any], split: str, path: str | None, reset: int | None, unknown: Unknown = "error",
        log: Log = lambda line: None,
    ) -> Source | None:  # fmt: skip
        options = restore(LMOptions, config["options"])
        if reset is not None:
            options = replace(options, seq_len=reset, bptt=None)
        if path is None:
            text = _text(config["data"]["paths"], options, config["data"]["key"])
            if text.tokens.to_json() != config["data"]["tokens"]:
                raise UserError(f"{', '.join(config['data']['paths'])} now has other tokens than the run was trained "
                                "with: name a text with --text")  # fmt: skip
            return getattr(_data(text, options), split)
        ids = corpus.read_with(registry.from_json(config["data"]["tokens"]), path, options.encoding, unknown, log)
        return Windows.of_tokens(ids, options.batch_size, options.seq_len)

    def stepper(self) -> Stepper:
        return LMStepper(self.recurrent, self.lookup.weight, self.head)

    def opening(
        self,
        config: dict[str, Any],
        prompt: str,
        labels: tuple[str, ...],
        unknown: Unknown,
        log: Callable[[str], None],
    ) -> tuple[Batch, list[int], int | None]:
        """Without a prompt from the first token of the text; nothing ends it."""
        if labels:
            raise UserError(f"--label {labels[0]}: a language model has none; elman train generate makes one that has")
        tokens = registry.from_json(config["tokens"])
        return {}, tokens.encode(prompt, unknown, log) or tokens.encode(config["seed_text"]), None

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str]:
        tokens = registry.from_json(config["tokens"])

        def write(length: int) -> str:
            generator = torch.Generator().manual_seed(0)
            written = sample(self.stepper(), tokens.encode(config["seed_text"]), length, Sampling(), generator)
            return tokens.decode(int(ids[0]) for ids in written)

        return write


class LMStepper:
    """A layer and a head a token at a time, prepared once. `vectors` (V, E): what stands for each token."""

    def __init__(self, recurrent: Recurrent, vectors: Tensor, head: nn.Linear):
        self.initial, self.advance = recurrent.initial, recurrent.unrolled()
        self.weight, self.head = vectors, (head.weight, head.bias)
        self.device = vectors.device
        self.decoder = recurrent.decoder(vectors, head)

    def begin(self, batch: Batch) -> State:
        """The state before the first token, for the rows of `batch["input"]` (B, ...)."""
        return self.initial(len(batch["input"]))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Stepper`. A distribution (B, V) is taken as the mean of the tokens' vectors under it."""
        x = token.to(self.weight) @ self.weight if token.is_floating_point() else F.embedding(token, self.weight)
        y, state = self.advance(x, state)
        return F.linear(y, *self.head), state

    def block(self, token: Tensor, state: State, uniforms: Tensor, how: Sampling) -> tuple[Tensor, State] | None:
        """See `Stepper`."""
        if self.decoder is None or watched() or token.is_floating_point() or not how.plain:
            return None
        return self.decoder(token, state, uniforms, how.temperature, how.greedy)


# seconds of training, units of the one layer, and dropout for a text that is read some ten times in it
SIZES = ((20, 128, 0.0), (100, 256, 0.1), (200, 384, 0.2), (900, 512, 0.3), (3600, 768, 0.4), (float("inf"), 1024, 0.5))
# a text of fewer tokens cannot teach more units than these
SMALL_TEXTS = ((1_000, 64), (30_000, 128), (300_000, 256))
TOKENS_A_SECOND = 60_000  # two cores, about; only to guess how often the text is read


def _chosen(options: LMOptions, tokens: int, seconds: float | None) -> LMOptions:
    """The options with the sizes that were not given."""
    seconds = 90.0 if seconds is None else seconds
    hidden, dropout = next((hidden, dropout) for limit, hidden, dropout in SIZES if seconds <= limit)
    hidden = min([hidden, *(most for limit, most in SMALL_TEXTS if tokens < limit)])
    if tokens < SMALL_TEXTS[0][0] or tokens > seconds * TOKENS_A_SECOND / 2:
        dropout = 0.0  # to be learned by heart, or read so seldom that it cannot be
    return replace(
        options,
        cell=options.cell if isinstance(options.cell, str) else stored(options.cell),  # a class, from Python
        tokens=options.tokens or TOKENS,
        hidden=options.hidden or hidden,
        embedding=options.embedding or min(64, options.hidden or hidden),
        dropout=dropout if options.dropout is None else options.dropout,
    )


def _text(paths: list[str], options: LMOptions, key: str | None) -> Corpus:
    """The text; that of a run again when its key is given: what came through standard input is in the cache."""
    paths = [corpus.PREFIX + key] if key and paths == [STANDARD_INPUT] else paths
    if options.valid + options.test >= 1:
        raise UserError(f"--valid {options.valid:g} and --test {options.test:g} leave nothing to train on: together "
                        "they must be less than 1")  # fmt: skip
    return corpus.read(
        paths, options.tokens or TOKENS, options.encoding, options.pattern, options.vocab_size, options.lower,
        1 - options.valid - options.test,
    )  # fmt: skip


def _held_out(text: Corpus, options: LMOptions) -> dict[str, int]:
    """How many tokens each part behind the training part has. Where tokens were learnt from it, it ends just there."""
    total = len(text.ids)
    if text.train is None:
        return {"valid": int(total * options.valid), "test": int(total * options.test)}
    rest = total - text.train
    test = int(rest * options.test / (options.valid + options.test)) if rest else 0
    return {"valid": rest - test, "test": test}


def _data(text: Corpus, options: LMOptions) -> Data:
    """The text as contiguous training, validation and test parts."""
    notes, total = list(text.notes), len(text.ids)
    sizes = _held_out(text, options)
    for name, size in sizes.items():
        if 0 < size < SMALLEST_SPLIT or size == 0 < getattr(options, name):
            sizes[name] = 0
            notes.append(f"no {name} part: {getattr(options, name):.0%} of {total} tokens is too little")
    first = total - sizes["valid"] - sizes["test"]
    if first < 2:
        first = 0
        notes.append("no training part is left")
    parts = {"train": text.ids[:first], "valid": text.ids[first : first + sizes["valid"]]}
    parts["test"] = text.ids[first + sizes["valid"] :]
    made = {name: Windows.of_tokens(ids, options.batch_size, options.seq_len, options.bptt) if len(ids) > 1 else None
            for name, ids in parts.items()}  # fmt: skip
    train = made["train"]
    assert train is not None
    if train.seq_len < options.seq_len or train.batch_size < options.batch_size:
        notes.append(f"the text is small: {train.batch_size} rows and a window of {train.seq_len} instead of "
                     f"{options.batch_size} and {options.seq_len}")  # fmt: skip
    config = {"tokens": text.tokens.to_json(), "seed_text": _beginning(text)}
    return Data(train, made["valid"], made["test"], text.key, config, notes, entropy(parts["train"][:COUNTED]))


def _beginning(text: Corpus) -> str:
    """The first token that can be read again as it is written: not half of a character, nor the unknown word."""
    for token in chain(text.ids[:FIRST].tolist(), range(len(text.tokens))):
        if text.tokens.encode(written := text.tokens.decode([token]), "skip") == [token]:
            return written
    return ""
