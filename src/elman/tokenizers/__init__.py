"""Tokenizers: text as token ids, and back."""
