"""Captions: a picture in, a sentence out (one to many)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from cyclopts import Parameter
from torch import Tensor

from elman.cells.registry import stored
from elman.data.picture import Picture
from elman.data.pixels import Pixels
from elman.data.rows import Field, Rows
from elman.data.table import Table
from elman.data.tokens import KINDS, Tell, TokenOptions, from_config
from elman.nets.looking import Hard, Soft
from elman.nets.plain import Plain
from elman.nets.residual import Residual
from elman.options import CountFloat, PositiveInt, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks.cider import Cider
from elman.tasks.scores import Scores, references
from elman.tasks.seeing import SeeingOptions
from elman.tasks.tables import TableTaskOptions, encoded, ended
from elman.tasks.task import Answer, Batch, Data
from elman.tasks.writer import Writer

LONGEST = 50  # tokens that are written at most
SHOWN = 3  # captions shown while training
DECODERS = {"plain": Plain, "soft": Soft, "hard": Hard}


@Parameter(name="*")
@dataclass(frozen=True)
class CaptionOptions(SeeingOptions, TokenOptions):
    """What is read and what is built. None: chosen from the data and the time there is."""

    caption_column: str | None = None
    """The column that is to be written; the longest text when not given."""
    decoder: Literal["plain", "soft", "hard"] = "soft"
    """How the picture is seen: as a whole, or place by place before each word, softly (a mean over all) or hard (at
    one, learned by REINFORCE) (Xu et al. 2015)."""
    image_enters: Literal["add", "state", "first"] = "add"
    """Where the picture enters a plain decoder: as a term of every step, as the first state, or as the first input."""
    coverage: CountFloat = 1.0
    """How much every place should be looked at as often as every other (doubly stochastic attention); soft only."""
    reinforce: CountFloat = 0.1
    """How much a drawn place is learned by how well the words went; hard only."""
    entropy: CountFloat = 0.002
    """How much attention is kept spread; hard only."""
    rows: PositiveInt = 64
    """Captions of a batch."""
    smoothing: ShareFloat = 0.0
    """Share of the target that is spread over all tokens, in training."""


class Caption(Writer):
    """A picture as a grid of vectors, and a decoder that writes of it."""

    kind: ClassVar[str] = "caption"
    summary: ClassVar[str] = "captions: a picture in, a sentence out"
    roles: ClassVar[tuple[str, ...]] = ("image", "caption")
    takes: ClassVar[dict[str, tuple[type, ...]]] = {"image": (Picture,)}
    asks: ClassVar[tuple[str, ...]] = ("image",)
    by: ClassVar[str | None] = "target"
    writes: ClassVar[str] = "caption"
    answer: ClassVar[str] = "caption"
    Options: ClassVar[type[TableTaskOptions]] = CaptionOptions

    def __init__(
        self,
        tokens: int,
        embedding: int,
        hidden: int,
        cell: Any = "lstm",
        layers: int = 1,
        decoder: str = "soft",
        how: dict[str, Any] | None = None,
        dropout: float = 0.0,
        residual: bool = False,
        backend: str = "auto",
        smoothing: float = 0.0,
    ):
        """how: what the decoder takes beside its sizes."""
        super().__init__(tokens, embedding, dropout, smoothing)
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.encoder = Residual()
        self.decoder = DECODERS[decoder](
            self.encoder.size, embedding, hidden, cell, layers, **how or {}, dropout=dropout, residual=residual,
            backend=backend,
        )  # fmt: skip

    def config(self) -> dict[str, Any]:
        return self._config

    def describe(self) -> str:
        return f"{super().describe()}, {self._config['decoder']} decoder, dropout {self.dropout:g}"

    @classmethod
    def learn(cls, train: Table, options: CaptionOptions) -> dict[str, Any]:
        texts = train.columns["caption"]
        tokens = KINDS[options.tokens or "word"].of_texts(texts, options.vocabulary, options.lower)
        return {"tokens": {"caption": tokens.to_config()}, "size": options.size}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        return {"image": Pixels(rows.columns["image"], config["size"], tell)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        ids = encoded(rows.columns["caption"], config["tokens"]["caption"], config["longest"], tell)
        return {"target": ended(ids, config["tokens"]["caption"])}

    @classmethod
    def sizes(cls, train: Rows, options: CaptionOptions, seconds: float | None) -> CaptionOptions:
        hidden = options.hidden or 256
        dropout = 0.1 if options.dropout is None else options.dropout
        return replace(options, hidden=hidden, embedding=options.embedding or hidden // 2, dropout=dropout)

    @classmethod
    def new(cls, options: CaptionOptions, data: Data) -> "Caption":
        assert options.embedding is not None
        assert options.hidden is not None
        assert options.dropout is not None
        how = {
            "plain": {"enters": options.image_enters},
            "soft": {"coverage": options.coverage},
            "hard": {"reinforce": options.reinforce, "entropy": options.entropy},
        }[options.decoder]
        return cls(
            len(from_config(data.config["tokens"]["caption"])), options.embedding, options.hidden, options.cell,
            options.layers, options.decoder, how, options.dropout, options.residual, options.backend,
            options.smoothing,
        )  # fmt: skip

    @property
    def written_by(self) -> Recurrent:
        return self.decoder.recurrent

    def begin(self, batch: Batch) -> dict[str, Any]:
        """From image (B, 3, S, S): the state before the first token."""
        return self.decoder.begin(self.encoder(batch["image"]))

    def advance(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], token: Tensor, state: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        out, state = self.decoder.advance(step, self.vectors(token), state)
        return drop(out, self.dropout, self.training), state

    def decode(self, tokens: Tensor, state: dict[str, Any], batch: Batch) -> tuple[Tensor, Any]:
        out, looked = self.decoder.whole(self.vectors(tokens), state)
        return drop(out, self.dropout, self.training), looked

    def penalty(self, seen: Any, nats: Tensor, counted: Tensor) -> Tensor:
        return self.decoder.penalty(seen, nats, counted)

    def limits(self, batch: Batch) -> list[int]:
        return [LONGEST] * len(batch["image"])

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """bleu1 to bleu4 and cider (CIDEr-D) of what is written greedily, each picture once, all of its captions
        counting; true: of pictures that can judge a sentence (the built-in scenes), the share that is true."""
        pictures = {picture.name: picture for picture in rows.columns["image"]}
        said = {rows.columns["image"][row].name: answer["caption"] for row, answer in answers.items()}
        known = references([picture.name for picture in rows.columns["image"]], rows.columns["caption"])
        cider, held = Cider(known), [pictures[name].holds(caption) for name, caption in said.items()]
        figures = {f"bleu{n}": Scores(said, known, n).bleu(said) for n in range(1, 5)}
        figures["cider"] = float(np.mean([cider.score(name, caption) for name, caption in said.items()]))
        if None not in held:
            figures["true"] = float(np.mean(held))
        return figures | {"pictures": len(said)}
