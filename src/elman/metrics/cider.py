"""CIDEr-D: consensus of a caption with the references of the same image (Vedantam, Zitnick & Parikh 2015)."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

ORDER = 4  # n-grams of 1 to 4 words
SIGMA = 6.0  # of the Gaussian penalty on the difference of lengths
SCALE = 10.0

Vector = dict[tuple[str, ...], float]


class Cider:
    """Scores against the references of each image, from 0 to 10. The weights of n-grams (tf-idf) are from all
    references: an n-gram that occurs with many images has a low weight."""

    def __init__(self, references: Mapping[str, Sequence[str]]):
        """references: the captions of each image, by its name."""
        words = {name: [_words(text) for text in texts] for name, texts in references.items()}
        self._frequency = Counter(
            gram for texts in words.values() for gram in {gram for text in texts for gram in _ngrams(text)}
        )
        self._log_images = math.log(max(len(words), 1))
        self._references = {name: [(self._vectors(text), len(text)) for text in texts] for name, texts in words.items()}

    def score(self, name: str, caption: str) -> float:
        """The score of one caption: the mean, over the references of its image and over n, of the cosine similarity of
        the tf-idf vectors, those of the caption clipped to the reference's, times the length penalty."""
        words = _words(caption)
        ours, total = self._vectors(words), 0.0
        for theirs, length in self._references[name]:
            penalty = math.exp(-((len(words) - length) ** 2) / (2 * SIGMA**2))
            total += penalty * sum(map(_cosine, ours, theirs)) / ORDER
        return SCALE * total / len(self._references[name])

    def _vectors(self, words: list[str]) -> list[Vector]:
        """The tf-idf weights of the n-grams of a text, for each n."""
        vectors: list[Vector] = [{} for _ in range(ORDER)]
        for gram, count in Counter(_ngrams(words)).items():
            vectors[len(gram) - 1][gram] = count * (self._log_images - math.log(max(1, self._frequency[gram])))
        return vectors


def _cosine(ours: Vector, theirs: Vector) -> float:
    norms = math.sqrt(sum(value**2 for value in ours.values()) * sum(value**2 for value in theirs.values()))
    common = sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in ours.items())
    return common / norms if norms else 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def _ngrams(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + n]) for n in range(1, ORDER + 1) for at in range(len(words) - n + 1)]
