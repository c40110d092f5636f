"""Translation: a sequence in, another out, of another length (many to many, out of step)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from cyclopts import Parameter
from torch import Tensor, nn

from elman.cells.registry import stored
from elman.cells.tap import record
from elman.data.rows import Field, Ragged, Rows, padded
from elman.data.table import Table
from elman.errors import UserError
from elman.log import Log
from elman.metrics.metric import evaluate
from elman.metrics.translation import group_references
from elman.nets.attention import ATTENTION
from elman.nets.embedding import lookup
from elman.options import PositiveInt, Probability, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.conditional_generation import ConditionalGeneration
from elman.tasks.tables import TableTaskOptions, encoded, ended
from elman.tasks.task import Answer, Batch, Data
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions

SHOWN = 3  # sentences shown while training


@Parameter(name="*")
@dataclass(frozen=True)
class TranslateOptions(TokenizerOptions, TableTaskOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    source_column: str | None = None
    """The column that is translated; the first of two when not given."""
    target_column: str | None = None
    """The column that it is translated to; the second of two when not given."""
    attention: Literal["general", "dot", "scaled", "additive", "none"] = "general"
    """How the decoder looks back at the source: q W m or q m (Luong 2015), W q . U m scaled (Vaswani 2017), v tanh(W q
    + U m) (Bahdanau 2015), or only through the encoder's last state (Sutskever 2014)."""
    input_feeding: bool = False
    """Give the decoder what it read from the source at the step before (Luong 2015): step by step, so slower."""
    bidirectional: bool = True
    """Read the source backwards too."""
    reverse: bool = False
    """Turn the source round (Sutskever 2014)."""
    teacher_forcing: Annotated[float, Probability] = 1.0
    """Share of true tokens that the decoder is given at the end of training, falling from 1; the rest are its own
    (scheduled sampling, Bengio 2015)."""
    batch_size: PositiveInt = 64
    """Sentences of a batch."""
    label_smoothing: ShareFloat = 0.1
    """Share of the target that is spread over all tokens, in training."""


class Translate(ConditionalGeneration):
    """Encoder and decoder, each a `Recurrent`, with attention between them or without."""

    kind: ClassVar[str] = "translate"
    summary: ClassVar[str] = "a translator: a sequence in, another out"
    writes: ClassVar[str] = "target"
    answer: ClassVar[str] = "translation"
    roles: ClassVar[tuple[str, ...]] = ("source", "target")
    asks: ClassVar[tuple[str, ...]] = ("source",)
    by: ClassVar[str | None] = "source"
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
        super().__init__(targets, embedding, dropout, smoothing)
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
        self.before, self.feeding, self.forcing = attention == "additive", input_feeding, forcing

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        looks = "no attention" if self.attention is None else f"{self._config['attention']} attention"
        return f"encoder {self.encoder.sizes}, decoder {self.decoder.sizes}, {looks}, dropout {self.dropout:g}"

    @classmethod
    def learn(cls, train: Table, options: TranslateOptions) -> dict[str, Any]:
        spaces = sum(target.count(" ") for target in train.columns["target"])
        unit = options.tokens or ("bpe" if spaces >= len(train) else "char")
        tokens = {role: registry.find(unit).of_texts(train.columns[role], options.vocab_size, options.lower).to_json()
                  for role in cls.roles}  # fmt: skip
        return {"tokens": tokens, "reverse": options.reverse}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["source"], config["tokens"]["source"], config["max_length"], log)
        return {"source": Ragged([each[::-1] for each in ids] if config["reverse"] else ids)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["target"], config["tokens"]["target"], config["max_length"], log)
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
        sizes = {role: len(registry.from_json(tokens)) for role, tokens in data.config["tokens"].items()}
        assert options.embedding is not None
        assert options.hidden is not None
        assert options.dropout is not None
        return cls(
            sizes["source"], sizes["target"], options.embedding, options.hidden, options.cell, options.layers,
            options.attention, options.input_feeding, options.bidirectional, options.dropout, options.residual,
            options.backend, options.teacher_forcing, options.label_smoothing,
        )  # fmt: skip

    @property
    def written_by(self) -> Recurrent:
        return self.decoder

    def begin(self, batch: Batch) -> dict[str, Any]:
        """From source (B, S), source_lengths: the state of the decoder's layers, the memory (B, S, M) with its keys and
        lengths, and what is fed back, (B, ...)."""
        source, lengths = batch["source"], batch["source_lengths"]
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
        x, read = self.vectors(token), None
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

    def decode(self, tokens: Tensor, state: dict[str, Any], batch: Batch) -> tuple[Tensor, Any]:
        """See `ConditionalGeneration`. In training each token is fed with the chance `forced`, the likeliest of the step before
        otherwise."""
        forced = 1 - (1 - self.forcing) * float(batch["progress"]) if self.training and self.forcing < 1 else 1.0
        if not self.before and not self.feeding and forced == 1.0:  # nothing that a step says is needed by the next
            y, _ = self.decoder(self.vectors(tokens), state["layers"])
            return self._joined(drop(y, self.dropout, self.training), state), None
        step, outs = self.decoder.unrolled(), list[Tensor]()
        for true in tokens.unbind(1):
            token = true
            if outs and forced < 1.0:
                own = self.head(outs[-1]).argmax(-1)
                token = torch.where(torch.rand(len(true)).to(true.device) < forced, true, own)
            out, state = self.advance(step, token, state)
            outs.append(out)
        return torch.stack(outs, 1), None

    def limits(self, batch: Batch) -> list[int]:
        return [limit(length) for length in batch["source_lengths"].tolist()]

    def alignment(self, source: Tensor, target: Tensor) -> Tensor:
        """The weights (T, S) of the attention over one source (S,) while one target (T,), without its end, is written:
        the row of a token is where was looked when it was chosen; the last is the end's."""
        if self.attention is None:
            raise ValueError("a translator without attention looks nowhere")
        tokens = torch.cat((torch.tensor([self.boundary], device=target.device), target))[None]
        with torch.inference_mode(), record() as seen:
            given = {"source": source[None], "source_lengths": torch.tensor([len(source)], device=source.device)}
            self.eval().decode(tokens, self.begin(given), given)
        return seen["attention"][0]

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """BLEU and chrF of what is written greedily, as sacrebleu counts them, with its signatures; exact: the share of
        sources for which one of their targets was written. All targets of one source count, and it counts once."""
        sources = rows.columns["source"]
        said = {sources[row]: answer["translation"] for row, answer in answers.items()}
        references = group_references(sources, rows.columns["target"])
        return evaluate(self.kind, list(said.values()), [references[source] for source in said])

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str]:
        tokens = registry.from_json(config["tokens"]["source"])

        def write(length: int) -> str:
            ids, lengths = padded([np.array(each) for each in config["shown"]])
            device = self.head.weight.device
            batch = {"source": ids.to(device), "source_lengths": lengths.to(device)}
            answers = self.answers(batch, config)
            back = (lambda ids: ids[::-1]) if config["reverse"] else (lambda ids: ids)
            texts = [tokens.decode(back(each)).removeprefix(tokens.lead) for each in config["shown"]]
            return "\n".join(f"{text} → {answer['translation']}" for text, answer in zip(texts, answers, strict=True))

        return write


def limit(size: int) -> int:
    """At most so many tokens are written of a source of that many."""
    return 2 * size + 10
