"""CIDEr-D: how like a caption is to those that people wrote of the same picture (Vedantam, Zitnick & Parikh 2015)."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

ORDER = 4  # n-grams of 1 to so many words
SIGMA = 6.0  # words by which lengths may differ
SCALE = 10.0

Vector = dict[tuple[str, ...], float]


class Cider:
    """Scores against the references of each picture, from 0 to 10. How much an n-gram counts is learnt from all of
    them: one that stands beside many pictures says little."""

    def __init__(self, references: Mapping[str, Sequence[str]]):
        """references: the captions of each picture, by its name."""
        words = {name: [_words(text) for text in texts] for name, texts in references.items()}
        found = Counter(gram for texts in words.values() for gram in {gram for text in texts for gram in _grams(text)})
        self._found, self._pictures = found, math.log(max(len(words), 1))
        self._references = {name: [(self._vectors(text), len(text)) for text in texts] for name, texts in words.items()}

    def score(self, name: str, caption: str) -> float:
        """Of one caption: the mean over its picture's references and over n of the cosine of the n-grams' weights,
        those of the caption clipped to the reference's, less where their lengths differ."""
        words = _words(caption)
        ours, total = self._vectors(words), 0.0
        for theirs, length in self._references[name]:
            close = math.exp(-((len(words) - length) ** 2) / (2 * SIGMA**2))
            total += close * sum(map(_cosine, ours, theirs)) / ORDER
        return SCALE * total / len(self._references[name])

    def _vectors(self, words: list[str]) -> list[Vector]:
        """The weights of the n-grams of a text, for each n: how often it has them, times how telling they are."""
        vectors: list[Vector] = [{} for _ in range(ORDER)]
        for gram, count in Counter(_grams(words)).items():
            vectors[len(gram) - 1][gram] = count * (self._pictures - math.log(max(1, self._found[gram])))
        return vectors


def _cosine(ours: Vector, theirs: Vector) -> float:
    sizes = math.sqrt(sum(value**2 for value in ours.values()) * sum(value**2 for value in theirs.values()))
    common = sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in ours.items())
    return common / sizes if sizes else 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def _grams(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + n]) for n in range(1, ORDER + 1) for at in range(len(words) - n + 1)]
