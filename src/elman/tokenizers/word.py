"""Words as tokens."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

from elman.errors import UserError
from elman.tokenizers import stored
from elman.tokenizers.boundary import at_boundaries
from elman.tokenizers.tokenizer import lowercase
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer

UNKNOWN = "<unk>"  # no symbol of a text is equal to it


class WordTokenizer(VocabularyTokenizer, kind="word"):
    """Words, numbers, punctuation marks and white space; token 0 is every word that is not in the vocabulary. A word or
    punctuation mark includes the space before it, so that the joined tokens are the text."""

    unit: ClassVar[str] = "word"
    lead: ClassVar[str] = " "
    learned: ClassVar[bool] = True
    unknown: ClassVar[int | None] = 0

    @classmethod
    def of_chunks(cls, chunks: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The `size` most frequent words, and the unknown one. Default: the words that occur at least twice, so that
        the unknown word occurs in training; all words, if the former cover less than half of the text."""
        cls.check(size, lower)
        counts = Counter[str]()
        for text in chunks:
            counts.update(cls.split(lowercase(text) if lower else text))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        if size is None:
            frequent = [word for word in ordered if counts[word] > 1]
            if 2 * sum(counts[word] for word in frequent) >= counts.total():
                ordered = frequent
        return cls([UNKNOWN, *ordered[:size]], lower)

    @classmethod
    def stored_vocabulary(cls, value: Any) -> Sequence[str]:
        found = stored.symbols(value, "vocabulary")
        if found[:1] != [UNKNOWN]:
            raise UserError(f"vocabulary of a stored tokenizer of words must start with {UNKNOWN}")
        return found

    @staticmethod
    def chunks(texts: Iterable[str]) -> Iterator[str]:
        yield from at_boundaries(texts)

    @staticmethod
    def split(text: str) -> list[str]:
        return _pattern().findall(text)

    @staticmethod
    def quote(symbol: str) -> str:
        return repr(symbol[:40])

    def nearest(self, symbol: str, /) -> int:
        return 0


@functools.cache
def _pattern() -> re.Pattern[str]:
    """A word, with its combining marks and the hyphens and apostrophes inside it, or another character, either with a
    space before it; or one white space character.

    `\\w` of `re` has no combining marks. The package `regex` has them as `\\p{M}`, but takes twice the time, and its
    `\\w` and `\\s` are other sets.
    """
    marks = "".join(char for char in map(chr, range(0x300, 0xE0200)) if unicodedata.category(char)[0] == "M")
    mark = f"(?![\0-\u02ff])[\u200c\u200d{marks}]"  # the lookahead makes text without any faster
    return re.compile(rf" ?\w+(?:{mark}+\w*|['’\-]\w+)*| ?[^\w\s]|\s")
