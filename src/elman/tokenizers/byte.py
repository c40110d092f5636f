"""Raw bytes as tokens."""

import codecs
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import numpy as np

from elman.log import Log, discard
from elman.tokenizers import stored
from elman.tokenizers.tokenizer import Tokenizer, Unknown


class ByteTokenizer(Tokenizer, kind="byte"):
    """256 tokens, one for each byte: nothing is unknown."""

    unit: ClassVar[str] = "byte"
    lowercases: ClassVar[bool] = False

    @classmethod
    def of_chunks(cls, chunks: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The same for all texts."""
        cls.check(size, lower)
        return cls()

    @staticmethod
    def file_encoding(encoding: str) -> str:
        """Latin-1: its characters are the bytes themselves."""
        return "latin-1"

    def __len__(self) -> int:
        return 256

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Self:
        stored.check_fields(fields, [])
        return cls()

    def encode(self, text: str, unknown: Unknown = "error", log: Log = discard) -> list[int]:
        """The UTF-8 bytes of a text."""
        return list(text.encode("utf-8", "surrogateescape"))

    def encode_all(self, texts: list[str], unknown: Unknown = "error", log: Log = discard) -> list[np.ndarray]:
        return [np.array(self.encode(text), np.int32) for text in texts]

    def array(self, text: str, unknown: Unknown = "error", log: Log = discard) -> np.ndarray:
        return np.frombuffer(text.encode("latin-1"), np.uint8).astype(np.int32)

    def decoder(self) -> Callable[[int], str]:
        """See `Tokenizer`. A character is returned with its last byte."""
        incremental = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: incremental.decode(bytes([token]))

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")
