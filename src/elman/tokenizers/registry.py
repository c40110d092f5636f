"""The tokenizers by kind: those of this package, and those whose files were imported."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from elman.tokenizers.tokenizer import TOKENIZERS, Tokenizer


def names() -> Iterable[str]:
    """The kinds of tokenizers."""
    return TOKENIZERS.names()


def find(kind: str) -> type[Tokenizer]:
    """The tokenizer of that kind."""
    return TOKENIZERS.find(kind)


def from_json(value: Any) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_json` stored. UserError for any other value."""
    return Tokenizer.from_json(value)


def token_dtype(size: int) -> np.dtype:
    """The smallest unsigned integer type that holds the ids of a vocabulary of that size."""
    return np.min_scalar_type(max(size - 1, 0))
