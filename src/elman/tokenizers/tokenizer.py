"""What all kinds of tokens have."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np

from elman.errors import UserError

Unknown = Literal["error", "skip", "replace"]
Log = Callable[[str], None]


class Tokenizer(ABC):
    """Text as numbers and back."""

    kind: ClassVar[str]
    unit: ClassVar[str]  # what one token is, for messages
    lead: ClassVar[str] = ""  # what a text of its own begins with, so that its first word is the same as elsewhere
    learnt: ClassVar[bool] = False  # from texts, and not all that stands in another text may be known
    least: ClassVar[int] = 1  # size of the smallest vocabulary that may be asked for, where they are learnt
    lowers: ClassVar[bool] = True
    unknown: ClassVar[int | None] = None  # the token of all that is not known, where there is one

    @classmethod
    def of_texts(cls, texts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The tokens of some texts, each a text of its own; `size` of them, where that may be chosen."""
        return cls.of_parts(map(cls.alone, texts), size, lower)

    @classmethod
    @abstractmethod
    def of_parts(cls, parts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The tokens of one text, as `parts` gives it."""

    @classmethod
    def alone(cls, text: str) -> str:
        """A text of its own: with its lead."""
        return cls.lead + text if text else ""

    @classmethod
    def check(cls, size: int | None, lower: bool) -> None:
        """Raises where such tokens cannot have a size, not this one, or not be of lower-cased text."""
        if size is not None and not cls.learnt:
            raise UserError(f"--vocab-size {size} goes with --tokens word or bpe: with {cls.kind}, every {cls.unit} "
                            "is a token")  # fmt: skip
        if size is not None and size < cls.least:
            raise UserError(f"--vocab-size {size} is too small for --tokens {cls.kind}: {cls.least} or more")
        if lower and not cls.lowers:
            raise UserError(f"--lower goes with --tokens char, word or bpe: a {cls.unit} has no lower case")

    @staticmethod
    def reads(encoding: str) -> str:
        """The encoding in which the text of a file is given to `array`."""
        return encoding

    @staticmethod
    def parts(texts: Iterable[str]) -> Iterator[str]:
        """The pieces in which a text was read, cut anew so that each can be encoded alone."""
        yield from texts

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs."""

    @abstractmethod
    def encode(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> list[int]:
        """The tokens of a text. What training never saw is an error that names it, is left out (`skip`), or is put as
        the nearest that is known (`replace`). The last two are told in one line."""

    @abstractmethod
    def encode_all(
        self, texts: list[str], unknown: Unknown = "error", log: Log = lambda line: None
    ) -> list[np.ndarray]:
        """The tokens (T,) int32 of each of many texts of their own. What is unknown is told once."""

    @abstractmethod
    def array(self, text: str, unknown: Unknown = "error", log: Log = lambda line: None) -> np.ndarray:
        """The tokens (T,) int32 of a part of a text, as `parts` gives it."""

    @abstractmethod
    def decoder(self) -> Callable[[int], str]:
        """A function that turns one token after another into text."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens."""


def lowered(text: str) -> str:
    """A text in lower case, each character for itself: a final sigma would depend on where the text is cut."""
    return text.replace("Σ", "σ").lower()
