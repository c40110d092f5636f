"""BLEU and chrF by sacrebleu, and exact matches, against several references."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from elman.metrics.metric import Metric, register


def group_references(sources: Iterable[str], targets: Iterable[str]) -> dict[str, list[str]]:
    """All targets of each source."""
    found: dict[str, list[str]] = {}
    for source, target in zip(sources, targets, strict=True):
        found.setdefault(source, []).append(target)
    return found


class TranslationScores:
    """Scores of the prediction for each source, from 0 to 100, against all of its references. Scores of several sources
    are of the corpus; a source may be in it more than once."""

    def __init__(self, predictions: dict[str, str], references: dict[str, list[str]], order: int = 4):
        """order: BLEU is computed from n-grams of 1 to `order` words."""
        from sacrebleu.metrics.bleu import BLEU  # takes a while to import
        from sacrebleu.metrics.chrf import CHRF

        self.predictions, self.references = predictions, references
        self._bleu, self._chrf = BLEU(max_ngram_order=order), CHRF()

    def bleu(self, sources: Iterable[str]) -> float:
        """Corpus BLEU."""
        return self._bleu.corpus_score(*self._aligned(sources)).score

    def chrf(self, sources: Iterable[str]) -> float:
        """Corpus chrF."""
        return self._chrf.corpus_score(*self._aligned(sources)).score

    def exact(self, sources: Iterable[str]) -> float:
        """The share of predictions that are equal to one of their references."""
        correct = [self.predictions[source] in self.references[source] for source in sources]
        return sum(correct) / len(correct)

    def sentence(self, source: str) -> float:
        """The chrF of one prediction."""
        return self._chrf.sentence_score(self.predictions[source], self.references[source]).score

    def signatures(self) -> list[str]:
        """The signatures of BLEU and chrF, to be cited; both must have been computed."""
        return [str(self._bleu.get_signature()), str(self._chrf.get_signature())]

    def _aligned(self, sources: Iterable[str]) -> tuple[list[str], Any]:
        """The predictions, and the n-th references of all: None for a source that has fewer."""
        sources = list(sources)
        references = list(zip_longest(*(self.references[source] for source in sources)))
        return [self.predictions[source] for source in sources], references


def _compute(predictions: Sequence[str], references: Sequence[list[str]], labels: Sequence[str]) -> dict[str, Any]:
    names = [str(index) for index in range(len(predictions))]
    scores = TranslationScores(dict(zip(names, predictions, strict=True)), dict(zip(names, references, strict=True)))
    found = {"bleu": scores.bleu(names), "chrf": scores.chrf(names), "exact": scores.exact(names)}
    return found | {"sources": len(names), "signatures": scores.signatures()}


TRANSLATION = register(Metric("translation", ("translate",), _compute))
