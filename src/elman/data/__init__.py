"""Data: texts on disk as tokens, and windows over them."""
