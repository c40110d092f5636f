"""Words of a text that are not in the vocabulary of a model."""

from collections.abc import Sequence

from elman.errors import nearest
from elman.tokenizers.tokenizer import Tokenizer
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer

MAX_SHOWN = 5  # words in a message
MIN_SIMILARITY = 0.7  # of a word that is suggested


def unknown_words(tokens: Tokenizer, texts: Sequence[str]) -> tuple[list[str], bool]:
    """The distinct words of texts, without punctuation, that are encoded as the unknown token; and whether there is any
    other word."""
    if tokens.unknown is None or not isinstance(tokens, VocabularyTokenizer):
        return [], True
    unknown, any_known = dict[str, None](), False
    for text in texts:
        text = tokens.with_lead(text)
        for symbol, token in zip(tokens.split(text), tokens.encode(text, "replace"), strict=False):
            if any(map(str.isalnum, symbol)):
                if token == tokens.unknown:
                    unknown[symbol.strip()] = None
                any_known = any_known or token != tokens.unknown
    return list(unknown), any_known


def with_suggestions(words: list[str], tokens: Tokenizer) -> str:
    """The first unknown words, each with the nearest known one if there is one."""
    known = [symbol.strip() for symbol in tokens.vocabulary] if isinstance(tokens, VocabularyTokenizer) else []
    near = [(word[:40], nearest(word, known, MIN_SIMILARITY)) for word in words[:MAX_SHOWN]]
    shown = ", ".join(f"'{word}' (did you mean '{other}'?)" if other else f"'{word}'" for word, other in near)
    return shown + (f" and {len(words) - MAX_SHOWN:,} more" if len(words) > MAX_SHOWN else "")
