"""Translation: a sequence in, another out, of another length (many to many, out of step)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn import functional as F

from elman.cells.registry import stored
from elman.cells.tap import record
from elman.data.rows import Field, Ragged, Rows, padded
from elman.data.table import Table
from elman.data.tokens import KINDS, Tell, TokenOptions, Tokens, from_config
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Hypothesis, Search, draw
from elman.decode.search import search as beams
from elman.errors import UserError
from elman.nets.attention import ATTENTION
from elman.nets.lookup import SPREAD, lookup
from elman.options import PositiveInt, Probability, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.scores import Scores, references
from elman.tasks.tables import TableTask, TableTaskOptions, encoded, ended, shifted
from elman.tasks.task import Answer, Batch, Data

SHOWN = 3  # sentences shown while training


@Parameter(name="*")
@dataclass(frozen=True)
class TranslateOptions(TokenOptions, TableTaskOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    source_column: str | None = None
    """The column that is translated; the first of two when not given."""
    target_column: str | None = None
    """The column that it is translated to; the second of two when not given."""
    attention: Literal["general", "dot", "additive", "none"] = "general"
    """How the decoder looks back at the source: q W m or q m (Luong 2015), v tanh(W q + U m) (Bahdanau 2015), or only
    through the encoder's last state (Sutskever 2014)."""
    input_feeding: bool = False
    """Give the decoder what it read from the source at the step before (Luong 2015): step by step, so slower."""
    bidirectional: bool = True
    """Read the source backwards too."""
    reverse: bool = False
    """Turn the source round (Sutskever 2014)."""
    forcing: Annotated[float, Probability] = 1.0
    """Share of true tokens that the decoder is given at the end of training, falling from 1; the rest are its own
    (scheduled sampling, Bengio 2015)."""
    rows: PositiveInt = 64
    """Sentences of a batch."""
    smoothing: ShareFloat = 0.1
    """Share of the target that is spread over all tokens, in training."""


