"""Pieces of words as tokens: byte-pair encoding (Sennrich et al. 2016) over bytes, as in GPT-2."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from elman.tokenizers.tokenizer import Log, Tokenizer, Unknown, lowered
from elman.tokenizers.word import whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HFTokenizer

SIZE = 4000
LEAST = 2  # times a pair must come to be merged
SHORT = 10_000  # characters that are given to the library at once


class BPETokenizer(Tokenizer):
    """Runs of bytes that come often; every byte is a token too, so nothing is ever unknown. `model` has `vocab`, the
    token of each run, and `merges`, the pairs in their order, both spelled as the library does, a sign a byte."""

    kind: ClassVar[str] = "bpe"
    unit: ClassVar[str] = "piece"
    lead: ClassVar[str] = " "
    learnt: ClassVar[bool] = True
    least: ClassVar[int] = 256

    def __init__(self, model: dict[str, Any], lower: bool = False):
        from tokenizers import models

        self.model, self.lower = model, lower
        self._tokenizer = _over_bytes(models.BPE(model["vocab"], [(left, right) for left, right in model["merges"]]))
        signs = _signs()
        runs = sorted(model["vocab"], key=model["vocab"].__getitem__)
        self._bytes = [bytes(signs[sign] for sign in run) for run in runs]

    @classmethod
    def of_parts(cls, parts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """`size` tokens, 4,000 when not given; fewer, where no pair is left that comes twice."""
        import json

        from tokenizers import models, pre_tokenizers, trainers

        cls.check(size, lower)
        trainer = trainers.BpeTrainer(
            vocab_size=size or SIZE, min_frequency=LEAST, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        tokenizer = _over_bytes(models.BPE())
        tokenizer.train_from_iterator((short for part in parts for short in _short(part, lower)), trainer)
        model = json.loads(tokenizer.to_str())["model"]
        return cls({"vocab": model["vocab"], "merges": model["merges"]}, lower)

    @staticmethod
    def parts(texts: Iterable[str]) -> Iterator[str]:
        yield from whole(texts)

    def __len__(self) -> int:
        return len(self._bytes)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "model": self.model} | ({"lower": True} if self.lower else {})

    def encode(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> list[int]:
        return self.array(text).tolist()

    def encode_all(
        self, texts: list[str], unknown: Unknown = "error", log: Log = lambda line: None
    ) -> list[np.ndarray]:
        return self._encoded([_clean(self.alone(text), self.lower) for text in texts])

    def array(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.int32), *self._encoded(list(_short(text, self.lower)))])

    def decoder(self) -> Callable[[int], str]:
        """A function that turns one token after another into text; a character comes out with its last byte."""
        partial = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: partial.decode(self._bytes[token])

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", "replace")

    def _encoded(self, texts: list[str]) -> list[np.ndarray]:
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(each.ids, np.int32) for each in found]


def _over_bytes(model: Any) -> "HFTokenizer":
    from tokenizers import Tokenizer as HFTokenizer
    from tokenizers import pre_tokenizers

    tokenizer = HFTokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    return tokenizer


def _short(text: str, lower: bool) -> Iterator[str]:
    """A text in short parts, which are encoded side by side."""
    text = _clean(text, lower)
    return whole(text[begin : begin + SHORT] for begin in range(0, len(text), SHORT))


def _clean(text: str, lower: bool) -> str:
    """Text that is UTF-8: what comes from a command line may hold halves of characters."""
    text = text.encode("utf-8", "replace").decode()
    return lowered(text) if lower else text


def _signs() -> dict[str, int]:
    """The byte of every sign with which the library spells: those that can be seen are themselves."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + number): byte for number, byte in enumerate(rest)}
