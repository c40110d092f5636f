"""The tokens of a text as parts of it."""

from collections.abc import Sequence

from elman.tokenizers.tokenizer import Tokenizer, lowered
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer


def token_texts(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> list[str]:
    """The tokens (T,) of a text as they stand in it, unknown ones included."""
    if isinstance(tokenizer, VocabularyTokenizer):
        alone = tokenizer.alone(text)
        found = list(tokenizer.pieces(lowered(alone) if tokenizer.lower else alone))[: len(ids)]
    else:
        decode = tokenizer.decoder()
        found = [decode(int(token)) for token in ids]
    return [piece if number else piece.removeprefix(tokenizer.lead) for number, piece in enumerate(found)]
