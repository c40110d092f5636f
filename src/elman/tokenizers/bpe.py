"""Subwords as tokens: byte-level byte-pair encoding (Sennrich et al. 2016), as in GPT-2."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from elman.errors import UserError
from elman.log import Log, discard
from elman.tokenizers import stored
from elman.tokenizers.boundary import at_boundaries
from elman.tokenizers.tokenizer import Tokenizer, Unknown, lowercase

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HFTokenizer

SIZE = 4000
MIN_FREQUENCY = 2  # of pairs
CHUNK = 10_000  # characters passed to the library at once


class BPETokenizer(Tokenizer, kind="bpe"):
    """Frequent sequences of bytes; every single byte is a token, so nothing is unknown. `model` has `vocab`, the id of
    each sequence, and `merges`, the pairs in their order, both spelled as the library does, one character a byte."""

    unit: ClassVar[str] = "piece"
    lead: ClassVar[str] = " "
    learned: ClassVar[bool] = True
    min_size: ClassVar[int] = 256

    def __init__(self, model: dict[str, Any], lower: bool = False):
        from tokenizers import models

        self.model, self.lower = model, lower
        self._tokenizer = _byte_level(models.BPE(model["vocab"], [(left, right) for left, right in model["merges"]]))
        alphabet = _alphabet()
        ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
        self._bytes = [bytes(alphabet[char] for char in symbol) for symbol in ordered]

    @classmethod
    def of_chunks(cls, chunks: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """`size` tokens, 4,000 by default; fewer where no pair occurs twice any more."""
        import json

        from tokenizers import models, pre_tokenizers, trainers

        cls.check(size, lower)
        trainer = trainers.BpeTrainer(
            vocab_size=size or SIZE, min_frequency=MIN_FREQUENCY, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        tokenizer = _byte_level(models.BPE())
        tokenizer.train_from_iterator((short for chunk in chunks for short in _short_chunks(chunk, lower)), trainer)
        model = json.loads(tokenizer.to_str())["model"]
        return cls({"vocab": model["vocab"], "merges": model["merges"]}, lower)

    @staticmethod
    def chunks(texts: Iterable[str]) -> Iterator[str]:
        yield from at_boundaries(texts)

    def __len__(self) -> int:
        return len(self._bytes)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "model": self.model} | ({"lower": True} if self.lower else {})

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Self:
        stored.check_fields(fields, ["model"], ["lower"])
        _check_model(fields["model"])
        return cls(fields["model"], stored.boolean(fields.get("lower", False), "lower"))

    def encode(self, text: str, unknown: Unknown = "error", log: Log = discard) -> list[int]:
        return self.array(text).tolist()

    def encode_all(self, texts: list[str], unknown: Unknown = "error", log: Log = discard) -> list[np.ndarray]:
        return self._encode([_clean(self.with_lead(text), self.lower) for text in texts])

    def array(self, text: str, unknown: Unknown = "error", log: Log = discard) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.int32), *self._encode(list(_short_chunks(text, self.lower)))])

    def decoder(self) -> Callable[[int], str]:
        """See `Tokenizer`. A character is returned with its last byte."""
        incremental = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: incremental.decode(self._bytes[token])

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", "replace")

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(each.ids, np.int32) for each in encoded]


def _check_model(model: Any) -> None:
    """UserError where a stored model is not one that training could have made."""
    if not isinstance(model, dict) or model.keys() != {"vocab", "merges"} or not isinstance(model["vocab"], dict):
        raise UserError("model of a stored bpe tokenizer must have a vocab, an object, and merges")
    vocab, merges = model["vocab"], model["merges"]
    alphabet = _alphabet().keys()
    stored.symbols(list(vocab), "vocab")
    if not alphabet <= vocab.keys() or not all(alphabet >= set(symbol) for symbol in vocab):
        raise UserError("vocab of a stored bpe tokenizer must have every byte, and nothing but sequences of bytes")
    ids = list(vocab.values())
    if not all(type(each) is int for each in ids) or sorted(ids) != list(range(len(ids))):
        raise UserError("vocab of a stored bpe tokenizer must have the ids from 0 on, each once")
    if (
        not isinstance(merges, list)
        or len(merges) > stored.MAX_SYMBOLS
        or not all(_is_merge(pair, vocab) for pair in merges)
    ):
        raise UserError(
            "merges of a stored bpe tokenizer must be pairs of its vocab whose concatenation is in its vocab"
        )


def _is_merge(pair: Any, vocab: dict[str, Any]) -> bool:
    two = isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
    return two and pair[0] in vocab and pair[1] in vocab and "".join(pair) in vocab


def _byte_level(model: Any) -> "HFTokenizer":
    from tokenizers import Tokenizer as HFTokenizer
    from tokenizers import pre_tokenizers

    tokenizer = HFTokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    return tokenizer


def _short_chunks(text: str, lower: bool) -> Iterator[str]:
    """A text in short chunks, which the library encodes in parallel."""
    text = _clean(text, lower)
    return at_boundaries(text[begin : begin + CHUNK] for begin in range(0, len(text), CHUNK))


def _clean(text: str, lower: bool) -> str:
    """The text as valid UTF-8: text of a command line may have lone surrogates."""
    text = text.encode("utf-8", "replace").decode()
    return lowercase(text) if lower else text


def _alphabet() -> dict[str, int]:
    """The byte of each character with which the library spells bytes: printable ones stand for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}
