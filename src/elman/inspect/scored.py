"""The translations of a report beside all references of their source."""

from functools import cached_property

from elman.inspect.predictions import Predictions
from elman.metrics.translation import TranslationScores, group_references
from elman.tokenizers import registry


class Scored(TranslationScores):
    """Each source once: what was said of it, and its references, those in rows that are not read too."""

    def __init__(self, here: Predictions):
        self.here = here
        self._row = {source: row for row, source in enumerate(here.column("source"))}
        said = {source: here.answers[row]["translation"] for source, row in self._row.items()}
        super().__init__(said, group_references(here.whole.columns["source"], here.whole.columns["target"]))
        self.sources = list(said)

    @cached_property
    def unit(self) -> str:
        """What a token of the source is."""
        return registry.from_json(self.here.config["tokens"]["source"]).unit

    def size(self, source: str) -> int:
        """Tokenizer of a source."""
        return len(self.here.source.values("source")[self._row[source]])

    def corpus(self, sources: list[str]) -> tuple[float, float, float]:
        """BLEU, chrF, and the share that is exactly one of its references."""
        return self.bleu(sources), self.chrf(sources), self.exact(sources)
