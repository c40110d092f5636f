"""The tokens of a text as parts of it."""

from collections.abc import Sequence

import numpy as np

from elman.tokenizers.tokenizer import Tokenizer, lowercase
from elman.tokenizers.vocabulary_tokenizer import VocabularyTokenizer


def token_texts(tokenizer: Tokenizer, text: str, ids: Sequence[int] | np.ndarray) -> list[str]:
    """The tokens (T,) of a text as they stand in it, unknown ones included."""
    if isinstance(tokenizer, VocabularyTokenizer):
        own = tokenizer.with_lead(text)
        found = list(tokenizer.split(lowercase(own) if tokenizer.lower else own))[: len(ids)]
    else:
        decode = tokenizer.decoder()
        found = [decode(int(token)) for token in ids]
    return [piece if number else piece.removeprefix(tokenizer.lead) for number, piece in enumerate(found)]
