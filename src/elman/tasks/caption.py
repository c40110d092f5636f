"""Captions: a picture in, a sentence out (one to many)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from cyclopts import Parameter
from torch import Tensor

from elman.cells.registry import stored
from elman.data.picture import Picture
from elman.data.rows import Field, Ragged, Rows
from elman.data.table import Table
from elman.data.tokens import KINDS, Tell, TokenOptions, from_config
from elman.data.typed import again
from elman.data.words import WordTokens
from elman.nets.looking import Hard, Soft
from elman.nets.plain import Plain
from elman.options import CountFloat, PositiveInt, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks import pointing, seeing
from elman.tasks.described import Described
from elman.tasks.pointing import Pointed
from elman.tasks.seeing import SeeingOptions
from elman.tasks.tables import TableTaskOptions, encoded, ended, shifted
from elman.tasks.task import Answer, Batch, Data, to
from elman.tasks.writer import Writer

LONGEST = 50  # tokens that are written at most
SHOWN = 3  # captions shown while training
GATHERED = 64  # pictures at a time
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
    coverage: CountFloat = 0.0
    """How much every place should be looked at as often as every other (doubly stochastic attention); soft only."""
    reinforce: CountFloat = 0.02
    """How much a drawn place is learned by how well the words went; hard only."""
    entropy: float | None = None
    """How much attention is kept spread; below 0 it is made narrow."""
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
    besides: ClassVar[tuple[str, ...]] = ("pair",)
    by: ClassVar[str | None] = None  # the norms of a batch of one length would tell it
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
        encoder: dict[str, Any] = seeing.USUAL,
    ):
        """how: what the decoder takes beside its sizes. encoder: see `elman.tasks.seeing`."""
        super().__init__(tokens, embedding, dropout, smoothing)
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell).to_json()
        self.encoder = seeing.encoder(encoder)
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
        known = {"tokens": {"caption": tokens.to_config()}, "encoder": seeing.asked(options)}
        return known | seeing.familiar(train.columns["image"])

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], tell: Tell) -> dict[str, Field]:
        return {"image": seeing.seen(rows.columns["image"], config, tell)}

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
    def prepare(
        cls, paths: list[str], options: Any, seconds: float | None = None, key: str | None = None, seed: int = 0
    ) -> tuple[Any, Data]:
        chosen, data = super().prepare(paths, options, seconds, key, seed)
        rows = data.valid or data.train
        assert isinstance(rows, Rows)
        shown: dict[str, str] = {}  # a caption of each of a few pictures
        for image, caption in zip(*(rows.table.columns[role] for role in cls.roles), strict=True):
            if len(shown) < SHOWN:
                shown.setdefault(again(image), caption)
        data.config["shown"] = list(shown.items())
        return chosen, data

    @classmethod
    def new(cls, options: CaptionOptions, data: Data) -> "Caption":
        assert options.embedding is not None
        assert options.hidden is not None
        assert options.dropout is not None
        entropy = {} if options.entropy is None else {"entropy": options.entropy}
        how = {
            "plain": {"enters": options.image_enters},
            "soft": {"coverage": options.coverage} | entropy,
            "hard": {"reinforce": options.reinforce} | entropy,
        }[options.decoder]
        task = cls(
            len(from_config(data.config["tokens"]["caption"])), options.embedding, options.hidden, options.cell,
            options.layers, options.decoder, how, options.dropout, options.residual, options.backend,
            options.smoothing, data.config["encoder"],
        )  # fmt: skip
        seeing.begin(task.encoder, data.config["encoder"])
        return task

    @property
    def written_by(self) -> Recurrent:
        return self.decoder.recurrent

    def begin(self, batch: Batch) -> dict[str, Any]:
        """From image (N, 3, S, S), and whose (B,) each is: the state before the first token."""
        return self.decoder.begin(self.encoder(batch["image"])[batch["image_of"]])

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
        return [LONGEST] * len(batch["image_of"])

    def looked(self, batch: Batch, tokens: Tensor) -> Tensor | None:
        """Where is looked (B, T, L), from 0 to 1 with the sum 1, before each of the tokens (B, T) is said; None for a
        decoder that sees the picture as a whole. A hard one takes the place that has most."""
        with torch.inference_mode():
            self.eval()
            _, looked = self.decode(shifted(tokens, self.boundary), self.begin(batch), batch)
        return looked.get("weights")

    def warn(self, rows: Table, config: dict[str, Any], tell: Tell) -> None:
        seeing.warn(rows.columns["image"], config, tell)

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """bleu1 to bleu4 and cider (CIDEr-D) of what is written greedily, each picture once, all of its captions
        counting; true: of pictures that can judge a sentence (the built-in scenes), the share that is true; by_pair:
        the same of the rows of each pair; attention, where pictures know what lies where: see `pointing.figures`."""
        once = {picture.name: row for row, picture in enumerate(rows.columns["image"]) if row in answers}
        said = {row: answers[row]["caption"] for row in once.values()}
        found = self.pointed(rows, said, config)
        return Described(rows, said).figures() | pointing.figures([each for some in found.values() for each in some])

    def pointed(self, rows: Table, said: dict[int, str], config: dict[str, Any]) -> dict[int, list[Pointed]]:
        """How much of the attention lay on what each noun names, by the number of a row: of captions that the model
        wrote of pictures that know what lies where."""
        tokens = from_config(config["tokens"]["caption"])
        boxes = {row: rows.columns["image"][row].boxes(caption) for row, caption in said.items()}
        chosen = [row for row, some in boxes.items() if some]
        if not chosen or not isinstance(tokens, WordTokens):  # others do not say a word at a step
            return {}
        texts = [tokens.alone(said[row]) for row in chosen]
        fields = {"said": Ragged(tokens.encode_all([said[row] for row in chosen], "replace"))}
        fields |= self.inputs(some := rows.take(chosen), config, lambda line: None)
        source, found = Rows(some, fields, GATHERED, None), dict[int, list[Pointed]]()
        for index in range(len(source)):
            batch = to(source.batch(0, index), self.head.weight.device)
            weights = self.looked(batch, batch["said"])
            if weights is None:
                return {}
            for number, each in zip(batch["row"].tolist(), weights.float().cpu().numpy(), strict=True):
                row = chosen[number]
                found[row] = pointing.pointed(each, tokens.pieces(texts[number]), boxes[row] or [])
        return found

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str] | None:
        shown = config.get("shown", ())
        rows = Table("the pictures that are shown", {"image": [name for name, _ in shown]}, list(range(len(shown))))

        def write(length: int) -> str:
            answers = self.predict(rows, config, lambda line: None)
            pairs = zip(shown, answers, strict=True)
            return "\n".join(f"{caption} → {answer['caption']}" for (_, caption), answer in pairs)

        return write if shown else None
