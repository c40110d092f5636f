"""The contract of a tokenizer. To add one, write a file in this package with a subclass that has a `kind`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np

from elman.errors import UserError
from elman.log import Log as Log
from elman.log import discard
from elman.registry import Registry

Unknown = Literal["error", "skip", "replace"]
"""What to do with a symbol that is not in the vocabulary: raise a UserError, leave it out, or encode its nearest known
symbol."""

TOKENIZERS: "Registry[type[Tokenizer]]" = Registry("tokenizer", "elman.tokenizers")


class Tokenizer(ABC):
    """Text to token ids and back.

        class CharTokenizer(Tokenizer, kind="char"): ...

    - kind: the name by which it is chosen
    - unit: what one token is, for messages
    - lead: prefix of a text of its own, so that its first word is encoded like the same word inside a text
    - learned: whether the vocabulary is learned from training text, so that other text may have unknown symbols
    - min_size: smallest size of the vocabulary, where it is learned
    - lowercases: whether text can be lowercased
    - unknown: id of the token of all unknown symbols, None where there is none
    """

    kind: ClassVar[str] = ""
    unit: ClassVar[str]
    lead: ClassVar[str] = ""
    learned: ClassVar[bool] = False
    min_size: ClassVar[int] = 1
    lowercases: ClassVar[bool] = True
    unknown: ClassVar[int | None] = None

    def __init_subclass__(cls, kind: str = "", **keywords: Any):
        super().__init_subclass__(**keywords)
        if kind:
            cls.kind = kind
            TOKENIZERS.add(kind, cls)

    @classmethod
    def of_texts(cls, texts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The tokenizer of separate texts; `size` bounds a learned vocabulary."""
        return cls.of_chunks(map(cls.with_lead, texts), size, lower)

    @classmethod
    @abstractmethod
    def of_chunks(cls, chunks: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The tokenizer of one text, given in the chunks that `chunks` makes."""

    @classmethod
    def with_lead(cls, text: str) -> str:
        """A text of its own as it is encoded: with its lead."""
        return cls.lead + text if text else ""

    @classmethod
    def check(cls, size: int | None, lower: bool) -> None:
        """UserError where this kind has no vocabulary size, not this one, or no lower case."""
        if size is not None and not cls.learned:
            kinds = _kinds(learned=True)
            raise UserError(f"`vocab_size` {size} goes with {kinds}: with {cls.kind}, every {cls.unit} is a token")
        if size is not None and size < cls.min_size:
            raise UserError(f"`vocab_size` {size} is too small for `tokens` {cls.kind}: {cls.min_size} or more")
        if lower and not cls.lowercases:
            raise UserError(f"`lower` goes with {_kinds(lowercases=True)}: a {cls.unit} has no lower case")

    @staticmethod
    def file_encoding(encoding: str) -> str:
        """The encoding in which a file is decoded for `array`."""
        return encoding

    @staticmethod
    def chunks(texts: Iterable[str]) -> Iterator[str]:
        """A text that is read in pieces, cut again so that each chunk can be encoded on its own."""
        yield from texts

    @abstractmethod
    def __len__(self) -> int:
        """The number of tokens."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that `from_json` needs, `kind` included, as JSON."""

    @classmethod
    def from_json(cls, value: Any) -> "Tokenizer":
        """The tokenizer that `to_json` stored. UserError for any other value: it may come from a stranger."""
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            raise UserError("a stored tokenizer must be an object with a `kind`")
        return TOKENIZERS.find(kind).of_fields({name: each for name, each in value.items() if name != "kind"})

    @classmethod
    @abstractmethod
    def of_fields(cls, fields: dict[str, Any]) -> Self:
        """The tokenizer of what `to_json` returned, without `kind`; every field must be checked."""

    @abstractmethod
    def encode(self, text: str, unknown: Unknown = "error", log: Log = discard) -> list[int]:
        """The token ids of a text. What was skipped or replaced is logged in one line."""

    @abstractmethod
    def encode_all(self, texts: list[str], unknown: Unknown = "error", log: Log = discard) -> list[np.ndarray]:
        """The token ids (T,) int32 of each of separate texts, each with its lead. What is unknown is logged once."""

    @abstractmethod
    def array(self, text: str, unknown: Unknown = "error", log: Log = discard) -> np.ndarray:
        """The token ids (T,) int32 of one of the chunks of a text."""

    @abstractmethod
    def decoder(self) -> Callable[[int], str]:
        """A function that maps one token id after another to text."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids."""


def lowercase(text: str) -> str:
    """The text in lower case, each character independent of its neighbours: a final sigma would depend on where the
    text is cut."""
    return text.replace("Σ", "σ").lower()


def _kinds(**attributes: bool) -> str:
    """The kinds with these attributes, for a message."""
    found = [kind for kind, each in TOKENIZERS.all().items()
             if all(getattr(each, name) == value for name, value in attributes.items())]  # fmt: skip
    return "`tokens` " + " or ".join(filter(None, (", ".join(found[:-1]), found[-1])))
