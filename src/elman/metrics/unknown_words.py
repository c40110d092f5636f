"""Words for which a model has no token."""

from collections.abc import Sequence

from elman.errors import nearest
from elman.tokenizers.registry import Tokenizer
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer

NAMED = 5  # words in a line
NEAR = 0.7  # how like another a word must be to be meant


def unseen(tokens: Tokenizer, texts: Sequence[str]) -> tuple[list[str], bool]:
    """The different words of some texts, without signs, that are read as the unknown token; and whether there is any
    other word in them."""
    if tokens.unknown is None or not isinstance(tokens, VocabularyTokenizer):
        return [], True
    strange, known = dict[str, None](), False
    for text in texts:
        alone = tokens.alone(text)
        for piece, token in zip(tokens.pieces(alone), tokens.encode(alone, "replace"), strict=False):
            if any(map(str.isalnum, piece)):
                if token == tokens.unknown:
                    strange[piece.strip()] = None
                known = known or token != tokens.unknown
    return list(strange), known


def named(words: list[str], tokens: Tokenizer) -> str:
    """Unseen words, with the nearest that was seen where one is near; the first few of many."""
    seen = [piece.strip() for piece in tokens.vocabulary] if isinstance(tokens, VocabularyTokenizer) else []
    near = [(word[:40], nearest(word, seen, NEAR)) for word in words[:NAMED]]
    shown = ", ".join(f"'{word}' (did you mean '{other}'?)" if other else f"'{word}'" for word, other in near)
    return shown + (f" and {len(words) - NAMED:,} more" if len(words) > NAMED else "")
