"""Translations beside all references of their source."""

from functools import cached_property
from itertools import zip_longest
from typing import Any

from elman.data.tokens import from_config
from elman.inspect.answered import Answered


class Scored:
    """Each source once: what was said of it, and its references, those in rows that are not read too. Scores are
    sacrebleu's, from 0 to 100."""

    def __init__(self, here: Answered):
        from sacrebleu.metrics.bleu import BLEU  # takes a while to import
        from sacrebleu.metrics.chrf import CHRF

        self.here, self.bleu, self.chrf = here, BLEU(), CHRF()
        self.references: dict[str, list[str]] = {}
        for source, target in zip(here.whole.columns["source"], here.whole.columns["target"], strict=True):
            self.references.setdefault(source, []).append(target)
        self._row = {source: row for row, source in enumerate(here.column("source"))}
        self.said = {source: here.answers[row]["translation"] for source, row in self._row.items()}
        self.sources = list(self.said)

    @cached_property
    def unit(self) -> str:
        """What a token of the source is."""
        return from_config(self.here.config["tokens"]["source"]).unit

    def size(self, source: str) -> int:
        """Tokens of a source."""
        return len(self.here.source.values("source")[self._row[source]])

    def corpus(self, sources: list[str]) -> tuple[float, float, float]:
        """BLEU, chrF, and the share that is exactly one of its references."""
        said = [self.said[source] for source in sources]
        # the references of all by number: those with fewer have None
        streams: Any = list(zip_longest(*(self.references[source] for source in sources)))
        exact = sum(text in self.references[source] for text, source in zip(said, sources, strict=True))
        return (
            self.bleu.corpus_score(said, streams).score,
            self.chrf.corpus_score(said, streams).score,
            exact / len(sources),
        )

    def signatures(self) -> list[str]:
        """How the scores of the last corpus were counted, as they are cited."""
        return [str(self.bleu.get_signature()), str(self.chrf.get_signature())]

    def sentence(self, source: str) -> float:
        """chrF of one."""
        return self.chrf.sentence_score(self.said[source], self.references[source]).score
