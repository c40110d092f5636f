"""Options of the tokenizer."""

from dataclasses import dataclass
from typing import Annotated

from elman.options import Choices, PositiveInt
from elman.tokenizers import registry


@dataclass(frozen=True)
class TokenizerOptions:
    """How text is tokenized. A task may have another default of its own."""

    tokens: Annotated[str | None, Choices(registry.names)] = None
    """The tokens of a text: characters (char), raw bytes (byte), words (word), or byte-pair encoding (bpe). The default
    depends on the task: words for classification, captions and questions, bpe for translation (char where the targets
    have no spaces), char otherwise."""
    vocab_size: PositiveInt | None = None
    """Size of the vocabulary of words or bpe. Default: the words that occur at least twice; 4,000 for bpe."""
    lower: bool = False
    """Lowercase all text."""
