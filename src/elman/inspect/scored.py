"""The translations of a report and all references of their sources."""

from elman.inspect.predictions import Predictions
from elman.metrics.translation import TranslationScores, group_references


class ScoredTranslations(TranslationScores):
    """Each source once: its translation, and its references, those in rows that are not read included.

    - unit: the name of a token of the sources
    """

    def __init__(self, here: Predictions):
        self._here, self.unit = here, here.spec.source.unit
        self._row = {source: row for row, source in enumerate(here.column("source"))}
        translations = {source: here.answers[row]["translation"] for source, row in self._row.items()}
        references = group_references(here.whole.columns["source"], here.whole.columns["target"])
        super().__init__(translations, references)
        self.sources = list(translations)

    def length(self, source: str) -> int:
        """The number of tokens of a source."""
        return len(self._here.source.values("source")[self._row[source]])

    def corpus(self, sources: list[str]) -> tuple[float, float, float]:
        """BLEU, chrF, and the fraction that equals one of its references."""
        return self.bleu(sources), self.chrf(sources), self.exact(sources)
