"""Translations beside all references of their source, as sacrebleu scores them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any


def references(sources: Iterable[str], targets: Iterable[str]) -> dict[str, list[str]]:
    """All targets that stand beside each source."""
    found: dict[str, list[str]] = {}
    for source, target in zip(sources, targets, strict=True):
        found.setdefault(source, []).append(target)
    return found


class Scores:
    """Scores of what was `said` of each source, from 0 to 100, where all of its references count. Those over several
    sources are of the corpus; a source may be among them more than once."""

    def __init__(self, said: dict[str, str], references: dict[str, list[str]], order: int = 4):
        """order: BLEU is of n-grams of 1 to so many words."""
        from sacrebleu.metrics.bleu import BLEU  # takes a while to import
        from sacrebleu.metrics.chrf import CHRF

        self.said, self.references, self._bleu, self._chrf = said, references, BLEU(max_ngram_order=order), CHRF()

    def bleu(self, sources: Iterable[str]) -> float:
        return self._bleu.corpus_score(*self._beside(sources)).score

    def chrf(self, sources: Iterable[str]) -> float:
        return self._chrf.corpus_score(*self._beside(sources)).score

    def exact(self, sources: Iterable[str]) -> float:
        """The share for which one of the references was said to the letter."""
        right = [self.said[source] in self.references[source] for source in sources]
        return sum(right) / len(right)

    def sentence(self, source: str) -> float:
        """chrF of one."""
        return self._chrf.sentence_score(self.said[source], self.references[source]).score

    def signatures(self) -> list[str]:
        """How BLEU and chrF of the last corpus were counted, as they are cited; both must have been."""
        return [str(self._bleu.get_signature()), str(self._chrf.get_signature())]

    def _beside(self, sources: Iterable[str]) -> tuple[list[str], Any]:
        """What was said, and the references of all by number: a source that has fewer has None."""
        sources = list(sources)
        return [self.said[source] for source in sources], list(
            zip_longest(*(self.references[source] for source in sources))
        )


def translation(predictions: Mapping[int, str], sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """BLEU and chrF of the corpus, with their signatures; exact, the fraction of sources whose prediction equals one of
    their targets. All targets of a source are references, and each source counts once."""
    by_source = {sources[row]: prediction for row, prediction in predictions.items()}
    scores = Scores(by_source, references(sources, targets))
    found = {"bleu": scores.bleu(by_source), "chrf": scores.chrf(by_source), "exact": scores.exact(by_source)}
    return found | {"sources": len(by_source), "signatures": scores.signatures()}
