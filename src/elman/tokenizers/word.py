"""Words as tokens, and where a text may be cut without cutting one."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar, Self

from elman.tokenizers.tokenizer import lowered
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer

UNKNOWN = "<unk>"  # no piece of a text is the same
# the last end of a word, in any of the ways in which words are found here: none of them goes from anything but a
# space on to a space or a new line, or looks further
SEAM = re.compile(r".*\S(?=[ \n])", re.DOTALL)


class WordTokenizer(VocabularyTokenizer):
    """Words, numbers, signs and blanks; token 0 is every word that is not in the vocabulary. A word, or a sign, has the
    space before it, so that the tokens put together are the text."""

    kind: ClassVar[str] = "word"
    unit: ClassVar[str] = "word"
    lead: ClassVar[str] = " "
    learnt: ClassVar[bool] = True
    unknown: ClassVar[int | None] = 0

    @classmethod
    def of_parts(cls, parts: Iterable[str], size: int | None = None, lower: bool = False) -> Self:
        """The `size` words that come most often, beside the unknown one. Without a size those that come twice or more:
        so the unknown word is one that training knows; or all, if that would leave less than half of the text."""
        cls.check(size, lower)
        counts = Counter[str]()
        for text in parts:
            counts.update(cls.pieces(lowered(text) if lower else text))
        ordered = sorted(counts, key=lambda piece: (-counts[piece], piece))
        if size is None:
            often = [piece for piece in ordered if counts[piece] > 1]
            if 2 * sum(counts[piece] for piece in often) >= counts.total():
                ordered = often
        return cls([UNKNOWN, *ordered[:size]], lower)

    @staticmethod
    def parts(texts: Iterable[str]) -> Iterator[str]:
        yield from whole(texts)

    @staticmethod
    def pieces(text: str) -> list[str]:
        return _pattern().findall(text)

    @staticmethod
    def named(piece: str) -> str:
        return repr(piece[:40])

    def nearest(self, piece: str, /) -> int:
        return 0


def seam(text: str) -> int:
    """The last place at which a text may be cut, so that its two parts alone have the words that the whole has; 0 when
    there is none but its ends."""
    found = SEAM.match(text)
    return found.end() if found else 0


def whole(texts: Iterable[str]) -> Iterator[str]:
    """The same text in other parts, which end where words do."""
    tail = ""
    for text in texts:
        tail += text
        if cut := seam(tail):
            yield tail[:cut]
            tail = tail[cut:]
    if tail:
        yield tail


@functools.cache
def _pattern() -> re.Pattern[str]:
    """A word, hyphens and apostrophes inside it included; or one other sign; either with a space before it; or one
    blank. For Python the vowel signs and accents that Unicode writes as characters of their own are no letters."""
    marks = "".join(char for char in map(chr, range(0x300, 0xE0200)) if unicodedata.category(char)[0] == "M")
    joined = f"(?![\0-\u02ff])[\u200c\u200d{marks}]"  # most of all texts has none, and is read faster so
    return re.compile(rf" ?\w+(?:{joined}+\w*|['’\-]\w+)*| ?[^\w\s]|\s")
