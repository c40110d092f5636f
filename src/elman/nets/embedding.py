"""Token embeddings."""

from torch import nn

STD = 0.1  # of the initial values: a step of the optimizer then counts for something, even on a word that occurs twice


def embedding(tokens: int, size: int) -> nn.Embedding:
    """An `nn.Embedding` (tokens, size) with small initial values."""
    made = nn.Embedding(tokens, size)
    nn.init.normal_(made.weight, std=STD)
    return made
