"""A vector for every token."""

from torch import nn

SPREAD = 0.1  # of the first values: a step of the optimizer then counts for something, even on a word seen twice


def lookup(tokens: int, size: int) -> nn.Embedding:
    """A table of vectors (tokens, size), near 0 at first."""
    made = nn.Embedding(tokens, size)
    nn.init.normal_(made.weight, std=SPREAD)
    return made
