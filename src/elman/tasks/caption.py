"""Captions: a picture in, a sentence out (one to many)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from cyclopts import Parameter
from torch import Tensor

from elman.cells.registry import stored
from elman.data.image import LazyImage
from elman.data.rows import Field, Ragged, Rows
from elman.data.table import Table
from elman.log import Log
from elman.metrics.captions import CaptionScores
from elman.metrics.pointing import Pointing, pointing, pointing_metrics
from elman.nets.attention_decoder import Hard, Soft
from elman.nets.pooled_decoder import Plain
from elman.options import CountFloat, PositiveInt, ShareFloat
from elman.recurrent.dropout import dropout as drop
from elman.recurrent.layer import Recurrent
from elman.recurrent.state import State
from elman.tasks import vision as vision
from elman.tasks.conditional_generation import ConditionalGeneration
from elman.tasks.tables import TableTaskOptions, encoded, ended, shifted
from elman.tasks.task import Answer, Batch, Data, to
from elman.tasks.vision import VisionOptions
from elman.tokenizers import registry
from elman.tokenizers.options import TokenizerOptions
from elman.tokenizers.word import WordTokenizer

LONGEST = 50  # tokens that are written at most
SHOWN = 3  # captions shown while training
GATHERED = 64  # pictures at a time
DECODERS = {"plain": Plain, "soft": Soft, "hard": Hard}


@Parameter(name="*")
@dataclass(frozen=True)
class CaptionOptions(VisionOptions, TokenizerOptions):
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
    batch_size: PositiveInt = 64
    """Captions of a batch."""
    label_smoothing: ShareFloat = 0.0
    """Share of the target that is spread over all tokens, in training."""


class Caption(ConditionalGeneration):
    """A picture as a grid of vectors, and a decoder that writes of it."""

    kind: ClassVar[str] = "caption"
    summary: ClassVar[str] = "captions: a picture in, a sentence out"
    roles: ClassVar[tuple[str, ...]] = ("image", "caption")
    takes: ClassVar[dict[str, tuple[type, ...]]] = {"image": (LazyImage,)}
    asks: ClassVar[tuple[str, ...]] = ("image",)
    besides: ClassVar[tuple[str, ...]] = ("pair",)
    by: ClassVar[str | None] = None  # the norms of a batch of one length would log it
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
        encoder: dict[str, Any] = vision.USUAL,
    ):
        """how: what the decoder takes beside its sizes. encoder: see `elman.tasks.vision`."""
        super().__init__(tokens, embedding, dropout, smoothing)
        self._config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._config["cell"] = stored(cell)
        self.encoder = vision.encoder(encoder)
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
        tokens = registry.find(options.tokens or "word").of_texts(texts, options.vocab_size, options.lower)
        return {"tokens": {"caption": tokens.to_json()}, "encoder": vision.asked(options)}

    @classmethod
    def inputs(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        return {"image": vision.seen(rows.columns["image"], config, log)}

    @classmethod
    def targets(cls, rows: Table, config: dict[str, Any], log: Log) -> dict[str, Field]:
        ids = encoded(rows.columns["caption"], config["tokens"]["caption"], config["max_length"], log)
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
                shown.setdefault(image.path, caption)
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
            len(registry.from_json(data.config["tokens"]["caption"])), options.embedding, options.hidden, options.cell,
            options.layers, options.decoder, how, options.dropout, options.residual, options.backend,
            options.label_smoothing, data.config["encoder"],
        )  # fmt: skip
        vision.begin(task.encoder, data.config["encoder"])
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

    def figures(self, rows: Table, answers: dict[int, Answer], config: dict[str, Any]) -> dict[str, Any]:
        """bleu1 to bleu4 and cider (CIDEr-D) of what is written greedily, each picture once, all of its captions
        counting; true: of pictures that can judge a sentence (the built-in scenes), the share that is true; by_pair:
        the same of the rows of each pair; attention, where pictures know what lies where: see `pointing.figures`."""
        once = {picture.name: row for row, picture in enumerate(rows.columns["image"]) if row in answers}
        said = {row: answers[row]["caption"] for row in once.values()}
        found = [each for some in self.pointed(rows, said, config).values() for each in some]
        return CaptionScores(rows, said).metrics() | pointing_metrics(found)

    def pointed(self, rows: Table, said: dict[int, str], config: dict[str, Any]) -> dict[int, list[Pointing]]:
        """How much of the attention lay on what each noun names, by the number of a row: of captions that the model
        wrote of pictures that know what lies where."""
        tokens = registry.from_json(config["tokens"]["caption"])
        boxes = {row: rows.columns["image"][row].boxes(caption) for row, caption in said.items()}
        chosen = [row for row, some in boxes.items() if some]
        if not chosen or not isinstance(tokens, WordTokenizer):  # others do not say a word at a step
            return {}
        texts = [tokens.with_lead(said[row]) for row in chosen]
        fields = {"said": Ragged(tokens.encode_all([said[row] for row in chosen], "replace"))}
        fields |= self.inputs(some := rows.take(chosen), config, lambda line: None)
        source, found = Rows(some, fields, GATHERED, None), dict[int, list[Pointing]]()
        for index in range(len(source)):
            batch = to(source.batch(0, index), self.head.weight.device)
            weights = self.looked(batch, batch["said"])
            if weights is None:
                return {}
            for number, each in zip(batch["row"].tolist(), weights.float().cpu().numpy(), strict=True):
                row = chosen[number]
                found[row] = pointing(each, tokens.split(texts[number]), boxes[row] or [])
        return found

    def sampler(self, config: dict[str, Any]) -> Callable[[int], str] | None:
        shown = config.get("shown", ())
        rows = Table("the pictures that are shown", {"image": [name for name, _ in shown]}, list(range(len(shown))))

        def write(length: int) -> str:
            answers = self.predict(rows, config, lambda line: None)
            pairs = zip(shown, answers, strict=True)
            return "\n".join(f"{caption} → {answer['caption']}" for (_, caption), answer in pairs)

        return write if shown else None