class Translate(TableTask):
    """Encoder and decoder, each a `Recurrent`, with attention between them or without."""

    kind: ClassVar[str] = "translate"
    summary: ClassVar[str] = "a translator: a sequence in, another out"
    unit: ClassVar[str] = "token"
    roles: ClassVar[tuple[str, ...]] = ("source", "target")
    rate: ClassVar[float] = 0.004
    asks: ClassVar[tuple[str, ...]] = ("source",)
    by: ClassVar[str] = "source"
    Options: ClassVar[type[TableTaskOptions]] = TranslateOptions

    def __init__(
        self,
        sources: int,
        targets: int,
        embedding: int,
        hidden: int,
        cell: Any = "lstm",
        layers: int = 1,
        attention: str = "general",
        input_feeding: bool = False,
        bidirectional: bool = True,
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
        forcing: float = 1.0,
        smoothing: float = 0.0,
    ):
        """sources, targets: how many tokens each side has. Of the targets one more is known: it begins and ends."""
        super().__init__()
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        common: dict[str, Any] = {"dropout": dropout, "residual": residual, "backend": backend}
        self.source_lookup = lookup(sources, embedding)
        self.encoder = Recurrent(embedding, hidden, cell, layers, bidirectional, name="encoder", **common)
        memory = self.encoder.output_size
        # what the decoder is given of the source with each token: before its step (additive) or from the one before
        fed = {"additive": memory}.get(attention, embedding if input_feeding else 0)
        self.decoder = Recurrent(embedding + fed, hidden, cell, layers, name="decoder", **common)
        states = len(self.decoder.initial(1)[0])
        self.bridge = nn.ModuleList(nn.Linear(states * memory, states * hidden) for _ in range(layers))
        self.memory = nn.Linear(memory, hidden) if attention == "dot" else nn.Identity()
        width = hidden if attention == "dot" else memory
        self.attention = None if attention == "none" else ATTENTION[attention](hidden, width, hidden)
        self.join = nn.Linear(hidden + (0 if self.attention is None else width), embedding)
        self.head = nn.Linear(embedding, targets + 1)
        nn.init.normal_(self.head.weight, std=SPREAD)
        self.before, self.feeding = attention == "additive", input_feeding
        self.boundary, self.dropout = targets, dropout
        self.forcing, self.smoothing = forcing, smoothing

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        looks = "no attention" if self.attention is None else f"{self._config['attention']} attention"
        return f"encoder {self.encoder.sizes}, decoder {self.decoder.sizes}, {looks}, dropout {self.dropout:g}"

    @classmethod
    def learn(cls, train: Table, options: TranslateOptions) -> dict[str, Any]:
        spaces = sum(target.count(" ") for target in train.columns["target"])
        unit = options.tokens or ("bpe" if spaces >= len(train) else "char")
        tokens = {role: KINDS[unit].of_texts(train.columns[role], options.vocabulary, options.lower).to_config()
                  for role in cls.roles}  # fmt: skip
        return {"tokens": tokens, "reverse": options.reverse}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        ids = encoded(rows.columns["source"], config["tokens"]["source"], config["longest"], tell)
        return {"source": Ragged([each[::-1] for each in ids] if config["reverse"] else ids)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        ids = encoded(rows.columns["target"], config["tokens"]["target"], config["longest"], tell)
        return {"target": ended(ids, config["tokens"]["target"])}

    @classmethod
    def sizes(cls, train: Rows, options: TranslateOptions, seconds: float | None) -> TranslateOptions:
        hidden = options.hidden or 256
        dropout = 0.1 if options.dropout is None else options.dropout
        return replace(options, hidden=hidden, embedding=options.embedding or hidden, dropout=dropout)

    @classmethod
    def prepare(
        cls, paths: list[str], options: Any, seconds: float | None = None, key: str | None = None, seed: int = 0
    ) -> tuple[Any, Data]:
        if options.input_feeding and options.attention in ("additive", "none"):
            why = {"additive": "has read the source before each step", "none": "reads nothing"}[options.attention]
            raise UserError(f"--input-feeding goes with --attention general or dot: {options.attention} {why}")
        chosen, data = super().prepare(paths, options, seconds, key, seed)
        rows = data.valid or data.train
        assert isinstance(rows, Rows)
        data.config["shown"] = [ids.tolist() for ids in rows.values("source")[:SHOWN]]
        return chosen, data

    @classmethod
    def new(cls, options: TranslateOptions, data: Data) -> "Translate":
        sizes = {role: len(from_config(tokens)) for role, tokens in data.config["tokens"].items()}
        assert options.embedding is not None
        assert options.hidden is not None
        assert options.dropout is not None
        return cls(
            sizes["source"], sizes["target"], options.embedding, options.hidden, options.cell, options.layers,
            options.attention, options.input_feeding, options.bidirectional, options.dropout, options.residual,
            options.backend, options.forcing, options.smoothing,
        )  # fmt: skip

    def vectors(self, tokens: Tensor) -> Tensor:
        """Of target tokens (B, ...), (B, ..., E): the head's weights, so what is said of a token is learned with what
        is read of it (Press & Wolf 2017)."""
        return F.embedding(tokens, self.head.weight)

    def encode(self, source: Tensor, lengths: Tensor) -> dict[str, Any]:
        """The decoder's state before the first token: its layers' state, the memory (B, S, M) with its keys and
        lengths, and what is fed back, (B, ...)."""
        y, last = self.encoder(drop(self.source_lookup(source), self.dropout, self.training), lengths=lengths)
        state: dict[str, Any] = {"layers": self._bridged(last), "lengths": lengths}
        if self.attention is not None:
            state["memory"] = self.memory(y)
            state["keys"] = self.attention.keys(state["memory"])
        if self.feeding:
            state["read"] = y.new_zeros(len(y), self.join.out_features)
        return state

    def _bridged(self, last: State) -> State:
        """The decoder's first state from the encoder's last, layer by layer, both directions together."""
        made = []
        for layer, bridge in enumerate(self.bridge):
            directions = last[layer * self.encoder.directions : (layer + 1) * self.encoder.directions]
            joined = torch.cat([value for direction in directions for value in direction], -1)
            made.append(tuple(torch.tanh(bridge(joined)).float().chunk(len(directions[0]), -1)))
        return tuple(made)

    def _joined(self, y: Tensor, state: dict[str, Any]) -> Tensor:
        """From outputs (B, T, H) of the decoder what the head is given, (B, T, E), the source being read on the way."""
        if self.attention is not None and not self.before:
            y = torch.cat((y, self.attention(y, state["keys"], state["memory"], state["lengths"])[0]), -1)
        return torch.tanh(self.join(y))

    def advance(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], token: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """One token (B,) on: what the head is given (B, E), and the state. `step`: the decoder's `unrolled()`."""
        x, read = drop(self.vectors(token), self.dropout, self.training), None
        if self.before:
            assert self.attention is not None
            query = state["layers"][-1][0][:, None]
            read, _ = self.attention(query, state["keys"], state["memory"], state["lengths"])
            x = torch.cat((x, read[:, 0]), -1)
        elif self.feeding:
            x = torch.cat((x, state["read"]), -1)
        y, layers = step(x, state["layers"])
        y = drop(y, self.dropout, self.training)[:, None]
        out = self._joined(y if read is None else torch.cat((y, read), -1), state)[:, 0]
        return out, state | {"layers": layers} | ({"read": out} if "read" in state else {})

    def decode(self, tokens: Tensor, state: dict[str, Any], forced: float = 1.0) -> Tensor:
        """What the head is given (B, T, E) at each step, the tokens (B, T) being fed; each with the chance `forced`,
        the likeliest of the step before otherwise."""
        if not self.before and not self.feeding and forced == 1.0:  # nothing that a step says is needed by the next
            x = drop(self.vectors(tokens), self.dropout, self.training)
            y, _ = self.decoder(x, state["layers"])
            return self._joined(drop(y, self.dropout, self.training), state)
        step, outs = self.decoder.unrolled(), list[Tensor]()
        for true in tokens.unbind(1):
            token = true
            if outs and forced < 1.0:
                own = self.head(outs[-1]).argmax(-1)
                token = torch.where(torch.rand(len(true)).to(true.device) < forced, true, own)
            out, state = self.advance(step, token, state)
            outs.append(out)
        return torch.stack(outs, 1)

    def loss(self, batch: Batch, state: State = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """source (B, S), source_lengths; target (B, T), the end included, IGNORED where there is none; progress () of
        the training, where it goes on. What is logged is without smoothing."""
        target = batch["target"]
        tokens = shifted(target, self.boundary)
        forced = 1 - (1 - self.forcing) * float(batch["progress"]) if self.training and self.forcing < 1 else 1.0
        out = self.decode(tokens, self.encode(batch["source"], batch["source_lengths"]), forced)
        counted = target != IGNORED
        chances = self.head(out[counted]).float().log_softmax(-1)
        nats = F.nll_loss(chances, target[counted])
        loss = nats if not self.training else (1 - self.smoothing) * nats - self.smoothing * chances.mean()
        count = counted.sum()
        return loss, None, {"nats": nats.detach() * count, "tokens": count}

    def stepper(self) -> "TranslateStepper":
        return TranslateStepper(self)

    def answers(
        self, batch: Batch, config: dict[str, Any], search: Search = Search(), sampling: Sampling = Sampling(),
        drawn: bool = False, seed: int = 0, **_: Any,
    ) -> list[Answer]:  # fmt: skip
        """translation; score, by which translations are compared; and the `candidates` where more than one is asked
        for. By beams, or `drawn` by sampling; `cut` where no end was reached."""
        asked = (self.stepper(), batch, len(batch["source"]), self.boundary, self.boundary, search)
        limits = [limit(length) for length in batch["source_lengths"].tolist()]
        if drawn:
            # other numbers for each batch, or the tenth sentence of every one would get the same
            mixed = np.random.SeedSequence([seed, int(batch["row"][0])]).generate_state(1)
            found = draw(*asked, sampling, torch.Generator().manual_seed(int(mixed[0])), max(limits))
        else:
            found = beams(*asked, limits, sampling.no_repeat)
        tokens = from_config(config["tokens"]["target"])
        return [_answer(each, tokens, search.best) for each in found]

    def predict(self, rows: Table, config: dict[str, Any], tell: Tell, **how: Any) -> list[Answer]:
        found = super().predict(rows, config, tell, **how)
        cut = sum("cut" in answer for answer in found)
        if cut:
            tell(f"{cut:,} of {len(found):,} translations were cut: they came to no end; see --max-length")
        return found

    def line(self, answer: Answer) -> str:
        """The translation, or all that were asked for, a tab between them."""
        return "\t".join(each["translation"] for each in answer.get("candidates", [answer]))

    def alignment(self, source: Tensor, target: Tensor) -> Tensor:
        """The weights (T, S) of the attention over one source (S,) while one target (T,), without its end, is written:
        the row of a token is where was looked when it was chosen; the last is the end's."""
        if self.attention is None:
            raise ValueError("a translator without attention looks nowhere")
        tokens = torch.cat((torch.tensor([self.boundary], device=target.device), target))[None]
        with torch.inference_mode(), record() as seen:
            self.eval().decode(tokens, self.encode(source[None], torch.tensor([len(source)], device=source.device)))
        return seen["attention"][0]

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """BLEU and chrF of what is written greedily, as sacrebleu counts them, with its signatures; exact: the share of
        sources for which one of their targets was written. All targets of one source count, and it counts once."""
        sources = rows.columns["source"]
        said = {sources[row]: answer["translation"] for row, answer in answers.items()}
        scores = Scores(said, references(sources, rows.columns["target"]))
        figures = {"bleu": scores.bleu(said), "chrf": scores.chrf(said), "exact": scores.exact(said)}
        return figures | {"sources": len(said), "signatures": scores.signatures()}

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str]:
        tokens = from_config(config["tokens"]["source"])

        def write(length: int) -> str:
            ids, lengths = padded([np.array(each) for each in config["shown"]])
            device = self.head.weight.device
            batch = {"source": ids.to(device), "source_lengths": lengths.to(device)}
            answers = self.answers(batch, config)
            back = (lambda ids: ids[::-1]) if config["reverse"] else (lambda ids: ids)
            texts = [tokens.decode(back(each)).removeprefix(tokens.lead) for each in config["shown"]]
            return "\n".join(f"{text} → {answer['translation']}" for text, answer in zip(texts, answers, strict=True))

        return write


class TranslateStepper:
    """The decoder a token at a time."""

    def __init__(self, model: Translate):
        self.model, self.step_of = model, model.decoder.unrolled()
        self.device = model.head.weight.device

    def begin(self, batch: Batch) -> State:
        """See `Stepper`: the state after the source (B, S), source_lengths was read."""
        return self.model.encode(batch["source"], batch["source_lengths"])

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Stepper`."""
        out, state = self.model.advance(self.step_of, token, state)
        return self.model.head(out), state


def limit(size: int) -> int:
    """At most so many tokens are written of a source of that many."""
    return 2 * size + 10


def _answer(found: list[Hypothesis], tokens: Tokens, best: int) -> dict[str, Any]:
    texts = [tokens.decode(each.tokens).removeprefix(tokens.lead) for each in found]
    answer: dict[str, Any] = {"translation": texts[0], "score": found[0].normed}
    if not found[0].ended:
        answer["cut"] = True
    if best > 1:
        answer["candidates"] = [{"translation": text, "score": each.normed}
                                for text, each in zip(texts, found, strict=True)]  # fmt: skip
    return answer
